"""What a worker imports once, before it gives up its privileges, for all programs after it."""

from __future__ import annotations

import builtins
import importlib
import os
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder
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
    _without_tracker()


def _without_tracker() -> None:
    """Share memory without the process that `multiprocessing` starts to tidy up behind it.

    No interpreter can be started here, so that it would end before it is told what to tidy, now and
    then before the pipe to it is used; the memory goes with the program's private root.
    """
    from multiprocessing.resource_tracker import ResourceTracker

    ResourceTracker._send = lambda self, cmd, name, rtype: None  # type: ignore[attr-defined]


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


class Allowed:
    """Finds the packages on a list, and no others that are installed beside them."""

    def __init__(self, names: Sequence[str], folders: Sequence[str]) -> None:
        self.names, self.folders = frozenset(names), folders

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """The module of that name; its parts are found by its own path, as ever."""
        if path is not None or name not in self.names:
            return None
        return PathFinder.find_spec(name, self.folders, target)


def allow(names: Sequence[str], imports: Sequence[str], folders: Sequence[str]) -> None:
    """Let programs import packages.

    Args:
        names: of the modules.
        imports: of those that are imported here, once for all programs.
        folders: where they are installed.
    """
    if names:
        sys.meta_path.append(Allowed(names, folders))
    for name in imports:
        importlib.import_module(name)
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed(0)  # as `random` is, for each program
