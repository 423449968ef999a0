"""No score for problems that cannot run: the self-test before pass@k, and what it says."""

from __future__ import annotations

import pytest

from pretrial.data.problems.problem import Problem
from pretrial.data.reading.problems import read_problems
from pretrial.errors import UserError
from pretrial.evaluate.passk import score_programs
from pretrial.evaluate.search import measure_search
from pretrial.evaluate.self_test import SelfTest, self_test
from pretrial.evaluate.tasks import evaluate
from pretrial.sandbox import Limits, Runner
from pretrial.sandbox.tests import Tests

HEAD = "import numpy as np\n\n\ndef check(candidate):\n"
CLOSE = HEAD + "    assert np.allclose(candidate(1), 2)\n    assert candidate(2) == 3\n"
PLAIN = HEAD + "    assert candidate(1) == 2\n"
SYMPY = (
    "def check(candidate):\n    import no_such_package.parts\n    no_such_package.x(candidate)\n"
)
ADD = "    return x + 1\n"


def problem(name, test, *solutions):
    row = {"task_id": name, "entry_point": "inc", "prompt": "def inc(x):\n", "test": test}
    [made] = read_problems([row | {"canonical_solution": solutions[0] if solutions else ""}])
    return Problem(**{**vars(made), "solutions": solutions})


PROBLEMS = [
    problem("plain", PLAIN, ADD),
    problem("close", CLOSE, ADD),
    problem("other", SYMPY, ADD),
    problem("wrong", PLAIN, "    return x\n"),
    problem("slow", PLAIN, "    while True: pass\n"),
    problem("second", PLAIN, "    return x\n", "    return 1 / 0\n", ADD),
    problem("bare", PLAIN),
    problem("bare close", CLOSE),
    Problem("none", "def inc(x):\n", Tests("call", "inc"), solutions=(ADD,), style="completion"),
]
LIMITS = Limits(seconds=1.0)


def test_what_can_be_scored_and_why_the_rest_cannot():
    with Runner(workers=1) as runner:
        found = self_test(PROBLEMS, runner, LIMITS)
    assert [p.id for p in found.of(PROBLEMS)] == ["plain", "second", "bare"]
    assert found.needs == {"numpy": 2, "no_such_package": 1}
    assert found.faults == {"wrong_answer": 1, "timeout": 1}
    assert (found.num_untested, found.num_without) == (1, 1)
    assert str(found) == (
        "3 of 9; 2 need numpy: --allow-packages numpy; 1 needs no_such_package: pip install"
        " no_such_package, and --allow-packages no_such_package; the reference solutions of 2 fail"
        " their tests: wrong_answer 1, timeout 1; 1 without tests"
    )
    assert str(SelfTest(4, (0, 1, 2, 3))) == "4 of 4"


def test_packages_that_are_allowed_let_problems_run():
    with Runner(workers=1, packages=("numpy",)) as runner:
        found = self_test(PROBLEMS, runner, LIMITS)
    assert {p.id for p in found.of(PROBLEMS)} == {"plain", "close", "second", "bare", "bare close"}
    assert found.needs == {"no_such_package": 1}


def test_nothing_is_scored_where_nothing_runs():
    with pytest.raises(UserError, match=r"of 1 problems none .* 1 needs numpy: --allow-packages"):
        score_programs([PROBLEMS[1]], [["x"]], {}, k=(1,), n=())
    with pytest.raises(UserError, match="of 1 problems none can be scored: 1 without tests"):
        score_programs([PROBLEMS[-1]], [["x"]], {}, k=(1,), n=())


def test_the_score_is_over_what_runs_and_says_so():
    programs = [[f"def inc(x):\n{ADD}", "def inc(x):\n    return 0\n"]] * len(PROBLEMS)
    result = score_programs(PROBLEMS, programs, {}, k=(1,), n=(1,), seconds=1.0)
    assert result.items["pass@1"] == [0.5] * 3
    assert result.notes["num_problems"] == 3
    assert result.notes["num_without_references"] == 1
    assert result.notes["num_sharing_process"] == 0
    assert result.notes["pass@k over"].startswith("3 of 9; 2 need numpy: --allow-packages numpy;")
    result = score_programs(
        PROBLEMS, programs, {}, k=(1,), n=(), seconds=1.0, allow_packages=("numpy",)
    )
    assert result.items["pass@1"] == [0.5] * 5
    assert result.notes["num_sharing_process"] == 2


class Writer:
    """Writes right programs, and remembers for which problems."""

    asked = ()

    def generate_programs(self, problems, num_samples, **options):
        self.asked = [p.id for p in problems]
        return [[f"def inc(x):\n{ADD}"] * num_samples] * len(problems)

    def solve(self, problems, *, num_samples, isolation, allow_packages, **options):
        self.asked = [p.id for p in problems]
        self.options = isolation, allow_packages
        for p in problems:
            candidates = [{"program": f"def inc(x):\n{ADD}", "kind": "plain"}] * (2 * num_samples)
            yield {"id": p.id, "candidates": candidates}


@pytest.mark.parametrize("task", ["passk", "solve"])
def test_nothing_is_written_for_problems_that_cannot_run(task):
    writer = Writer()
    few = PROBLEMS[:3]
    options = {"num_samples": 2, "k": (1,), "seconds": 1.0, "isolation": "rlimits"}
    result = evaluate(task, writer, few, **options)
    assert writer.asked == ["plain"]
    assert result.items["pass@1"] == [1.0]
    assert result.notes["isolation"] == "rlimits"
    result = evaluate(task, writer, few, allow_packages=("numpy",), **options)
    assert writer.asked == ["plain", "close"]
    assert result.items["pass@1"] == [1.0, 1.0]
    if task == "solve":
        assert writer.options == ("rlimits", ("numpy",))


def test_a_search_of_nothing_is_refused_before_it_begins():
    writer = Writer()
    with pytest.raises(UserError, match="of 1 problems none"):
        measure_search(writer, [PROBLEMS[1]], num_samples=1, k=(1,))
    assert writer.asked == ()
