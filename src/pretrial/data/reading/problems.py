"""Programming problems from wherever they are."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pretrial.data.problems.layouts import Problems, problems_of
from pretrial.data.problems.problem import Problem
from pretrial.data.reading.sources import load


def read_problems(
    source: str | Path | Iterable[dict[str, Any]] | Iterable[Problem],
    skip_bad: bool = False,
    *,
    mbpp_shown: int = 1,
) -> Problems:
    """Reads problems from a source's name, or from rows; see `problems_of`.

    Args:
        source: anything that `pretrial.data.reading.sources.load` takes, rows, or problems.
        skip_bad: leave broken rows out instead of raising; `Problems.skipped` says why.
        mbpp_shown: how many asserts the statement of an MBPP problem shows.

    Raises:
        UserError: an unknown layout, a broken row, or no problem with tests.
    """
    skipped: list[str] = []
    rows: Any = source
    if isinstance(source, str | Path):
        rows = load(source, skip_bad=skip_bad)
        skipped = rows.skipped
    return problems_of(rows, skip_bad, mbpp_shown=mbpp_shown, skipped=skipped)
