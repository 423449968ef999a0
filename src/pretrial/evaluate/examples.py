"""From rows to what a method's abilities take, whatever the modality.

A task never asks which method it measures: the method's own `read` makes examples of rows, after
the field that is measured has got the name under which the method reads it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pretrial.card import Field
from pretrial.data.rows import mapped, numbered, text_in
from pretrial.discover import card_of
from pretrial.errors import UserError

_TEXT = "text"
# What a text cannot stand in for where nobody says so.
_MEDIA = ("image", "audio", "video", "signal", "series", "points")


def examples_of(method: Any, rows: Sequence[Any], field: str = "") -> Sequence[Any]:
    """What `method.read` makes of rows, one example each.

    A field that the method's card names, and that says enough without the others, keeps its name;
    any other is called as the field that `config.input` names, where the method reads one of
    several, else as the first field that it requires. So a text is read as `code` by a method of
    code, and a picture as `image` by one of images.

    Args:
        method: with an ability and `read`; without `read` it is given texts.
        rows: raw rows, or texts.
        field: of the rows, the one to be read; "" leaves that to the method, which also reads
            `text` where it would have a field of another name.

    Raises:
        UserError: a row lacks the field, cannot be read, or makes none or several examples.
    """
    if not hasattr(method, "read"):
        return mapped(rows, lambda _, row: value_of(row, field or _TEXT))
    if not len(rows):
        return []
    named = rows
    card = card_of(method)
    fields = card.fields if card else ()
    field, name = _names(method, fields, rows[0], field)
    if field:
        others = {each.name for each in fields if each.required} | {field}
        named = mapped(rows, lambda _, row: _renamed(row, field, name, others))
    examples = method.read(named)
    if len(examples) != len(rows):
        raise UserError(
            f"{type(method).__name__} makes {len(examples)} examples of {len(rows)} rows, and a"
            " task needs one of each: leave out the rows that it cannot read"
        )
    return examples


def value_of(row: Any, field: str) -> Any:
    """What a row has in a field; a row that is a text is the text itself.

    Raises:
        UserError: the row lacks the field (it names those found).
    """
    if isinstance(row, str):
        return row
    if field not in row:
        raise UserError(
            f"there is no field {field!r} in the data (found: {', '.join(row)}): name the one to"
            f" use with --fields {field}=OTHER"
        )
    return row[field]


def values_of(rows: Sequence[Any], field: str, *, text: bool = False) -> list[Any]:
    """What all rows have in a field.

    Args:
        rows: raw rows.
        field: of the rows.
        text: whether it must be a text.

    Raises:
        UserError: a row lacks the field, or holds null or, if asked, something else than a text.
    """
    found = []
    for number, row in numbered(rows):
        value = value_of(row, field)
        if value is None or (text and not isinstance(value, str)):
            text_in({field: value}, number, field)  # which says so
        found.append(value)
    return found


def _names(method: Any, fields: Sequence[Field], row: Any, field: str) -> tuple[str, str]:
    """The field to be read, "" for rows that stay as they are, and the name it is read under."""
    known = [each.name for each in fields]
    first = getattr(getattr(method, "config", None), "input", "")
    if first not in known:
        first = next((each.name for each in fields if each.required), field or _TEXT)
    if not field and not isinstance(row, str):
        called_otherwise = first not in row and _TEXT in row and _TEXT not in known
        if not called_otherwise or first in _MEDIA:
            return "", ""
    field = field or _TEXT
    alone = field in known and _can_read(method, {field: value_of(row, field)})
    return field, field if alone else first


def _can_read(method: Any, row: Mapping[str, Any]) -> bool:
    try:
        return len(method.read([row])) == 1
    except UserError:
        return False


def _renamed(row: Any, field: str, name: str, others: set[str]) -> dict[str, Any]:
    """The row with its field under the method's name, and without what could be read instead."""
    value = value_of(row, field)
    rest = {} if isinstance(row, str) else {k: v for k, v in row.items() if k not in others}
    return rest | {name: value}
