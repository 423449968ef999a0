"""Rewritten code: other names, dead code, another order, fewer lines.

The first four leave what a program does as it was; `sample_lines` does not. Each takes a view and a
`random.Random`, and gives the new text, or None where it cannot be applied with certainty.
"""

from __future__ import annotations

import builtins
import keyword
import random
import re
from collections.abc import Callable, Sequence

from pretrial.code_views.view import Name, Span, View

Rewrite = Callable[[View, random.Random], str | None]

#: Words that new names are made of; keywords of no language here.
WORDS = (
    "acc", "block", "box", "buf", "cell", "chunk", "col", "cur", "data", "delta", "dest",
    "elem", "entry", "extra", "field", "first", "flag", "head", "holder", "index", "inner", "item",
    "last", "left", "level", "limit", "mark", "mid", "need", "node", "num", "obj", "offset",
    "other", "pair", "part", "piece", "point", "pos", "prev", "probe", "rank", "res",
    "rest", "right", "root", "row", "seen", "side", "size", "slot", "span", "spare", "start",
    "state", "step", "stop", "tail", "temp", "term", "top", "total", "unit", "val", "value",
    "width", "word",
)  # fmt: skip

_WORD = re.compile(r"\w+")
_PYTHON_WORDS = {*keyword.kwlist, *keyword.softkwlist, *dir(builtins)}

#: Statements without effect by language; {name} is a name that stands nowhere else.
_DEAD_CODE: dict[str, tuple[str, ...]] = {
    "python": (
        "{name} = {number}",
        "{name} = None",
        "if False: {name} = {number}",
        "while False: {name} = {number}",
        "for {name} in (): pass",
    ),
    "java": ("int {name} = {number};", "if (false) {{ int {name} = {number}; }}"),
    "javascript": ("let {name} = {number};", "if (false) {{ let {name} = {number}; }}"),
    "go": ("if false {{ {name} := {number}; _ = {name} }}", "for false {{ }}"),
    "php": ("${name} = {number};", "if (false) {{ ${name} = {number}; }}"),
    "ruby": ("{name} = {number}", "if false then {name} = {number} end"),
    "c": ("int {name} = {number};", "if (0) {{ int {name} = {number}; }}"),
    "csharp": ("int {name} = {number};", "if (false) {{ int {name} = {number}; }}"),
}


def rename_variables(
    view: View,
    rng: random.Random,
    count: int | None = None,
    names: Sequence[str] = (),
) -> str | None:
    """Gives local variables and parameters new names, each the same one everywhere.

    Args:
        view: of the code.
        rng: chooses variables and names.
        count: how many are renamed, all where there are fewer; None draws from one to all.
        names: where new names come from, as far as they do not stand in the text already.
    """
    variables = view.edits.variables
    distinct = list(dict.fromkeys(variable.name for variable in variables))
    if not distinct or count == 0:
        return None
    count = rng.randint(1, len(distinct)) if count is None else min(count, len(distinct))
    chosen = rng.sample(distinct, count)
    fresh = dict(zip(chosen, fresh_names(view, rng, count, names), strict=True))
    return _renamed(view, variables, fresh)


def rename_function(view: View, rng: random.Random, names: Sequence[str] = ()) -> str | None:
    """Gives one function of the outermost level a new name, wherever it is mentioned."""
    functions = view.edits.functions
    if not functions:
        return None
    function = rng.choice(functions)
    (fresh,) = fresh_names(view, rng, 1, names)
    return _renamed(view, [function], {function.name: fresh})


def insert_dead_code(view: View, rng: random.Random) -> str | None:
    """Adds a statement that has no effect, before a statement of a function."""
    places = view.edits.places
    if not places:
        return None
    place = rng.choice(places)
    (name,) = fresh_names(view, rng, 1)
    statement = rng.choice(_DEAD_CODE[view.language]).format(name=name, number=rng.randint(0, 99))
    line = f"{place.indent}{statement}\n"
    return view.text[: place.offset] + line + view.text[place.offset :]


def reorder_statements(view: View, rng: random.Random) -> str | None:
    """Swaps two statements that stand side by side and do not depend on each other."""
    text, pairs = view.text, view.edits.pairs
    pairs = [(one, two) for one, two in pairs if text[slice(*one)] != text[slice(*two)]]
    if not pairs:
        return None
    (start, end), (next_start, next_end) = rng.choice(pairs)
    between = text[end:next_start]
    return text[:start] + text[next_start:next_end] + between + text[start:end] + text[next_end:]


def sample_lines(view: View, rng: random.Random, keep_ratio: float = 0.8) -> str | None:
    """Keeps a part of the lines, in their order; what the code does is lost.

    Args:
        view: of the code.
        rng: chooses the lines.
        keep_ratio: of the lines that are not blank; at least one is kept and one goes.
    """
    lines = view.text.splitlines(keepends=True)
    full = [number for number, line in enumerate(lines) if line.strip()]
    if len(full) < 2:
        return None
    kept = min(max(round(keep_ratio * len(full)), 1), len(full) - 1)
    gone = set(rng.sample(full, len(full) - kept))
    return "".join(line for number, line in enumerate(lines) if number not in gone)


#: The rewrites that keep what a program does, by name.
PRESERVING: dict[str, Rewrite] = {
    "rename_function": rename_function,
    "rename_variables": rename_variables,
    "insert_dead_code": insert_dead_code,
    "reorder_statements": reorder_statements,
}


def fresh_names(view: View, rng: random.Random, count: int, names: Sequence[str] = ()) -> list[str]:
    """New names that stand nowhere in the text and mean nothing to the language.

    Args:
        view: of the code.
        rng: chooses among `names`, and makes up further ones out of `WORDS`.
        count: how many.
        names: a few of them are tried first.
    """
    taken = set(_WORD.findall(view.text)) | _PYTHON_WORDS
    fresh: list[str] = []
    for name in rng.sample(names, min(len(names), 4 * count + 20)):
        if len(fresh) < count and name not in taken and name.isidentifier():
            fresh.append(name)
            taken.add(name)
    while len(fresh) < count:
        name = rng.choice(WORDS)
        if name in taken:
            name = f"{name}_{rng.choice(WORDS)}"
        if name in taken:
            name = f"{name}{rng.randint(0, 999)}"
        if name not in taken:
            fresh.append(name)
            taken.add(name)
    return fresh


def _renamed(view: View, occurrences: Sequence[Name], fresh: dict[str, str]) -> str:
    """The text with the names in `fresh` replaced where they occur."""
    edits: list[tuple[Span, str]] = []
    for name, spans in occurrences:
        if name in fresh:
            mark = "$" if name.startswith("$") else ""  # of PHP's variables
            edits += [(span, mark + fresh[name]) for span in spans]
    pieces, done = [], 0
    for (start, end), new in sorted(edits):
        pieces += [view.text[done:start], new]
        done = end
    return "".join(pieces) + view.text[done:]
