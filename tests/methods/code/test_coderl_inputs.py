"""What CodeRL makes of problems as they come: shared ids, names that LeetCode gives."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from pretrial.cli import main
from pretrial.data.builtin.miniapps import mini_apps
from pretrial.data.problems.layouts import write_problems
from pretrial.errors import UserError
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


def test_tests_that_need_a_package_say_so_and_run_with_it(tmp_path):
    test = "import numpy as np\n\ndef check(candidate):\n    assert np.isclose(candidate(1), 2)\n"
    row = {"task_id": "H/0", "entry_point": "inc", "prompt": "def inc(x):\n", "test": test}
    problems = CodeRL.read([{**row, "canonical_solution": "    return x + 1\n"}])
    with pytest.raises(UserError, match=r"\(1 needs numpy: --allow-packages numpy\): look at the"):
        experience(problems, tmp_path / "without")
    found = experience(problems, tmp_path / "with", allow_packages=("numpy",))
    assert found.problems == list(problems)


def test_eval_and_predict_take_a_level_of_isolation_and_packages(tmp_path, capsys):
    data, run, out = (str(tmp_path / name) for name in ("data.jsonl", "run", "out.json"))
    write_problems(data, PROBLEMS)
    words = ["--tiny", "--budget", "2steps", "--held-out-ratio", "0", "--out", run]
    assert main(["train", "coderl", "--data", data, *words]) == 0
    low = ["--data", data, "--num-samples", "1", "--isolation", "rlimits"]
    low += ["--allow-packages", "numpy"]
    assert main(["eval", run, "--task", "passk", "--k", "1", "--out", out, *low]) == 0
    notes = json.loads((tmp_path / "out.json").read_text())["notes"]
    assert (notes["isolation"], notes["pass@k over"]) == ("rlimits", "4 of 4")
    assert "pass@k over: 4 of 4" in capsys.readouterr().out
    assert main(["predict", run, "--out", out, *low]) == 0
    assert len((tmp_path / "out.json").read_text().splitlines()) == 4
    low[-1] = "no_such_package"
    assert main(["eval", run, "--task", "solve", "--k", "1", *low]) == 2
    assert "pip install no_such_package, or leave it out" in capsys.readouterr().err
