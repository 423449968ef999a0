"""Trials with another start, size or rate, and records that tell it."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from pretrial.cli.holding import stale
from pretrial.compare import record as records
from pretrial.compare.engine import Placement, hold
from pretrial.compare.making import make_one
from pretrial.compare.setting import Setting, check_init
from pretrial.compare.started import Start
from pretrial.errors import UserError

TOYS = Path(__file__).parent / "toy_methods"


@pytest.fixture
def _toy_methods(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PRETRIAL_METHODS", str(TOYS))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def checkpoint(tmp_path) -> str:
    folder = tmp_path / "My Start"
    folder.mkdir()
    (folder / "b.txt").write_text("0.25")
    return str(folder)


def test_setting_with_a_start_survives_json() -> None:
    plain = Setting(("line",), {"steps": 5})
    given = dataclasses.replace(plain, start=Start("a/MiniLM L6", "tiny", 0.01), labels="probe")
    assert Setting.from_json(json.loads(json.dumps(given.to_json()))) == given
    assert not {"init", "preset", "lr", "labels"} & plain.to_json().keys()
    assert given.marks == ("labels-probe", "from-minilm-l6", "tiny", "lr-0.01")
    assert plain.marks == ()


def test_unknown_presets_and_rates_are_refused() -> None:
    with pytest.raises(UserError, match="tiny, small, base, not 'huge'"):
        Start(preset="huge")
    with pytest.raises(UserError, match="above 0"):
        Start(lr=-1)


@pytest.mark.usefixtures("_toy_methods")
def test_all_arms_start_from_the_checkpoint_which_must_be_beaten(checkpoint) -> None:
    trial = Start(init=checkpoint).of(make_one("line", {"warm": True}))
    assert trial.prepare is None
    sources = {arm.name: arm.source for arm in trial.arms}
    assert sources == {
        "line": checkpoint, "flat": checkpoint, "raw": None, "half": checkpoint, "init": checkpoint,
    }  # fmt: skip
    assert trial.gate.trivial == ("init",)
    assert not trial.arm("init").trains


@pytest.mark.usefixtures("_toy_methods")
def test_an_arm_that_cannot_start_from_it_is_named_before_anything_runs(tmp_path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    setting = Setting(("line",), {}, start=Start(init=str(empty)))
    with pytest.raises(UserError, match=r"^line cannot start from .*b\.txt"):
        check_init(setting)


def test_an_arm_that_makes_its_own_start_is_refused() -> None:
    with pytest.raises(UserError, match="makes its own start"):
        Start(init="anything").of(make_one("never_from_scratch", {}))


@pytest.mark.usefixtures("_toy_methods", "in_this_process")
def test_a_fixed_rate_is_in_the_record_which_is_not_the_default_one(tmp_path) -> None:
    given = Setting(("line",), {"steps": 6, "tune": True}, (0, 1, 2, 3, 4), start=Start(lr=0.01))
    record = hold(given, Placement(tmp_path / "runs", quiet=True))
    assert record["slug"] == "line-lr-0.01"
    assert record["title"].endswith("lr-0.01")
    assert record["setting"]["lr"] == 0.01
    assert record["tuning"] is None
    assert {arm["config"]["lr"] for arm in record["arms"] if arm["config"]} == {0.01}
    again = hold(Setting.from_json(record["setting"]), Placement(tmp_path / "again", quiet=True))
    assert records.timeless(again) == records.timeless(record)
    records.write(record, tmp_path / "results")
    kept = dict(stale(tmp_path / "results"))
    assert kept["line"].start == Start()  # what is fixed is no answer to the default trial
    if "line-lr-0.01" in kept:
        assert kept["line-lr-0.01"].start == Start(lr=0.01)


@pytest.mark.usefixtures("_toy_methods")
def test_every_start_has_jobs_of_its_own(checkpoint) -> None:
    def digest(start: Start) -> str:
        setting = Setting(("line",), {}, start=start)
        trial = setting.make()
        return setting.digest(trial, trial.arm("line"), 0)

    first = digest(Start(init=checkpoint))
    assert len({digest(Start()), digest(Start(lr=0.01)), first}) == 3
    (Path(checkpoint) / "b.txt").write_text("0.5 ")
    assert digest(Start(init=checkpoint)) != first


def test_a_preset_sizes_all_arms_and_leaves_ablations_what_they_are() -> None:
    trial = Start(preset="tiny").of(make_one("electra", {}))
    configs = {arm.name: arm.config for arm in trial.arms if arm.config is not None}
    assert {config.width for config in configs.values()} == {32}
    assert configs["masked"] == dataclasses.replace(configs["electra"], loss_on="masked")
    assert trial.arm("neighbours").run.config == configs["mlm"]  # the floor has the same tokens
    assert trial.tuning.values[1] == configs["mlm"].lr


@pytest.mark.usefixtures("_toy_methods")
def test_a_preset_that_a_method_lacks_is_one_sentence() -> None:
    with pytest.raises(UserError, match="line has no preset 'small': it has base"):
        Start(preset="small").of(make_one("line", {}))


@pytest.mark.usefixtures("_toy_methods")
def test_a_packaged_checkpoint_is_kept_by_its_name(checkpoint, monkeypatch) -> None:
    for module in ("started", "setting"):
        monkeypatch.setattr(f"pretrial.compare.{module}.place_of", lambda name: checkpoint)
    setting = Setting(("line",), {}, start=Start(init="minilm"))
    trial = setting.make()
    assert trial.arm("line").source == checkpoint
    assert trial.arm("init").label == "minilm as it is"
    assert setting.to_json()["init"] == "minilm"
    assert setting.marks == ("from-minilm",)
    check_init(setting)
