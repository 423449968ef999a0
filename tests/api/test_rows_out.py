"""Rows as files, by their ending."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from pretrial.api import rows_out
from pretrial.errors import UserError

ROWS: list[dict[str, Any]] = [
    {"id": 0, "label": "a, b", "probability": 0.5, "tags": ["x", None]},
    {"id": 1, "label": "ü", "probability": 1.0, "tags": []},
]


def write(path: Path) -> Path:
    rows_out.check_ending(str(path))
    with rows_out.writing(str(path)) as put:
        for row in ROWS:
            put(row)
    return path


def test_each_format_gives_the_rows_back(tmp_path: Path) -> None:
    lines = write(tmp_path / "there" / "rows.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == ROWS
    with write(tmp_path / "rows.csv").open(newline="") as file:
        found = list(csv.DictReader(file))
    assert [row["label"] for row in found] == ["a, b", "ü"]
    assert json.loads(found[0]["tags"]) == ["x", None]
    pyarrow = pytest.importorskip("pyarrow.parquet")
    assert pyarrow.read_table(write(tmp_path / "rows.parquet")).to_pylist() == ROWS


def test_an_ending_that_is_not_written_is_refused_before_the_work() -> None:
    with pytest.raises(UserError, match=r"ends in \.xlsx: give a name in \.jsonl, \.csv"):
        rows_out.check_ending("rows.xlsx")


@pytest.mark.parametrize("ending", ["jsonl", "csv"])
def test_what_breaks_off_leaves_no_file(ending: str, tmp_path: Path) -> None:
    def fail() -> None:
        with rows_out.writing(str(tmp_path / f"rows.{ending}")) as put:
            put(ROWS[0])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not list(tmp_path.iterdir())
