"""What rows have in common, so that a split keeps it together: their origin, or their content."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

#: Fields that say what a row belongs to.
ORIGINS = ("module", "voice", "original")


def origin_of(row: Mapping[str, Any], content: str | None) -> str:
    """What must be on one side of a split: rows of one origin, or equal ones.

    Args:
        row: a row.
        content: the field that holds its text, image or recording; None where it has no such one,
            and all but the label is its content.
    """
    for name in ORIGINS:
        if row.get(name):
            return f"{name} {row[name]}"
    rest = {name: value for name, value in row.items() if name != "label"}
    return content_key(row[content] if content else rest)


def content_key(content: Any) -> str:
    """The same text for equal contents; of texts outer white space aside."""
    if isinstance(content, Mapping) and "array" in content:
        content = content["array"]
    if hasattr(content, "tobytes"):
        return hashlib.sha256(content.tobytes()).hexdigest()
    return hashlib.sha256(str(content).strip().encode("utf-8", "replace")).hexdigest()
