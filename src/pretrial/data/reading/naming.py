"""What the fields of a row are called, and a text made of several."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from string import Formatter
from typing import Any

from pretrial.data.rows import Row
from pretrial.errors import UserError, nearest


def rename(row: Mapping[str, Any], fields: Mapping[str, str]) -> Row:
    """The row with `fields[wanted]` called `wanted`; other fields stay.

    Raises:
        UserError: the row lacks a field that is to be renamed.
    """
    for wanted, found in fields.items():
        if found not in row:
            raise UserError(
                f"--fields {wanted}={found}: there is no field {found!r}; found: {', '.join(row)}"
            )
    rest = {key: value for key, value in row.items() if key not in fields.values()}
    return rest | {wanted: row[found] for wanted, found in fields.items()}


def found_name(fields: Mapping[str, str] | None, wanted: str) -> str:
    """What a field is called in the data that `rename` is given."""
    return (fields or {}).get(wanted, wanted)


def fill(row: Mapping[str, Any], template: str) -> Row:
    """The row with a `text` made of its other fields; what is null in them is an empty text.

    Args:
        row: not changed.
        template: such as "{title}\\n{body}", in which \\n and \\t stand for a line's end and a tab,
            and {{ and }} for braces.

    Raises:
        UserError: the template has a field that the row lacks, or is none.
    """
    parts: list[str] = []
    for literal, name in _pieces_of(template):
        parts.append(literal)
        if name is None:
            continue
        if name not in row:
            raise UserError(
                f"--text-template has {{{name}}}, and there is no such field; the nearest:"
                f" {nearest(name, row)}"
            )
        parts.append("" if row[name] is None else str(row[name]))
    return {**row, "text": "".join(parts)}


@cache
def _pieces_of(template: str) -> list[tuple[str, str | None]]:
    """Each text of a template with the name of the field behind it, None behind the last."""
    plain = template.replace("\\n", "\n").replace("\\t", "\t")
    try:
        parsed = [(text, name) for text, name, _, _ in Formatter().parse(plain)]
    except ValueError as error:
        raise UserError(f"--text-template {template!r}: {error}; {{{{ is a brace itself") from error
    if not any(name for _, name in parsed):
        raise UserError(f"--text-template {template!r} names no field: give one such as {{title}}")
    return parsed
