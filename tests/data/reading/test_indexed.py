"""Rows that stay on the disk: the same rows, at any position, and what is said of changed files."""

from __future__ import annotations

import gzip
import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from pretrial.data.reading import indexed
from pretrial.data.reading.indexed import DiskRows, check_index, write_index
from pretrial.data.reading.sources import load
from pretrial.data.rows import Mapped, is_on_disk, require, texts
from pretrial.errors import UserError

ROWS = [{"text": f"zeile {i} ä" * (i % 7), "n": i} for i in range(50)]
SETTING = {"data": "a"}


def write(path: Path, rows: Any = ROWS) -> Path:
    content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def index(source: Path, **options: Any) -> Path:
    """The folder of an index: rows whose number is odd are "odd"."""
    folder = source.with_name("index")
    folder.mkdir()
    keys = {key: options[key] for key in ("fields", "skip_bad") if key in options}
    stream = load(source, streaming=True, **keys)
    number = next((k for k, found in options.get("fields", {}).items() if found == "n"), "n")
    sides = ("even", "odd")
    write_index(folder, stream, SETTING, lambda row: sides[row[number] % 2], sides, **options)
    return folder


def test_lines_are_read_where_they_are(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl")
    folder = index(path)
    assert sorted(file.name for file in folder.iterdir()) == [
        "even.places",
        "index.json",
        "odd.places",
    ]
    even, odd = DiskRows(folder, "even"), DiskRows(folder, "odd")
    assert list(even) == ROWS[::2]
    assert [odd[i] for i in reversed(range(len(odd)))] == ROWS[1::2][::-1]
    assert odd[-1] == ROWS[49]
    assert list(odd[3:6]) == ROWS[7:13:2]
    assert len(even) == 25
    assert odd.source == str(path)
    with pytest.raises(IndexError):
        odd[25]


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.json", "a.parquet"])
def test_other_forms_are_copied(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "a.json":
        path.write_text(json.dumps(ROWS))
    elif name == "a.parquet":
        pyarrow = pytest.importorskip("pyarrow")
        pytest.importorskip("pyarrow.parquet").write_table(pyarrow.Table.from_pylist(ROWS), path)
    else:
        write(path)
    folder = index(path, fields={"body": "text"})
    expected = [{"n": row["n"], "body": row["text"]} for row in ROWS]
    assert list(DiskRows(folder, "even")) == expected[::2]
    assert DiskRows(folder, "odd")[24] == expected[49]
    path.unlink()
    assert DiskRows(folder, "odd")[0] == expected[1]


@pytest.mark.parametrize("most_open", [1, 256])
def test_shards_in_a_folder_and_renamed_fields(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, most_open: int
) -> None:
    monkeypatch.setattr(indexed, "_MOST_OPEN", most_open)
    shards = tmp_path / "shards"
    shards.mkdir()
    write(shards / "b.jsonl", ROWS[20:])
    write(shards / "a.jsonl", ROWS[:20])
    folder = index(shards, fields={"body": "text", "number": "n"}, limit=40)
    rows = DiskRows(folder, "even")
    assert list(rows) == [{"body": r["text"], "number": r["n"]} for r in ROWS[:40:2]]
    for number in (15, 0, 14, 1):  # from one shard to the other
        assert rows[number]["number"] == 2 * number
    assert len(DiskRows(folder, "odd")) == 20


def test_broken_lines_are_found_before_anything_is_trained(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"n": 0}\n\n{"n": "\xff"}\n{"n": 1}\n{"n": 2}\n{"n": 3')
    with pytest.raises(UserError, match=r"line 3 is not UTF-8: convert the file"):
        index(path)
    path.with_name("index").rename(tmp_path / "other")
    folder = index(path, skip_bad=True)
    assert list(DiskRows(folder, "even")) == [{"n": 0}, {"n": 2}]
    assert DiskRows(folder, "even")[0] == {"n": 0}
    assert [reason.split(", ")[1] for reason in DiskRows(folder, "odd").skipped] == [
        "line 3 is not UTF-8",
        "line 6 is not finished: it has no end of line",
    ]
    path.write_bytes(b'{"n": 1}\n{"n": 3')
    with pytest.raises(UserError, match=r"line 2 is not finished.*: wait for whoever writes it"):
        load(path)
    path.write_bytes(b'{"n": 1}\n{"n": 3}')  # only the end of line is missing
    assert len(load(path)) == 2


def test_nothing_to_index(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\n[1]\n")
    with pytest.raises(UserError, match=r"holds no rows: all 1 rows are broken \(.*line 2 is a"):
        index(path, skip_bad=True)


def test_an_index_knows_its_files(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl")
    folder = index(path)
    assert check_index(folder, SETTING) == ""
    assert check_index(folder, {"data": "b"}) == "it was made with other options"
    assert check_index(tmp_path / "no", SETTING) == "there is none"
    os.utime(path, (1, 1))  # a copy has another time, and the same content
    assert check_index(folder, SETTING) == ""
    content = path.read_bytes()
    path.write_bytes(content.replace(b"zeile 3 ", b"zeile 4 "))
    assert check_index(folder, SETTING).endswith("a.jsonl has other content now")
    path.write_bytes(content + b'{"n": 0}\n')
    assert "has " in check_index(folder, SETTING)
    assert f"{len(content) + 9:,} now" in check_index(folder, SETTING)
    path.unlink()
    assert check_index(folder, SETTING).endswith("is gone")


def test_a_file_that_changes_in_use_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl")
    rows = DiskRows(index(path), "even")
    assert rows[20] == ROWS[40]
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(UserError, match=r"a\.jsonl has changed while it was in use .*old file"):
        rows[24]


def test_what_json_cannot_hold_is_named(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    path = tmp_path / "a.parquet"
    table = pyarrow.Table.from_pylist([{"n": 1, "b": b"bytes"}])
    pytest.importorskip("pyarrow.parquet").write_table(table, path)
    with pytest.raises(UserError, match=r"cannot be kept as JSON .*bytes"):
        index(path)


def test_texts_of_rows_on_the_disk_are_read_when_asked_for(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [*ROWS[:48], {"text": 5, "n": 48}, {"n": 50}])
    rows = DiskRows(index(path), "even")
    require(rows, ["text"])
    column = texts(rows)
    assert isinstance(column, Mapped)
    assert is_on_disk(column)
    assert column[3] == ROWS[6]["text"]
    assert column[1:3] == [ROWS[2]["text"], ROWS[4]["text"]]
    with pytest.raises(UserError, match="'text' of row 24 is a int: give a string"):
        list(column)
    with pytest.raises(UserError, match=r"no field 'text' in row 25 \(found: n\)"):
        column[25]
    assert texts(load(write(tmp_path / "b.jsonl"))) == [row["text"] for row in ROWS]
    assert not is_on_disk(load(tmp_path / "b.jsonl"))


def test_memory_is_flat(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with path.open("w") as file:
        for number in range(20_000):
            file.write(json.dumps({"text": "x" * 200, "n": number}) + "\n")
    tracemalloc.start()
    rows = DiskRows(index(path), "odd")
    total = sum(rows[i]["n"] for i in range(0, 10_000, 3)) + sum(row["n"] for row in rows)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total == sum(range(1, 20_000, 6)) + sum(range(1, 20_000, 2))
    assert peak < 1_000_000  # the file has 4.5 MB
