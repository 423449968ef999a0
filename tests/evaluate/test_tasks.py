"""Tasks find abilities; the passk task counts what the sandbox says."""

import pytest

from pretrial.data.problems.problem import Problem
from pretrial.errors import UserError
from pretrial.evaluate.intervals import Interval
from pretrial.evaluate.tasks import TASKS, evaluate, find_task, tasks_for
from pretrial.sandbox.tests import Tests

RIGHT = "def f(x):\n    return x + 1\n"
ONLY_ON_ONE = "def f(x):\n    return 2\n"
WRONG = "def f(x):\n    return 0\n"
RAISES = "def f(x):\n    return 1 / 0\n"
BROKEN = "def f(x) return"


def call(*pairs):
    return Tests("call", "f", tuple([x] for x, _ in pairs), tuple(y for _, y in pairs))


PROBLEMS = [
    Problem("shown", "add one", call((1, 2), (5, 6)), examples=call((1, 2))),
    Problem("hidden", "add one", call((3, 4))),
]


class Writer:
    """Writes the programs that it is told to, and remembers how it was asked."""

    def __init__(self, *groups):
        self.groups = groups
        self.calls = []

    def generate_programs(self, problems, num_samples, **options):
        self.calls.append((len(problems), num_samples, options))
        return [self.groups[PROBLEMS.index(problem)][:num_samples] for problem in problems]


def test_passk_counts_programs_and_filters_by_the_shown_tests():
    writer = Writer([RIGHT, ONLY_ON_ONE, WRONG, RAISES], [RIGHT, BROKEN, WRONG, RIGHT])
    result = evaluate("passk", writer, PROBLEMS, num_samples=4, k=(1, 2), n=(1, 2))
    assert result.items["pass@1"] == [0.25, 0.5]
    assert result.items["pass@2"] == [pytest.approx(0.5), pytest.approx(5 / 6)]
    # The first problem keeps RIGHT and ONLY_ON_ONE; the second shows no tests and keeps all four.
    assert result.items["1@4"] == [0.5, 0.5]
    assert result.items["2@4"] == [1.0, pytest.approx(5 / 6)]
    assert result.metrics["pass@1"].value == pytest.approx(0.375)
    assert result.metrics["pass@1"].low == 0.25
    outcomes = result.notes["outcomes"]
    assert outcomes == {
        "COMPILE_ERROR": 1 / 8,
        "FAILED_TEST": 3 / 8,
        "PASSED_TEST": 3 / 8,
        "RUNTIME_ERROR": 1 / 8,
    }
    assert result.to_dict()["metrics"]["pass@1"]["value"] == pytest.approx(0.375)


def test_passk_greedy_asks_for_one_program():
    writer = Writer([RIGHT], [WRONG])
    result = evaluate("passk", writer, PROBLEMS, greedy=True, problems_at_once=1)
    assert [call[:2] for call in writer.calls] == [(1, 1), (1, 1)]
    assert all(call[2]["greedy"] for call in writer.calls)
    assert result.metrics["pass@1"] == Interval(0.5, 0.0, 1.0)


def test_passk_refuses_an_impossible_k_before_it_samples():
    writer = Writer([], [])
    with pytest.raises(UserError, match="pass@5 needs at least 5"):
        evaluate("passk", writer, PROBLEMS, num_samples=4, k=(1, 5))
    assert not writer.calls


def test_a_missing_ability_names_the_tasks_that_can_be_done():
    assert tasks_for(Writer()) == ["passk"]
    with pytest.raises(
        UserError, match="'encode', which Writer has not; tasks that it can do: passk"
    ):
        evaluate("retrieval", Writer(), [])
    with pytest.raises(UserError, match="none"):
        evaluate("passk", object(), PROBLEMS)


def test_unknown_tasks_and_options_name_the_nearest():
    with pytest.raises(UserError, match="passk"):
        find_task("pass")
    with pytest.raises(UserError, match="num_samples"):
        evaluate("passk", Writer(), PROBLEMS, num_sample=3)


@pytest.mark.parametrize("task", TASKS.values(), ids=str)
def test_every_task_has_its_function(task):
    assert task.function.__doc__
    assert f"`{task.ability}(" in task.function.__doc__
