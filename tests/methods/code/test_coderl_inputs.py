"""What CodeRL makes of problems as they come: shared ids, names that LeetCode gives."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from pretrial.data.builtin.miniapps import mini_apps
from pretrial.methods.code.coderl import CodeRL
from pretrial.methods.code.coderl.config import Config
from pretrial.methods.code.coderl.stages.experience import Experience
from pretrial.train.run import Run

PROBLEMS = mini_apps(num_train=4, num_test=0).train


def experience(problems, tmp_path, **changes):
    method = CodeRL.build(replace(Config.tiny(), **changes), data=problems)
    return Experience(method, Run(tmp_path / "run", data=problems, quiet=True))


def test_problems_with_one_id_are_all_learned_from(tmp_path):
    same = [replace(problem, id="0") for problem in PROBLEMS]
    with pytest.warns(UserWarning, match="3 of 4 problems have an id that is taken"):
        found = experience(same, tmp_path)
    actor = found.method.actor
    pairs = [
        (actor.problem_ids(problem), actor.program_ids(solution))
        for problem in PROBLEMS
        for solution in problem.solutions
    ]
    assert sorted(found.pairs) == sorted(pairs)
    assert len({tuple(source) for source, _ in found.pairs}) == len(PROBLEMS)


def test_solutions_in_the_style_of_leetcode_pass_their_tests(tmp_path):
    head = "class Solution:\n    def total(self, nums: List[int]) -> int:\n        "
    record = {"inputs": [[[1, 2]]], "outputs": [[3]], "fn_name": "total"}
    row = {"question": "Sum.", "starter_code": head, "input_output": json.dumps(record)}
    problems = CodeRL.read([{**row, "solutions": json.dumps([head + "return sum(nums)"])}])
    found = experience(problems, tmp_path)
    assert found.problems == list(problems)
    assert len(found.pairs) == 1
