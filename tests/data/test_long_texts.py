"""Texts that are longer than a piece, or than memory: where they are parted, and what is held."""

from __future__ import annotations

import gzip
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pretrial.data.reading import files, long_lines
from pretrial.data.reading.indexed import DiskRows, write_index
from pretrial.data.reading.long_lines import Unescaped
from pretrial.data.reading.pieces import in_pieces, pieces
from pretrial.data.reading.sources import load
from pretrial.errors import UserError

SIGNS = [
    "word ",
    " ",
    "\n",
    "\n    ",
    '"',
    "\\",
    "é",
    "中",
    "😀",
    "\t",
    "\x00",
    "\ud83d",
    "ende.\n",
]


def text_of(seed: int, count: int) -> str:
    return "".join(random.Random(seed).choices(SIGNS, k=count)).replace("\ud83d\ud83d", "")


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces of 40 characters, and lines of 200 bytes that are read whole."""
    monkeypatch.setattr(files, "MOST", 40)
    monkeypatch.setattr(files, "_CHUNK", 7)
    for module in (files, long_lines):
        monkeypatch.setattr(module, "LONG", 200)
    monkeypatch.setattr(long_lines, "_CHUNK", 7)


# -- where a text is parted -----------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_pieces_are_the_text_however_it_comes(seed: int) -> None:
    text = text_of(seed, 300)
    found = list(pieces([text], 50))
    assert "".join(found) == text
    assert max(map(len, found)) <= 50
    assert len(found) <= len(text) / 40
    for size in (1, 3, 49, 50, 51, 200):
        parts = [text[start : start + size] for start in range(0, len(text), size)]
        assert list(pieces(parts, 50)) == found


def test_a_piece_ends_with_a_line_else_with_a_word_else_anywhere() -> None:
    lines, words, none = "a line\n" * 40, "aword " * 40, "x" * 100
    assert all(piece.endswith("\n") for piece in pieces([lines], 130))
    assert [piece[0] for piece in pieces([words], 130)][1:] == [" "] * 1
    assert [len(piece) for piece in pieces([none], 30)] == [30, 30, 30, 10]
    assert list(pieces([], 30)) == list(pieces([""], 30)) == []


def test_the_other_fields_of_a_row_are_in_every_piece() -> None:
    row = {"text": "one two three four", "path": "a.txt", "n": 3}
    found = list(in_pieces(row, "text", 8))
    assert "".join(each["text"] for each in found) == row["text"]
    assert all(each["path"] == "a.txt" and each["n"] == 3 for each in found)
    assert list(in_pieces(row, "path", 8)) == [row]
    assert list(in_pieces({"text": 5}, "text", 8)) == [{"text": 5}]


# -- lines of JSON --------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(30))
def test_a_string_that_comes_in_parts_is_the_string(seed: int) -> None:
    rng = random.Random(seed)
    text = text_of(seed, 60)
    escaped = json.dumps(text, ensure_ascii=bool(seed % 2))[1:-1].encode("utf-8", "surrogatepass")
    if not seed % 2:
        text = text.replace("\ud83d", "?")
        escaped = json.dumps(text, ensure_ascii=False)[1:-1].encode()
    found, reader = "", Unescaped()
    while escaped:
        size = rng.randrange(1, 9)
        part, escaped = escaped[:size], escaped[size:]
        found += reader.add(part, not escaped)
    assert found == text


def rows_of(seed: int) -> list[dict[str, Any]]:
    rng = random.Random(seed)
    texts = [text_of(seed * 100 + number, rng.choice((0, 5, 30, 300))) for number in range(12)]
    texts = [text.replace("\ud83d", "") for text in texts]  # a half of a pair makes a bad row
    return [
        {"n": n, "text": t, "tags": ["\\", {"q": '"'}], "path": f"{n}.txt"}
        if n % 3
        else {"path": '\\"', "text": t}
        for n, t in enumerate(texts)
    ]


def index(path: Path, folder: Path, fields: dict[str, str] | None = None) -> DiskRows:
    folder.mkdir()
    rows = load(path, streaming=True, fields=fields)
    write_index(folder, rows, {}, lambda row: "all", ["all"], fields=fields)
    return DiskRows(folder)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("seed", range(8))
def test_rows_with_long_texts_are_the_same_from_everywhere(seed: int, tmp_path: Path) -> None:
    rows = rows_of(seed)
    lines = b"".join(json.dumps(row).encode() + (b"\n\n" if seed % 2 else b"\n") for row in rows)
    if seed == 3:
        lines = b"\xef\xbb\xbf" + lines[:-2]
    plain, packed = tmp_path / "a.jsonl", tmp_path / "a.jsonl.gz"
    plain.write_bytes(lines)
    packed.write_bytes(gzip.compress(lines))
    expected = [piece for row in rows for piece in in_pieces(row, "text", 40)]
    assert len(expected) > 2 * len(rows)
    assert list(load(plain)) == expected
    assert list(load(packed)) == expected
    assert list(load(plain, streaming=True).skip(9)) == expected[9:]
    for number, path in enumerate((plain, packed)):
        on_disk = index(path, tmp_path / f"index-{number}")
        assert list(on_disk) == expected
        assert [on_disk[place] for place in (7, 0, -1)] == [expected[7], expected[0], expected[-1]]


@pytest.mark.usefixtures("small")
def test_the_text_may_have_another_name(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [{"body": f"{n} " * 200, "text": "t"} for n in range(3)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    fields = {"text": "body"}
    expected = [{"text": piece["body"]} for row in rows for piece in in_pieces(row, "body", 40)]
    assert [{"text": row["text"]} for row in load(path, fields=fields)] == expected
    found = index(path, tmp_path / "index", fields)
    assert [{"text": row["text"]} for row in found] == expected


@pytest.mark.usefixtures("small")
def test_what_is_long_and_no_text_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    rows = [{"text": "short", "inputs": "5 " * 300}, {"text": 3, "n": list(range(200))}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert list(load(path)) == rows
    assert list(index(path, tmp_path / "index")) == rows


LONG_WORDS = b'"' + b"word " * 200


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text": ' + LONG_WORDS + b'\xff"}', "is not UTF-8: mend the line, or convert"),
        (b'{"text": ' + LONG_WORDS + b'\x01"}', r"is not JSON \(Invalid control character"),
        (b'{"text": ' + LONG_WORDS + b'\\q"}', r"is not JSON \(Invalid \\escape"),
        (b'{"text": ' + LONG_WORDS + b'\\ud83d"}', r"holds \\ud83d, half of a surrogate pair"),
        (b'{"text": ' + LONG_WORDS + b'", nothing}', "is not JSON"),
        (b'{"text": ' + LONG_WORDS + b'", "b": ' + LONG_WORDS + b'"}', "has other long strings"),
        (b"[" + LONG_WORDS + b'"]', "is a JSON list, not an object"),
    ],
)
def test_a_broken_long_line_gives_no_piece(line: bytes, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"text": "one"}\n' + line + b'\n{"text": "two"}\n')
    with pytest.raises(UserError, match=f"line 2 {reason}"):
        load(path)
    rows = load(path, skip_bad=True)
    assert [row["text"] for row in rows] == ["one", "two"]
    assert len(rows.skipped) == 1
    path.write_bytes(line[:700])
    with pytest.raises(UserError, match="is not finished"):
        load(path)


# -- texts that are files -------------------------------------------------------------------------


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("seed", range(6))
def test_a_file_of_text_comes_in_pieces(seed: int, tmp_path: Path) -> None:
    text = text_of(seed, 300).replace("\ud83d", "").replace("\n    ", "\r\n")
    (tmp_path / "texts").mkdir()
    path = tmp_path / "texts" / "a.txt"
    path.write_bytes(text.encode())
    (tmp_path / "texts" / "b.txt").write_text("short")
    plain = text.replace("\r\n", "\n")
    expected = [{"text": piece, "path": "a.txt"} for piece in pieces([plain], 40)]
    assert list(load(path)) == expected
    expected.append({"text": "short", "path": "b.txt"})
    assert list(load(tmp_path / "texts")) == expected
    assert list(index(tmp_path / "texts", tmp_path / "index")) == expected


@pytest.mark.usefixtures("small")
def test_a_file_that_is_no_text_gives_no_piece(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("é".encode() * 100 + b"\xe9 " + b"x" * 30)
    (tmp_path / "b.txt").write_text("good")
    with pytest.raises(UserError, match=r"a.txt is not UTF-8 text \(byte 200\)"):
        load(tmp_path)
    rows = load(tmp_path, skip_bad=True)
    assert [row["text"] for row in rows] == ["good"]
    assert len(rows.skipped) == 1


# -- memory ---------------------------------------------------------------------------------------

MEASURE = """
import resource, sys
from pathlib import Path
from pretrial.data.reading.indexed import DiskRows, write_index
from pretrial.data.reading.sources import load
path, folder = Path(sys.argv[1]), Path(sys.argv[2])
limit = int(sys.argv[3])
held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (held + limit, held + limit))
write_index(folder, load(path, streaming=True), {}, lambda row: "all", ["all"])
rows = DiskRows(folder)
print(len(rows), sum(len(row["text"]) for row in rows), len(rows[len(rows) // 2]["text"]))
if path.suffix == ".jsonl":
    assert rows[1]["n"] == 7
try:
    path.read_bytes()
except MemoryError:
    print("does not fit")
"""


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
def test_a_text_larger_than_memory(name: str, tmp_path: Path) -> None:
    block = ("Ein längeres Wort, 中文 und 😀. " * 40_000).replace("\n", " ")
    path, count = tmp_path / name, 140
    with path.open("w", encoding="utf-8") as file:
        file.write('{"n": 7, "text": "' if name == "a.jsonl" else "")
        for _ in range(count):
            file.write(block)
        file.write('"}\n' if name == "a.jsonl" else "")
    assert path.stat().st_size > 200_000_000
    (tmp_path / "index").mkdir()
    limit = 100_000_000
    words = [sys.executable, "-c", MEASURE, str(path), str(tmp_path / "index"), str(limit)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert not done.returncode, done.stderr
    number, total, middle = map(int, done.stdout.split()[:3])
    assert total == count * len(block)
    assert number == pytest.approx(total / 1_000_000, rel=0.05)
    assert 900_000 < middle <= 1_000_000
    assert "does not fit" in done.stdout
