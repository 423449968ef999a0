"""What docs/rewards.md shows can be run as it stands."""

from __future__ import annotations

import re
import types
from pathlib import Path

import pytest

from pretrial.cli import COMMANDS
from pretrial.data.problems.audit.findings import CHECKS
from pretrial.data.problems.layouts import write_problems
from pretrial.data.problems.problem import Problem
from pretrial.rewards import CodeReward
from pretrial.sandbox.tests import Tests

TEXT = (Path(__file__).parents[2] / "docs" / "rewards.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)\n```", TEXT, flags=re.DOTALL)
PROBLEM = Problem("1", "Add.", Tests("call", "add", ([1, 2],), (3,)))


@pytest.mark.parametrize("place", range(len(BLOCKS)))
def test_a_block_of_python_runs(place, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_problems(Path("problems.jsonl"), [PROBLEM])
    trained = []
    trl = types.ModuleType("trl")
    trl.GRPOConfig = dict
    trl.GRPOTrainer = lambda **given: types.SimpleNamespace(train=lambda: trained.append(given))
    monkeypatch.setitem(__import__("sys").modules, "trl", trl)
    space = {}
    exec(BLOCKS[place], space)
    if "GRPOTrainer" in BLOCKS[place]:
        [given] = trained
        data = given["train_dataset"]
        add = "def add(a, b):\n    return a + b\n"
        assert given["reward_funcs"](completions=[add], tests=data["tests"]) == [1.0]
    for each in space.values():
        owner = getattr(each, "__self__", each)
        if isinstance(owner, CodeReward):
            owner.close()


def test_commands_and_checks_are_those_that_there_are():
    commands = re.findall(r"^pretrial ([\w-]+)", TEXT, flags=re.MULTILINE)
    assert {*commands} == {"audit", "serve-rewards"} <= {*COMMANDS}
    section = TEXT.split("## Are the problems fit?")[1]
    assert {*CHECKS} == {*re.findall(r"`([a-z_]+)`", section)}
