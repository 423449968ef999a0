"""Reading rows: forms of files, folders, the hub, and what is said when something is wrong."""

from __future__ import annotations

import csv
import gzip
import json
import pickle
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from pretrial.data.reading.sources import Renamed, Rows, Stream, load
from pretrial.data.rows import require
from pretrial.errors import UserError

ROWS = [{"text": f"zeile {i} ä", "n": i} for i in range(5)]


def write_lines(path: Path, rows: list[Any]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


def write_parquet(path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    pytest.importorskip("pyarrow.parquet").write_table(pyarrow.Table.from_pylist(ROWS), path)


@pytest.mark.parametrize(
    "name", ["a.jsonl", "a.jsonl.gz", "a.json", "b.json", "c.json", "a.parquet"]
)
@pytest.mark.parametrize("streaming", [False, True])
def test_every_form_gives_the_same_rows(tmp_path: Path, name: str, streaming: Any) -> None:
    path = tmp_path / name
    if name == "a.json":
        path.write_text(json.dumps(ROWS))
    elif name == "b.json":
        path.write_text(json.dumps({"version": 1, "data": ROWS}))
    elif name == "a.parquet":
        write_parquet(path)
    else:  # c.json: JSON lines under another name
        write_lines(path, ROWS)
    rows = load(path, streaming=streaming)
    assert isinstance(rows, Stream if streaming else Rows)
    assert list(rows) == ROWS
    assert list(rows) == ROWS  # twice


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.tsv"])
def test_tables(tmp_path: Path, name: str) -> None:
    plain = tmp_path / name.removesuffix(".gz")
    with plain.open("w", newline="") as file:
        writer = csv.writer(file, delimiter="\t" if "tsv" in name else ",")
        writer.writerows([["text", "n"], ['with "quotes",\nand lines', "1"], ["b", "2"]])
    if name.endswith(".gz"):
        (tmp_path / name).write_bytes(gzip.compress(plain.read_bytes()))
    assert list(load(tmp_path / name)) == [
        {"text": 'with "quotes",\nand lines', "n": "1"},
        {"text": "b", "n": "2"},
    ]


def test_folder_of_texts_and_of_parts(tmp_path: Path) -> None:
    texts = tmp_path / "texts"
    (texts / "inner").mkdir(parents=True)
    (texts / "b.txt").write_text("B")
    (texts / "inner" / "a.md").write_text("A")
    (texts / ".hidden").write_text("no")
    assert list(load(texts)) == [
        {"text": "B", "path": "b.txt"},
        {"text": "A", "path": "inner/a.md"},
    ]
    parts = tmp_path / "parts"
    parts.mkdir()
    (parts / "README.md").write_text("not data")
    write_lines(parts / "train-2.jsonl", ROWS[2:4])
    write_lines(parts / "train-1.jsonl.gz", ROWS[:2])
    write_lines(parts / "test.jsonl", ROWS[4:])
    assert list(load(parts, split="train")) == ROWS[:4]
    assert list(load(parts, split="test")) == ROWS[4:]
    assert len(load(parts)) == 5
    with pytest.raises(UserError, match="neither a folder valid nor files"):
        load(parts, split="valid")
    single = load(texts / "b.txt")
    assert list(single) == [{"text": "B", "path": "b.txt"}]


def test_data_set_saved_to_disk(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    part = datasets.Dataset.from_list(ROWS)
    part.save_to_disk(str(tmp_path / "one"))
    datasets.DatasetDict(train=part, test=part.select([4])).save_to_disk(str(tmp_path / "two"))
    assert list(load(tmp_path / "one")) == ROWS
    assert list(load(tmp_path / "two")) == ROWS
    assert list(load(tmp_path / "two", split="test")) == ROWS[4:]
    with pytest.raises(UserError, match="has no split 'valid'; it has: train, test"):
        load(tmp_path / "two", split="valid")
    with pytest.raises(UserError, match="has no splits"):
        load(tmp_path / "one", split="train")


def test_hub_without_network_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")

    def unreachable(*args: Any, **kwargs: Any) -> None:
        raise ConnectionError("Name or service not known\nretry")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    with pytest.raises(UserError, match=r"cannot load the data set 'owner/name' \(ConnectionErr"):
        load("owner/name")


def test_hub_gets_name_config_and_split(monkeypatch: pytest.MonkeyPatch) -> None:
    datasets = pytest.importorskip("datasets")
    asked: list[Any] = []

    def fake(name: str, config: str | None, streaming: bool) -> Any:
        asked.append((name, config, streaming))
        return {"train": ROWS, "test": ROWS[:1]}

    monkeypatch.setattr(datasets, "load_dataset", fake)
    assert list(load("owner/name:config", split="test")) == ROWS[:1]
    assert list(load("name", streaming=True).skip(3)) == ROWS[3:]
    assert asked == [("owner/name", "config", False), ("name", None, True)]


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"pip install 'pretrial\[data\]'"):
        load("owner/name")


def test_fields_are_renamed(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", [{"body": "x", "n": 1}])
    assert list(load(path, fields={"text": "body"})) == [{"n": 1, "text": "x"}]
    swapped = write_lines(tmp_path / "b.jsonl", [{"a": 1, "b": 2}])
    assert list(load(swapped, fields={"a": "b", "b": "a"})) == [{"a": 2, "b": 1}]
    with pytest.raises(UserError, match="no field 'bodi'; found: body, n"):
        load(path, fields={"text": "bodi"})


def test_a_source_may_carry_the_names_of_its_fields(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "a.jsonl", [{"body": "x"}])
    source = pickle.loads(pickle.dumps(Renamed(str(path), {"text": "body"})))
    assert (source, f"{source}") == (str(path), str(path))
    assert list(load(source)) == [{"text": "x"}]
    assert list(load(source, fields={"code": "body"})) == [{"code": "x"}]


def test_a_missing_field_suggests_the_nearest(tmp_path: Path) -> None:
    rows = load(write_lines(tmp_path / "a.jsonl", [{"texts": "x", "n": 1}]))
    require(rows, ["n"])
    with pytest.raises(UserError, match=r"no field 'text' .*found: texts, n.*--fields text=texts"):
        require(rows, ["n", "text"])
    with pytest.raises(UserError, match=r"no field 'label' .*--fields label=texts$"):
        require(rows, ["n", "label"])  # the only one that is left
    with pytest.raises(UserError, match=r"no field 'label' .*--fields label=OTHER$"):
        require(rows, ["label"])
    with pytest.raises(UserError, match="row 1"):
        require(Rows([{"text": ""}, {}]), ["text"])


def test_broken_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\n\n{"a": \n[1]\n{"a": "\xff"}\n{"a": 2}\n')
    with pytest.raises(UserError, match=r"a\.jsonl, line 3 is not JSON .*--skip-bad"):
        load(path)
    rows = load(path, skip_bad=True)
    assert list(rows) == [{"a": 1}, {"a": 2}]
    assert [reason.split(", ")[1][:6] for reason in rows.skipped] == ["line 3", "line 4", "line 5"]
    stream = load(path, skip_bad=True, streaming=True)
    assert list(stream) == [{"a": 1}, {"a": 2}]
    assert len(stream.skipped) == 3


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b"", "is empty"),
        ("a.jsonl", b"\n\n", "holds no rows"),
        ("a.json", b"[1, 2]", "item 0 is not an object"),
        ("a.json", b'{"a": 1}', "not a list of objects"),
        ("a.json", b'[{"a": 1},\n{]', "line 2 is not JSON"),
        ("a.json", b'["\xff"]', "not UTF-8"),
        ("a.csv", b"a,b\n1,2\n3\n", "line 3 has not the 2 columns"),
        ("a.csv", b"a,b\n1,\xff\n", "not UTF-8"),
        ("a.jsonl.gz", b"no gzip", "not a whole gzip file"),
        ("a.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 99, mtime=0)[:-9], "not a whole gzip file"),
        ("a.parquet", b"no parquet", "not a parquet file"),
        ("a.txt", b"\xff\xfe", "not UTF-8 text"),
    ],
)
def test_broken_files(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        load(tmp_path / name)


def test_what_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text("{}")
    with pytest.raises(UserError, match=r"no trian\.jsonl .*nearest there: train\.jsonl"):
        load(tmp_path / "trian.jsonl")
    with pytest.raises(UserError, match="there is no folder"):
        load(str(tmp_path / "nowhere" / "a.jsonl"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty folder"):
        load(tmp_path / "empty")
    with pytest.raises(UserError, match="has no splits"):
        load(tmp_path / "train.jsonl", split="train")
    with pytest.raises(UserError, match="nearest: mini-apps"):
        load("builtin:miniapps")


def test_skipping_to_a_position(tmp_path: Path) -> None:
    stream = load(write_lines(tmp_path / "a.jsonl", ROWS), streaming=True)
    assert list(stream.skip(2).skip(1)) == ROWS[3:]
    assert list(stream) == ROWS
    assert list(stream.skip(9)) == []


def test_streaming_takes_flat_memory(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with path.open("w") as file:
        for number in range(20_000):
            file.write(json.dumps({"text": "x" * 200, "n": number}) + "\n")
    stream = load(path, streaming=True)
    tracemalloc.start()
    total = sum(row["n"] for row in stream)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert total == 20_000 * 19_999 // 2
    assert peak < 1_000_000  # the file has 4.5 MB


def test_builtin_options_in_the_name() -> None:
    rows = load("builtin:mini-apps?num_train=7&num_test=3", split="test")
    assert len(rows) == 3
    assert len(load("builtin:mini-apps?num_train=7&num_test=3&split=train")) == 7
    assert len(rows[:2]) == 2
    assert "question" in repr(rows)
