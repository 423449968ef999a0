"""What rows hold, and what they have in common, so that a split keeps it together."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Literal

Kind = Literal["text", "image", "audio"]

#: What a row may hold, and the field that holds it.
KINDS: tuple[Kind, ...] = ("text", "image", "audio")

#: Fields that say what a row belongs to.
ORIGINS = ("module", "voice", "original")


def kind_of(row: Mapping[str, Any]) -> Kind | None:
    """What a row holds; None where it is none of these."""
    return next((kind for kind in KINDS if row.get(kind) is not None), None)


def origin_of(row: Mapping[str, Any]) -> str:
    """What must be on one side of a split: rows of one origin, or equal ones.

    Without a text, an image or a recording, all but the label is what a row holds.
    """
    for name in ORIGINS:
        if row.get(name):
            return f"{name} {row[name]}"
    kind = kind_of(row)
    rest = {name: value for name, value in row.items() if name != "label"}
    return content_key(row[kind] if kind else rest)


def content_key(content: Any) -> str:
    """The same text for equal contents; of texts outer white space aside."""
    if isinstance(content, Mapping) and "array" in content:
        content = content["array"]
    if hasattr(content, "tobytes"):
        return hashlib.sha256(content.tobytes()).hexdigest()
    return hashlib.sha256(str(content).strip().encode("utf-8", "replace")).hexdigest()
