"""Splits that keep together what belongs together."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from pretrial.data.rows import Row, Rows, row_number
from pretrial.errors import UserError


def split_by_group(
    rows: Iterable[Row],
    key: str | Callable[[Row], Any],
    ratios: Mapping[str, float],
    seed: int = 0,
) -> dict[str, Rows]:
    """Splits rows so that no group is in two splits.

    A group's split is a hash of its name and the seed: it stays when rows are added, moved or
    removed. Near duplicates stay together if the key is what they share (file, repository,
    author, text without white space). The sizes are met in expectation over groups, not exactly.

    Args:
        rows: the data.
        key: name of a field, or a function of a row, that gives the group.
        ratios: share of the groups for each split, such as {"train": 0.9, "test": 0.1}; sum 1.
        seed: another seed gives another split.

    Raises:
        UserError: the shares do not sum to 1, or a row lacks the field.
    """
    if not ratios or min(ratios.values()) < 0 or not math.isclose(sum(ratios.values()), 1):
        raise UserError(f"the shares of the splits must be >= 0 and sum to 1, not {dict(ratios)}")
    splits: dict[str, list[Row]] = {name: [] for name in ratios}
    numbers: dict[str, list[int]] = {name: [] for name in ratios}
    for place, row in enumerate(rows):
        if isinstance(key, str) and key not in row:
            raise UserError(f"there is no field {key!r} to split by; found: {', '.join(row)}")
        group = row[key] if isinstance(key, str) else key(row)
        split = split_of(group, ratios, seed)
        splits[split].append(row)
        numbers[split].append(row_number(rows, place))
    source = getattr(rows, "source", "")
    return {
        name: Rows(part, f"{source} ({name})".strip(), numbers=numbers[name])
        for name, part in splits.items()
    }


def split_of(group: Any, ratios: Mapping[str, float], seed: int = 0) -> str:
    """The split of a group; see `split_by_group`."""
    digest = hashlib.sha256(f"{seed}\0{group}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    for name, ratio in ratios.items():
        place -= ratio
        if place < 0:
            return name
    return [name for name, ratio in ratios.items() if ratio > 0][-1]  # rounding at the upper end


def hold_out(rows: Sequence[Row], ratio: float, seed: int) -> tuple[Sequence[Row], Sequence[Row]]:
    """Sets a part of the rows aside; equal rows stay on one side.

    Args:
        rows: all rows.
        ratio: share to set aside; 0 sets none aside.
        seed: of the choice.

    Raises:
        UserError: the ratio is none.
    """
    parts = split_by_group(rows, _text, _shares(ratio), seed)
    return parts["kept"], parts["aside"]


def side_of(ratio: float, seed: int) -> Callable[[Row], str]:
    """On which side `hold_out` puts a row: "kept" or "aside"."""
    shares = _shares(ratio)
    return lambda row: split_of(_text(row), shares, seed)


def _shares(ratio: float) -> dict[str, float]:
    if not 0 <= ratio < 1:
        raise UserError(f"--held-out-ratio must be at least 0 and below 1, not {ratio}")
    return {"kept": 1 - ratio, "aside": ratio}


def _text(row: Row) -> str:
    return json.dumps(row, sort_keys=True, default=_print)


def _print(value: Any) -> str:
    """A value that JSON lacks, as text; of arrays and images all of it, by its hash."""
    if hasattr(value, "tobytes"):
        return hashlib.sha256(value.tobytes()).hexdigest()
    return str(value)
