"""A row as a line of JSON, whatever it holds."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from pretrial.errors import UserError


def as_json_line(row: Mapping[str, Any]) -> str:
    """A row as one line of JSON, without its end.

    What JSON lacks becomes text: dates and times in ISO 8601, decimal numbers by their digits,
    bytes in Base64; NumPy's numbers and arrays become numbers and lists.

    Raises:
        UserError: a value is of a type that none of this holds.
    """
    return json.dumps(row, ensure_ascii=False, default=_as_json)


def _as_json(value: Any) -> Any:
    if hasattr(value, "isoformat"):
        return value.isoformat()
    if isinstance(value, Decimal | timedelta | UUID | Path):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return b64encode(value).decode()
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, set | frozenset):
        return sorted(value, key=repr)
    raise UserError(f"a value of type {type(value).__name__} cannot be written as JSON: {value!r}")
