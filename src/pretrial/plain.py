"""Any value as plain JSON."""

from __future__ import annotations

import dataclasses
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
