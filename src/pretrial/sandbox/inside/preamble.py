"""What a worker imports once, before it gives up its privileges, for all programs after it."""

from __future__ import annotations

import builtins
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

# What a program in LeetCode's style (`class Solution`) finds there without an import: all names of
# the first, but those of builtins, and the others as modules. References of APPS rely on it.
LEETCODE_NAMES = "bisect collections functools heapq itertools math typing"
LEETCODE_MODULES = "copy datetime fractions operator random re statistics string sys time"

leetcode: dict[str, Any] = {}  # filled by `import_modules`


def import_modules() -> None:
    """Import what programs may want, before privileges are dropped."""
    for name in MODULES.split():
        importlib.import_module(name)
    for name in LEETCODE_NAMES.split():
        exec(f"from {name} import *", leetcode)
    for name in f"{LEETCODE_NAMES} {LEETCODE_MODULES}".split():
        leetcode[name] = importlib.import_module(name)
    for name in ("__builtins__", *dir(builtins)):
        leetcode.pop(name, None)


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
