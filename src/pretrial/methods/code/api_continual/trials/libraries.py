"""Functions of installed packages, with the calls in them of names that the package defines."""

from __future__ import annotations

import builtins
import random
import re
from collections.abc import Sequence
from functools import cache
from typing import Any

from pretrial.code_views import view
from pretrial.data.builtin.installed import installed_code
from pretrial.errors import UserError

Row = dict[str, Any]

_CHARACTERS = (150, 2500)  # of a function that takes part
_LARGEST_FILE = 200_000
_MOST_OF_A_FILE = 12
_DEFINITION = re.compile(r"^[ \t]*(?:def|class)[ \t]+([A-Za-z]\w*)", re.MULTILINE)
# what every program calls, whatever library it is about
_COMMON = {
    name
    for kind in vars(builtins).values()
    if isinstance(kind, type) and not issubclass(kind, BaseException)
    for name in dir(kind)
}


@cache
def library_functions(
    packages: tuple[str, ...], num_learn: int, num_test: int
) -> tuple[list[Row], list[Row]]:
    """Functions of each package to learn from, and others to test on, from different files.

    A row holds `text`, `domain` (the package) and `calls`: the calls with a receiver of names that
    the package defines somewhere, without those of Python's own types, such as "append". Functions
    without such a call are left out, and so are copies.

    Args:
        packages: names of installed packages; domains are in their order.
        num_learn: functions of each package to learn from.
        num_test: functions of each package to test on.

    Raises:
        UserError: a package is not installed, or too small.
    """
    files: dict[str, list[str]] = {package: [] for package in packages}
    names = {package.lower().replace("_", "-"): package for package in packages}
    for row in installed_code(
        packages, languages=("python",), tests=False, max_bytes=_LARGEST_FILE
    ):
        files[names[row["repo"]]].append(row["text"])
    learn, test = [], []
    for package in packages:
        found = _functions(package, files[package], {"learn": num_learn, "test": num_test})
        learn += found["learn"]
        test += found["test"]
    return learn, test


def _functions(package: str, files: Sequence[str], wanted: dict[str, int]) -> dict[str, list[Row]]:
    """Rows by side, from the files in random order; every fourth file is for tests."""
    own = {name for text in files for name in _DEFINITION.findall(text)} - _COMMON
    order = list(files)
    random.Random(package).shuffle(order)
    found: dict[str, list[Row]] = {side: [] for side in wanted}
    seen: set[str] = set()
    for number, text in enumerate(order):
        side = "learn" if number % 4 else "test"
        room = min(_MOST_OF_A_FILE, wanted[side] - len(found[side]))
        found[side] += _rows_of(text, package, own, room, seen)
        if all(len(found[name]) == count for name, count in wanted.items()):
            return found
    short = ", ".join(f"{len(found[side])} to {side}" for side in wanted)
    raise UserError(
        f"{package} gives only {short}: lower --num-functions and --num-test, or name a larger one"
    )


def _rows_of(text: str, package: str, own: set[str], room: int, seen: set[str]) -> list[Row]:
    """At most `room` functions of a file, none inside another."""
    rows: list[Row] = []
    end = 0
    for function in view(text).functions() if room else ():
        code = _dedented(text, function.start, function.end)
        fits = _CHARACTERS[0] <= len(code) <= _CHARACTERS[1]
        if function.start < end or not fits or code in seen:
            continue
        calls = [
            {"call": call.name, "start": call.name_start}
            for call in view(code).calls()
            if call.receiver and call.name in own
        ]
        if calls:
            end = function.end
            seen.add(code)
            rows.append({"text": code, "domain": package, "calls": calls})
        if len(rows) == room:
            break
    return rows


def _dedented(text: str, start: int, end: int) -> str:
    """A function without the indentation of its first line."""
    margin = text[text.rfind("\n", 0, start) + 1 : start]
    if margin.strip():
        margin = ""
    return "\n".join(line.removeprefix(margin) for line in text[start:end].split("\n"))
