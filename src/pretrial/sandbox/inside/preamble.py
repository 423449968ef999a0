"""What a worker imports once, before it gives up its privileges, for all programs after it."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

MODULES = (
    "abc array ast base64 bisect builtins calendar cmath collections collections.abc "
    "contextlib copy csv dataclasses datetime decimal difflib encodings.ascii encodings.idna "
    "encodings.latin_1 enum fractions functools hashlib heapq inspect io itertools json "
    "keyword locale math numbers operator os pprint queue random re secrets statistics string "
    "struct sys textwrap threading time traceback types typing unicodedata uuid warnings zlib "
)


def import_modules() -> None:
    """Import what programs may want, before privileges are dropped."""
    for name in MODULES.split():
        importlib.import_module(name)


def load(text: str) -> dict[str, Any]:
    """Run the preamble and return its names."""
    names: dict[str, Any] = {}
    exec(compile(text, "<preamble>", "exec"), names)
    del names["__builtins__"]
    # From here on programs can import the standard library and what the preamble loaded.
    library = os.path.dirname(os.__file__)
    inside = (library, os.path.join(library, "lib-dynload"))
    sys.path[:] = [path for path in sys.path if path.startswith(inside) and "-packages" not in path]
    return names
