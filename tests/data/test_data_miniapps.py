"""mini-APPS: right by construction, discriminating, disjoint, the same every time."""

from __future__ import annotations

import contextlib
import io
from typing import Any

import pytest

from pretrial.data.builtin.miniapps import MiniApps, mini_apps
from pretrial.data.builtin.miniops import OPERATIONS, STEPS
from pretrial.data.problems.examples import extract_examples
from pretrial.data.problems.problem import Problem
from pretrial.errors import UserError
from pretrial.sandbox.tests import Tests


@pytest.fixture(scope="module")
def made() -> MiniApps:
    return mini_apps(1500, 300)


def call(program: str, arguments: list[Any]) -> Any:
    space: dict[str, Any] = {}
    exec(program, space)
    return space["f"](*arguments)


def printed(program: str, text: str) -> str:
    out = io.StringIO()
    lines = iter(text.splitlines())
    with contextlib.redirect_stdout(out):
        exec(program, {"input": lambda: next(lines)})
    return out.getvalue()


def outputs(program: str, tests: Tests) -> tuple[Any, ...]:
    run = call if tests.kind == "call" else printed
    return tuple(run(program, item) for item in tests.inputs)


def test_every_solution_passes_every_test(made: MiniApps) -> None:
    for problem in made.train + made.test:
        assert problem.examples is not None
        assert len(problem.solutions) >= 2
        for program in problem.solutions:
            assert outputs(program, problem.tests) == problem.tests.outputs, problem.id
            assert outputs(program, problem.examples) == problem.examples.outputs, problem.id


def test_stdin_solutions_print_the_outputs() -> None:
    for problem in mini_apps(60, 20, kind="stdin").train:
        for program in problem.solutions:
            assert outputs(program, problem.tests) == problem.tests.outputs


@pytest.mark.parametrize("kind", ["call", "stdin"])
def test_the_statement_shows_exactly_the_examples(kind: Any) -> None:
    for problem in mini_apps(200, 50, kind=kind).train:
        found = extract_examples(problem.question, kind, "f" if kind == "call" else "")
        assert found.tests == problem.examples
        assert found.confidence == "high"


def test_sizes_kinds_and_solved(made: MiniApps) -> None:
    assert (len(made.train), len(made.test)) == (1500, 300)
    assert {len(p.tests) for p in made.train + made.test} == {10}
    assert {len(p.examples or ()) for p in made.train} == {2}
    few = mini_apps(2500, 300, solved=300)
    assert sum(bool(p.solutions) for p in few.train) == 300
    assert len(few.train) == 2500
    assert all(p.solutions for p in few.test)
    assert len({p.id for p in few.train + few.test}) == 2800


def _sequence(problem: Problem) -> str:
    """The names of the operations."""
    return problem.id.split("/")[-1]


def test_splits_share_no_composition_and_no_behaviour(made: MiniApps) -> None:
    assert not set(map(_sequence, made.train)) & set(map(_sequence, made.test))
    assert {_sequence(p).count("+") for p in made.train} == {1, 2}
    assert not {p.question for p in made.train} & {p.question for p in made.test}
    tests = {p.id: p.tests for p in made.test}
    # A training program that behaves like a test problem's would pass its hidden tests.
    for problem in made.test[:40]:
        same_type = [p for p in made.train if _takes(p) == _takes(problem)]
        for other in same_type:
            assert not _passes(other.solutions[0], tests[problem.id]), (problem.id, other.id)


def _takes(problem: Problem) -> type:
    return type(problem.tests.inputs[0][0])


def _passes(program: str, tests: Tests) -> bool:
    space: dict[str, Any] = {}
    exec(program, space)
    try:
        return all(space["f"](*x) == y for x, y in zip(tests.inputs, tests.outputs, strict=True))
    except (ValueError, TypeError, IndexError):
        return False


def test_hidden_tests_tell_constants_identity_and_single_steps_apart(made: MiniApps) -> None:
    for problem in made.train + made.test:
        pairs = list(zip(problem.tests.inputs, problem.tests.outputs, strict=True))
        values = [repr(y) for _, y in pairs]
        assert max(map(values.count, values)) <= 4
        assert any(x[0] != y for x, y in pairs)
        for step in STEPS:
            assert not _all_equal(step, pairs), (problem.id, step.op.name)


def _all_equal(step: Any, pairs: list[Any]) -> bool:
    try:
        return all(step(x[0]) == y for x, y in pairs)
    except (ValueError, TypeError, AttributeError):
        return False


def test_examples_are_not_degenerate_and_not_among_the_hidden_tests(made: MiniApps) -> None:
    for problem in made.train:
        assert problem.examples is not None
        first, second = problem.examples.outputs
        assert first != second
        for arguments, value in zip(problem.examples.inputs, problem.examples.outputs, strict=True):
            assert value not in ([], "", 0)
            assert value != arguments[0]
            assert arguments not in problem.tests.inputs


def test_same_seed_same_problems_other_seed_others() -> None:
    assert mini_apps(30, 10, seed=3) == mini_apps(30, 10, seed=3)
    assert mini_apps(30, 10, seed=3) != mini_apps(30, 10, seed=4)


def test_each_operation_has_paraphrases_and_is_used(made: MiniApps) -> None:
    assert all(len(op.phrases) >= 2 for op in OPERATIONS)
    assert len({op.name for op in OPERATIONS}) == len(OPERATIONS) >= 24
    text = "\n".join(p.question.lower() for p in made.train)
    for step in STEPS:
        assert any(phrase.format(k=step.k) in text for phrase in step.op.phrases), step


def test_asking_for_too_many_says_how_many_there_are() -> None:
    with pytest.raises(UserError, match=r"no more than \d+ train and \d+ test"):
        mini_apps(6000, 300)
    with pytest.raises(UserError, match="'call' or 'stdin'"):
        mini_apps(3, 1, kind="assert")  # type: ignore[arg-type]


def test_completions_are_the_same_problems_with_bodies_for_solutions():
    asked = mini_apps(num_train=5, num_test=0).train
    completed = mini_apps(num_train=5, num_test=0, style="completion").train
    for question, completion in zip(asked, completed, strict=True):
        assert completion.question.startswith('def f(x):\n    """')
        assert completion.tests == question.tests
        for whole, body in zip(question.solutions, completion.solutions, strict=True):
            assert whole == "def f(x):\n" + body
            namespace: dict = {}
            exec(completion.program(body), namespace)
            assert namespace["f"](*question.tests.inputs[0]) == question.tests.outputs[0]
    with pytest.raises(UserError, match="completion"):
        mini_apps(kind="stdin", style="completion")
