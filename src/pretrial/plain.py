"""Any value as plain JSON, and JSON as options are written."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from enum import Enum
from functools import partial
from typing import Any


def plain(value: Any) -> Any:
    """Any value as JSON: dataclasses become objects, functions their names, the rest text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, partial):  # its own text holds an address, another in each process
        return [plain(part) for part in (value.func, value.args, value.keywords)]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        items = sorted(value, key=repr) if isinstance(value, set | frozenset) else value
        return [plain(v) for v in items]
    return getattr(value, "__qualname__", None) or str(value)


def flat(options: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested options by the names that they have on the command line."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        if isinstance(value, dict):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def option_value(value: Any) -> str:
    """The value of an option for a reader."""
    return "unset" if value in (None, "", []) else json.dumps(value).strip('"')
