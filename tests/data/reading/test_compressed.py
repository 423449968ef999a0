"""Compressed files: read whatever they were compressed with, and explained where they are cut."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import zipfile
from pathlib import Path

import pytest

from pretrial.data.reading import files, pieces
from pretrial.data.reading.compressed import open_plain
from pretrial.data.reading.sources import load
from pretrial.errors import UserError

ROWS = [{"text": f"line {number} é"} for number in range(5)]
LINES = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


def write(path: Path, content: bytes) -> Path:
    if path.suffix == ".zst":
        pyarrow = pytest.importorskip("pyarrow")
        with pyarrow.output_stream(str(path), compression="zstd") as file:
            file.write(content)
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(path.stem if "." in path.stem else "inner.jsonl", content)
    else:
        pack = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress}[path.suffix]
        path.write_bytes(pack(content))
    return path


@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz", "zst", "zip"])
def test_lines_and_texts_are_read(tmp_path: Path, suffix: str) -> None:
    assert list(load(write(tmp_path / f"a.jsonl.{suffix}", LINES))) == ROWS
    (row,) = load(write(tmp_path / f"story.txt.{suffix}", "Once é\n".encode()))
    assert row["text"] == "Once é\n"
    table = load(write(tmp_path / f"t.csv.{suffix}", b"text,label\na,1\n"))
    assert list(table) == [{"text": "a", "label": "1"}]


def test_a_zip_is_called_as_the_file_in_it(tmp_path: Path) -> None:
    assert list(load(write(tmp_path / "shard.zip", LINES))) == ROWS


@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz", "zst", "zip"])
def test_a_file_that_was_cut_is_named(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / f"a.jsonl.{suffix}", LINES * 50)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(UserError, match=r"is not a whole \w+ file .*: get it again"):
        load(path)


def test_a_zip_of_several_files_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.jsonl.zip", "w") as archive:
        archive.writestr("1.jsonl", LINES)
        archive.writestr("2.jsonl", LINES)
    with pytest.raises(UserError, match="holds 2 files: unpack it"):
        load(tmp_path / "a.jsonl.zip")


@pytest.mark.parametrize("suffix", ["gz", "bz2", "xz", "zst", "zip"])
def test_places_can_be_read_again(tmp_path: Path, suffix: str) -> None:
    with open_plain(write(tmp_path / f"a.jsonl.{suffix}", LINES)) as file:
        assert file.read() == LINES
        file.seek(30)
        assert file.read(20) == LINES[30:50]
        file.seek(10)
        assert file.read() == LINES[10:]


@pytest.mark.parametrize("suffix", ["gz", "zst"])
def test_a_long_line_is_read_in_pieces(
    tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (files, pieces):
        monkeypatch.setattr(module, "MOST", 1000)
    monkeypatch.setattr(files, "LONG", 4000)
    text = "word " * 2000
    rows = load(write(tmp_path / f"a.jsonl.{suffix}", json.dumps({"text": text}).encode() + b"\n"))
    assert len(rows) > 5
    assert "".join(row["text"] for row in rows) == text


def test_shards_of_a_folder_may_be_compressed_differently(tmp_path: Path) -> None:
    write(tmp_path / "0.jsonl.bz2", LINES)
    write(tmp_path / "1.jsonl.xz", LINES)
    (tmp_path / "2.jsonl").write_bytes(LINES)
    assert list(load(tmp_path)) == ROWS * 3
