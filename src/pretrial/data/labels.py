"""Labels of rows: one name or number a row, or none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pretrial.data.rows import Rows, likely, row_number
from pretrial.errors import UserError


def label_in(value: Any, number: int, field: str = "label") -> Any:
    """The label in a field of a row of that number; None where it is missing.

    Null, NaN, a text of white space alone and what pandas has for them are no labels.

    Raises:
        UserError: it is a list or an object.
    """
    if hasattr(value, "item") and not getattr(value, "ndim", 1):
        value = value.item()  # of numpy or torch
    if isinstance(value, Sequence | Mapping) and not isinstance(value, str | bytes | tuple):
        several = True
    else:
        several = bool(getattr(value, "ndim", 0)) or isinstance(value, set)
    if several:
        raise UserError(
            f"{field!r} of row {number} is a {type(value).__name__}: give each row one label, a"
            " string or a number; of a row with several, make a row for each or keep one"
        )
    if value is None or type(value).__name__ == "NAType":  # pandas.NA answers no comparison
        return None
    empty = isinstance(value, str) and not value.strip()
    return None if empty or value != value else value  # NaN is not itself


def labelled(rows: Sequence[Any], field: str = "label") -> tuple[Rows, list[Any]]:
    """The rows that have a label, and their labels.

    Args:
        rows: raw rows.
        field: name of the label's field.

    Raises:
        UserError: none has one, or one is a list or an object.
    """
    kept, labels, numbers = [], [], []
    for place, row in enumerate(rows):
        number = row_number(rows, place)
        label = label_in(row.get(field) if isinstance(row, Mapping) else None, number, field)
        if label is not None:
            kept.append(row)
            labels.append(label)
            numbers.append(number)
    if not kept:
        names = [name for row in rows[:1] if isinstance(row, Mapping) for name in row]
        if field in names:
            raise UserError(f"no row has a label: {field!r} is empty in all {len(rows)} of them")
        raise UserError(
            f"there is no field {field!r} in the data (found: {', '.join(names) or 'none'}): name"
            f" the one to use with --fields {field}={likely(field, names)}"
        )
    return Rows(kept, getattr(rows, "source", ""), numbers=numbers), labels
