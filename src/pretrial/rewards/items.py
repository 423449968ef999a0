"""What trainers give, read: the program, tests and weights of each completion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pretrial.data.problems.problem import Problem
from pretrial.data.reading.problems import read_problems
from pretrial.errors import UserError, nearest
from pretrial.rewards.completions import Fence, program_in, text_of
from pretrial.rewards.given_tests import read_tests
from pretrial.rewards.scoring import check_weights
from pretrial.sandbox.tests import Tests

NAMES = ("tests", "problem_id", "weights")


class Item(NamedTuple):
    """A program with its tests.

    Attributes:
        program: None where the completion holds none.
        tests: of its problem.
        weights: one a test; None where they do not count.
    """

    program: str | None
    tests: Tests
    weights: list[float] | None


class Reader:
    """Reads completions and the columns beside them; see `CodeReward` for the arguments."""

    def __init__(
        self,
        *,
        problems: str | Path | Sequence[Problem] | None,
        weights: Mapping[str, Sequence[float]] | None,
        weighted: bool,
        fence: Fence,
        continue_prompt: bool,
        allow_shared: bool,
        columns: Mapping[str, str] | None,
    ) -> None:
        if fence not in ("last", "first", "none"):
            raise UserError(f"fence is last, first or none, not {fence!r}")
        unknown = {*(columns or {})} - {*NAMES}
        if unknown:
            raise UserError(f"columns renames {', '.join(NAMES)}, not {min(unknown)!r}")
        self._names = {name: name for name in NAMES} | dict(columns or {})
        self._fence, self._continues, self._shared = fence, continue_prompt, allow_shared
        self._weighted, self._weights = weighted, weights
        self._problems = None if problems is None else _by_id(problems)
        for problem in (self._problems or {}).values():
            self._refuse_shared(problem.tests, f"problem {problem.id}")

    @property
    def has_problems(self) -> bool:
        """Whether tests come by the id of a problem."""
        return self._problems is not None

    def wants(self, name: str) -> bool:
        """Whether a column of that name is looked at."""
        return name in self._names.values()

    def items(
        self,
        completions: Sequence[Any],
        prompts: Sequence[Any] | None,
        columns: Mapping[str, Any],
        *,
        own_names: bool = False,
    ) -> list[Item]:
        """The program and the tests of each completion.

        Args:
            completions: texts or lists of chat messages.
            prompts: as many.
            columns: lists of as many; others may be among them.
            own_names: the columns have our names.

        Raises:
            UserError: something is missing, of another length, or cannot be read.
        """
        names = {name: name for name in NAMES} if own_names else self._names
        count = len(completions)
        if self._continues and prompts is None:
            raise UserError("continue_prompt needs the prompts beside the completions")
        if prompts is not None:
            _check_length("prompts", prompts, count)
        key = "problem_id" if self._problems is not None else "tests"
        keys = columns.get(names[key])
        if keys is None:
            raise UserError(_missing(names[key], key, columns))
        _check_length(names[key], keys, count)
        weights = columns.get(names["weights"]) if self._weighted else None
        if weights is not None:
            _check_length(names["weights"], weights, count)
        found = []
        for place, completion in enumerate(completions):
            try:
                given = None if weights is None else weights[place]
                prompt = text_of(prompts[place]) if prompts is not None and self._continues else ""
                found.append(self._item(completion, prompt, keys[place], given))
            except UserError as error:
                raise UserError(f"completion {place}: {error}") from error
        return found

    def _item(self, completion: Any, prompt: str, key: Any, weights: Any) -> Item:
        text = program_in(text_of(completion), self._fence)
        problem = None
        if self._problems is not None:
            problem = self._problem(key)
            tests, name = problem.tests, f"problem {problem.id}"
        else:
            tests, name = read_tests(key), "its problem"
            self._refuse_shared(tests, name)
        head = problem.question if problem and problem.style == "completion" else prompt
        if text is not None and head:
            text = _continued(head, text)
        if not self._weighted:
            return Item(text, tests, None)
        if weights is None and self._weights is not None and problem is not None:
            weights = self._weights.get(problem.id)
        if weights is None:
            raise UserError(f"{name} has no weights, which the mode 'weighted' needs")
        return Item(text, tests, check_weights(weights, len(tests)))

    def _problem(self, key: Any) -> Problem:
        assert self._problems is not None
        name = str(key)
        if name not in self._problems:
            close = nearest(name, self._problems)
            raise UserError(f"there is no problem {name!r} among them; the nearest: {close}")
        return self._problems[name]

    def _refuse_shared(self, tests: Tests, name: str) -> None:
        if tests.shares_process and not self._shared:
            raise UserError(
                f"{name} has asserts that are checked within the program's own process, where it"
                " can forge a pass (of two computed values, in loops over such, by functions of the"
                " script): write them as `assert f(args) == value`, leave the problem out, or set"
                " allow_shared"
            )


def _by_id(problems: str | Path | Sequence[Problem]) -> dict[str, Problem]:
    return {problem.id: problem for problem in read_problems(problems)}


def _continued(head: str, text: str) -> str:
    """A head and what was written after it: more of its body, or the whole function anew."""
    goes_on = text[:1] in (" ", "\t", "\n", "") or head[-1:] in ("\n", "")
    return head + text if goes_on else f"{head}\n{text}"


def _check_length(name: str, column: Any, count: int) -> None:
    if isinstance(column, str) or not hasattr(column, "__len__"):
        raise UserError(f"{name} must be a list, one item for each completion, not {column!r:.40}")
    if len(column) != count:
        raise UserError(
            f"there are {count} completions but {len(column)} {name}: give one for each completion"
        )


def _missing(name: str, key: str, columns: Mapping[str, Any]) -> str:
    lists = [each for each, value in columns.items() if isinstance(value, list | tuple)]
    has = f"the data has {', '.join(sorted(lists))}" if lists else "the data has no columns"
    other = {
        "tests": "or give CodeReward the problems, and the data a problem_id",
        "problem_id": "or make CodeReward without problems, and give the tests in a column",
    }[key]
    return (
        f"the data has no column {name!r} ({has}): rename one by columns={{{key!r}: ...}}, {other}"
    )
