"""The page of CodeRL's demonstration, from results that are given."""

from __future__ import annotations

import re
from html import unescape

from pretrial.compare.trial import Data
from pretrial.data.builtin.miniapps import mini_apps
from pretrial.evaluate.result import Result
from pretrial.methods.code.coderl.trials import demonstration, trial
from pretrial.sandbox import Outcome, Verdict

SHARES = {"COMPILE_ERROR": 0.1, "RUNTIME_ERROR": 0.0, "FAILED_TEST": 0.6, "PASSED_TEST": 0.3}


def result(level: float) -> Result:
    items = [level, level / 2, 1.0, 0.0] * 10
    names = ("pass@1", "pass@5", "1@32", "5@32")
    return Result.of_items(dict.fromkeys(names, items), {"outcomes": SHARES})


def test_the_page_tells_differences_and_shows_programs(tmp_path):
    problems = mini_apps(num_train=2, num_test=0).train
    verdicts = [Verdict(Outcome.FAILED_TEST), Verdict(Outcome.PASSED_TEST)]
    programs = ["def f(x):\n    return x", "def f(x):\n    return x[::-1]"]
    pairs = [(problems[0], list(zip(programs, verdicts, strict=True)))]
    measured = {"warm": result(0.2), "cross-entropy": result(0.2)}
    measured |= {"rejection": result(0.9), "coderl": result(0.4)}
    labels = {arm.name: arm.label for arm in trial().arms}
    searches = {"plain sampling": result(0.2), "critic sampling": result(0.3)}
    data = Data(train=(), test=problems, name="two problems")
    page = demonstration._page(measured, searches, labels, pairs, data, 400.0)
    text = page.write(tmp_path / "report.html").read_text()
    assert "pass@1, against more cross-entropy: CodeRL is better" in text
    assert "pass@1, against rejection fine-tuning: CodeRL is <strong>worse</strong>" in text
    plain = unescape(re.sub(r"<[^>]+>", "", text))
    assert "return x[::-1]" in plain
    assert "http" not in text.split("<body")[1].replace("http://www.w3.org", "")
    assert "6.7 minutes" in text


def test_the_arms_differ_in_what_they_claim_to():
    arms = {arm.name: arm for arm in trial(steps=8).arms}
    assert arms["rejection"].config.objective == "rejection"
    assert {a.config.rl_steps for n, a in arms.items() if n != "warm"} == {8}
    assert not arms["warm"].trains
    assert [n for n, a in arms.items() if a.role == "ablation"] == [
        "absolute",
        "ones",
        "linear",
        "rl-only",
    ]
