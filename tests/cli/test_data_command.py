"""`pretrial data`: what there is, and three rows of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from pretrial.cli import main
from pretrial.data.builtin import catalogue
from pretrial.data.builtin.kinds import KINDS


def test_the_list_names_every_data_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data"]) == 0
    told = capsys.readouterr().out
    assert list(KINDS) == catalogue.names()
    for name, kind in KINDS.items():
        assert f"\n{name} " in told
        assert ", ".join(kind.fields) in told
    assert max(map(len, told.splitlines())) <= 80


@pytest.mark.parametrize("name", ["digits", "glyphs", "listops", "stdlib-docstrings"])
def test_the_list_is_right(name: str) -> None:
    rows, kind = catalogue.builtin(name), KINDS[name]
    assert tuple(rows[0]) == kind.fields
    assert kind.num_rows in (-1, len(rows))


def test_three_rows_are_shown(
    texts: Path, capsys: pytest.CaptureFixture[str], fails: Callable[..., str]
) -> None:
    assert main(["data", "builtin:digits"]) == 0
    told = capsys.readouterr().out
    assert told.count("uint8 [8, 8]") == 3
    assert "1,797 rows" in told
    assert "CC-BY-4.0" in told
    assert main(["data", str(texts)]) == 0
    told = capsys.readouterr().out
    assert "the first 3 rows" in told
    assert told.count("  text  ") == 3
    assert "digits" in fails("data", "digts")
    assert "one data set" in fails("data", "digits", "glyphs")
    assert "missing.jsonl" in fails("data", texts.parent / "missing.jsonl")
