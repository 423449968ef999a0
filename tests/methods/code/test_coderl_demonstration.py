"""CodeRL's demonstration: its page, its live line, and the warm start that it begins with."""

from __future__ import annotations

import io
import json
import re
import shutil
from dataclasses import replace
from html import unescape

import pytest
import torch
from rich.console import Console

from pretrial.data.builtin.miniapps import mini_apps
from pretrial.errors import UserError
from pretrial.evaluate.result import Result
from pretrial.methods.code.coderl import CodeRL
from pretrial.methods.code.coderl.network.model import ProgramModel
from pretrial.methods.code.coderl.trials import packaged, trial
from pretrial.methods.code.coderl.trials.demonstration import Measured, headline_of
from pretrial.methods.code.coderl.trials.live import LiveLine, line_of
from pretrial.methods.code.coderl.trials.nearest import NearestReference
from pretrial.methods.code.coderl.trials.page import page_of
from pretrial.methods.code.coderl.trials.trial import TESTS_ONLY
from pretrial.sandbox import Outcome, Verdict
from pretrial.train.loop import train
from pretrial.train.run import Run
from pretrial.train.seeds import seed_everything

SHARES = {"COMPILE_ERROR": 0.1, "RUNTIME_ERROR": 0.0, "FAILED_TEST": 0.6, "PASSED_TEST": 0.3}
SAMPLING = {"programs": 3400, "seconds": 20.0, "share_passed": 0.25}
ROWS = [
    SAMPLING | {"solved_by_tests": 400, "with_tests_only": 1700},
    {"step": 10, "loss": 1.0},
    {"step": 75, "loss": 0.9},
    SAMPLING | {"solved_by_tests": 850, "with_tests_only": 1700},
    {"step": 80, "loss": 0.8},
]


def measured(level: float, tests_only: float) -> Measured:
    items = [level, level / 2, 1.0, 0.0] * 10
    unseen = Result.of_items(dict.fromkeys(("pass@1", "pass@5"), items), {"outcomes": SHARES})
    return Measured(unseen, Result.of_items({TESTS_ONLY: [tests_only] * 10}, {}))


def test_the_page_tells_differences_and_shows_programs(tmp_path):
    problems = mini_apps(num_train=2, num_test=0).train
    verdicts = [Verdict(Outcome.FAILED_TEST), Verdict(Outcome.PASSED_TEST)]
    programs = ["def f(x):\n    return x", "def f(x):\n    return x[::-1]"]
    pairs = [(problems[0], list(zip(programs, verdicts, strict=True)))]
    found = {"warm": measured(0.2, 0.42), "cross-entropy": measured(0.9, 0.48)}
    found["coderl"] = measured(0.4, 0.82)
    headline = headline_of(found)
    assert "from 42 to 82 % on problems with tests only (more imitation: 48 %)" in headline
    assert "from 32 to 40 % on unseen problems (more imitation: 59 %)" in headline
    labels = {arm.name: arm.label for arm in trial().arms}
    page = page_of(headline, found, labels, ROWS, pairs, "two problems", 240.0)
    text = page.write(tmp_path / "report.html").read_text()
    assert "pass@1, against warm start: CodeRL is better" in text
    assert "pass@1, against more imitation: CodeRL is <strong>worse</strong>" in text
    assert "6,800 programs were written and run, in 2 samplings" in text
    plain = unescape(re.sub(r"<[^>]+>", "", text))
    assert "return x[::-1]" in plain
    assert "http" not in text.split("<body")[1].replace("http://www.w3.org", "")
    assert "4.0 minutes" in text


def test_the_live_line_tells_what_was_written_and_solved(tmp_path):
    assert line_of([], 3.0) == "   3 s · writing the first programs"
    assert line_of(ROWS, 61.0) == (
        "  61 s · 6,800 programs written and run (170 a second) · 25 % of the last ones pass"
        " · 850 of 1,700 problems with tests only are solved · step 80"
    ).replace("25 %", "25%")
    console = Console(file=io.StringIO(), width=200)
    log = tmp_path / "metrics.jsonl"
    with LiveLine(console, log):
        log.write_text("".join(json.dumps(row) + "\n" for row in ROWS) + '{"step": 9')
    lines = console.file.getvalue().splitlines()
    assert [("400 of" in line, "850 of" in line) for line in lines] == [
        (True, False),
        (False, True),
    ]


def test_the_arms_differ_in_what_they_claim_to():
    arms = {arm.name: arm for arm in trial().arms}
    ours, published = arms["coderl"].config, arms["published"].config
    assert arms["rejection"].config == replace(ours, objective="rejection")
    assert arms["cross-entropy"].config == replace(ours, objective="cross-entropy")
    assert (ours.explore, ours.replay, ours.token_weights) == ("unsolved", True, "prefixes")
    assert (published.explore, published.replay, published.token_weights) == (
        "all",
        False,
        "critic",
    )
    assert (published.resample_every, published.returns) == (0, "relative")
    sampled = published.sample_problems * (published.num_samples + 1)  # with the greedy one
    assert sampled == pytest.approx(7.5 * ours.round_programs, rel=0.02)
    assert not arms["warm"].trains
    ablations = {n: a.config for n, a in arms.items() if a.role == "ablation"}
    assert len(set(map(repr, ablations.values()))) == len(ablations) == 14


def test_the_nearest_reference_answers_a_problem_it_knows():
    problems = mini_apps(num_train=20, num_test=0, solved=15).train
    answers = NearestReference(problems).generate_programs(problems, 2)
    assert answers[:15] == [[p.program(p.solutions[0])] * 2 for p in problems[:15]]


# The warm start of the package


def test_the_packaged_warm_start_is_made_from_todays_recipe():
    kept = json.loads((packaged.FOLDER / packaged.ORIGIN).read_text())
    assert {k: v for k, v in kept.items() if k != "losses"} == packaged.origin()
    size = sum(path.stat().st_size for path in packaged.FOLDER.rglob("*") if path.is_file())
    assert size < 2e6


def test_a_rebuilt_warm_start_begins_with_the_losses_of_the_packaged_one(tmp_path, monkeypatch):
    rows, config = packaged.recipe()
    problems = CodeRL.read(rows)
    seed_everything(0)
    method, real, calls = CodeRL.build(config, data=problems), ProgramModel.losses, []

    def losses(self, batch, vectors=None):
        calls.append(1)
        if len(calls) > 10 * packaged.FIRST_LOSSES:
            raise KeyboardInterrupt
        return real(self, batch, vectors)

    monkeypatch.setattr(ProgramModel, "losses", losses)
    run = Run(tmp_path / "run", problems, quiet=True)
    with pytest.raises(KeyboardInterrupt):
        train(method, run)
    run.close()
    kept = json.loads((packaged.FOLDER / packaged.ORIGIN).read_text())
    assert packaged.first_losses(run.folder) == pytest.approx(kept["losses"], abs=1e-2)


def test_the_packaged_warm_start_writes_programs_that_pass():
    rows, config = packaged.recipe()
    model = CodeRL.build(config, source=packaged.FOLDER)
    problems = CodeRL.read(rows[:40])
    programs = model.generate_programs(
        problems, 1, greedy=True, generator=torch.Generator().manual_seed(0)
    )
    with model.runner() as runner:
        verdicts = runner.run(
            [(own[0], p.tests) for own, p in zip(programs, problems, strict=True)]
        )
    assert sum(verdict.passed for verdict in verdicts) >= 36  # it was taught these


def test_a_warm_start_of_ones_own_is_taken_and_a_missing_one_told(tmp_path):
    shutil.copytree(packaged.FOLDER, tmp_path / "own")
    prepare = trial(warm_start=str(tmp_path / "own")).prepare
    assert prepare(0, tmp_path / "prepared").by_purpose == {}
    assert (tmp_path / "prepared" / "actor" / "config.json").exists()
    with pytest.raises(UserError, match="is no folder"):
        trial(warm_start=str(tmp_path / "none")).prepare(0, tmp_path / "other")
