"""Tables: delimiters, headers, and columns of any type."""

from __future__ import annotations

import datetime
import json
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from pretrial.cli import main
from pretrial.data.as_json import as_json_line
from pretrial.data.reading.sources import load
from pretrial.errors import UserError


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_seen_in_the_header(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(delimiter.join(("text", "label")) + "\n" + delimiter.join(("a", "1")) + "\n")
    assert list(load(path)) == [{"text": "a", "label": "1"}]


def test_a_comma_in_the_header_decides_and_quotes_hide(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('text,"a;b;c"\nx;y,1\n')
    assert list(load(path)) == [{"text": "x;y", "a;b;c": "1"}]
    path.write_text('"text, or so";label\nx;1\n')
    assert list(load(path)) == [{"text, or so": "x", "label": "1"}]
    path.write_text("text\nx; y\n")
    assert list(load(path)) == [{"text": "x; y"}]


def test_a_header_with_one_name_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("text,text\nthe first,the second\n")
    with pytest.raises(UserError, match="has the name 'text' 2 times: give each column a name"):
        load(path)


def test_columns_of_any_type_are_cleaned_and_written(tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    row = {
        "text": "The keeper of the light counted the gulls and wrote the number in a book of his.",
        "crawled": datetime.datetime(2024, 1, 2, 3, 4, 5),
        "day": datetime.date(2024, 1, 2),
        "at": datetime.time(3, 4),
        "took": datetime.timedelta(seconds=90),
        "price": Decimal("1.50"),
        "raw": b"\x00\xff",
    }
    parquet.write_table(pyarrow.Table.from_pylist([row]), tmp_path / "t.parquet")
    kept = tmp_path / "kept.jsonl"
    command = ["clean", "--data", str(tmp_path / "t.parquet"), "--out", str(kept)]
    assert main(command) == 0
    written = json.loads(kept.read_text().splitlines()[0])
    assert written == row | {
        "crawled": "2024-01-02T03:04:05",
        "day": "2024-01-02",
        "at": "03:04:00",
        "took": "0:01:30",
        "price": "1.50",
        "raw": "AP8=",
    }


def test_what_numpy_has_is_written_as_numbers() -> None:
    row = {"a": np.float32(0.5), "b": np.arange(3), "c": {"y", "x"}}
    assert json.loads(as_json_line(row)) == {"a": 0.5, "b": [0, 1, 2], "c": ["x", "y"]}
    with pytest.raises(UserError, match="a value of type object cannot be written as JSON"):
        as_json_line({"a": object()})
