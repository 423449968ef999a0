"""CodeRL's two trials run to their end, at the size of a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from zlib import crc32

import pytest

from pretrial.compare.engine import Placement, hold
from pretrial.compare.setting import Setting
from pretrial.compare.trial import Trial
from pretrial.methods.code.coderl.data import samples
from pretrial.methods.code.coderl.trials import trial
from pretrial.sandbox import Outcome, Verdict


def held(folder: Path, arms: tuple[str, ...], **options: Any) -> dict[str, Any]:
    setting = Setting(("coderl",), {"tiny": True, **options}, seeds=(0,), arms=arms)
    return hold(setting, Placement(folder, quiet=True))


@pytest.mark.usefixtures("in_this_process")
def test_the_course_is_tried_against_imitation(tmp_path, monkeypatch):
    def by_chance(problems, groups, runner, limits, *, visible):
        """Verdicts without a run: a tiny model writes nothing that passes."""
        outcomes = Outcome.PASSED_TEST, Outcome.FAILED_TEST
        return [[Verdict(outcomes[crc32(text.encode()) % 2]) for text in own] for own in groups]

    monkeypatch.setattr(samples, "judge", by_chance)
    arms = ("coderl", "cross-entropy", "warm", "nearest")
    record = held(tmp_path, arms)
    assert [arm["name"] for arm in record["arms"]] == list(arms)
    made: Trial = trial(tiny=True)
    assert made.claims[0][:2] == ("coderl", "cross-entropy")
    assert trial().budget.unit == "seconds"
    assert trial().counted == ()  # sampling and execution count


@pytest.mark.usefixtures("in_this_process")
def test_searches_write_as_many_programs(tmp_path):
    record = held(tmp_path, ("likelihood", "plain", "critic", "chance"), which="search")
    means = {arm["name"]: arm["metrics"] for arm in record["arms"]}
    assert all("1@32" in metrics for metrics in means.values())
    assert trial(tiny=True, which="search").name == "search"
