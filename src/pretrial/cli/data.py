"""`data`: the built-in data sets, and what rows of data look like."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from pretrial.data.builtin.kinds import KINDS
from pretrial.errors import UserError, nearest

_PROG = "pretrial data"
_NUM_ROWS = 3
_WIDTH = 79


def show_data(argv: Sequence[str]) -> None:
    """Lists the built-in data sets, or shows the first rows of one, or of the user's own data."""
    if not argv:
        print("\n".join(_table()))
        return
    if len(argv) > 1 or argv[0].startswith("-"):
        raise UserError(f"{_PROG} takes the name of one data set, or none to list all of them")
    name = argv[0].removeprefix("builtin:")
    if name.partition("?")[0] in KINDS:
        _show_builtin(name)
    else:
        _show_source(argv[0])


def _table() -> list[str]:
    from pretrial.data.builtin.catalogue import describe

    lines = [f"{'name':<18} {'rows of':<11} {'number':>7}  licence"]
    for name, kind in KINDS.items():
        count = f"{kind.num_rows:,}" if kind.num_rows >= 0 else "varies"
        lines.append(f"{name:<18} {kind.what:<11} {count:>7}  {describe(name).licence}")
        lines.append(f"    {', '.join(kind.fields)}")
    return [
        *lines,
        "",
        f"{_PROG} NAME shows three rows and the options of a data set;",
        "pretrial train SLUG --data builtin:NAME trains on it.",
    ]


def _show_builtin(name: str) -> None:
    from pretrial.data.builtin.catalogue import describe
    from pretrial.data.reading.sources import load

    made = describe(name.partition("?")[0])
    for text in (made.summary, f"from: {made.provenance}", f"licence: {made.licence}"):
        print(textwrap.fill(text, _WIDTH, subsequent_indent="  "))
    rows = load(f"builtin:{name}")
    _show_rows(rows, f"{len(rows):,} rows")


def _show_source(source: str) -> None:
    from pretrial.data.reading.sources import load

    try:
        rows = list(islice(load(source, streaming=True), _NUM_ROWS))
    except UserError as error:
        if "/" in source or "." in source:
            raise
        close = nearest(source, KINDS)
        raise UserError(f"{error}; built-in data sets near that name: {close}") from error
    _show_rows(rows, f"the first {len(rows)} rows of {source}")


def _show_rows(rows: Iterable[dict[str, Any]], title: str) -> None:
    print(f"\n{title}")
    for row in islice(rows, _NUM_ROWS):
        print()
        width = max(map(len, row), default=0)
        for name, value in row.items():
            print(f"  {name:<{width}}  {_short(value)}"[:_WIDTH])


def _short(value: Any) -> str:
    """A value on one line: of an array its type and shape."""
    if hasattr(value, "shape") and hasattr(value, "dtype"):
        return f"{value.dtype} {list(value.shape)}"
    if hasattr(value, "size") and hasattr(value, "mode"):
        return f"picture {value.mode} {list(value.size)}"
    if isinstance(value, dict):
        parts = ", ".join(f"{name}: {_short(item)}" for name, item in value.items())
        return f"{{{parts}}}"
    return " ".join(str(value)[: 4 * _WIDTH].split())
