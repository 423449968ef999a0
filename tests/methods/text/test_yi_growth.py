"""Yi's trials of deepening and lengthening, at a size for tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from pretrial import discover
from pretrial.compare.trial import Arm, Context, Data, Trial
from pretrial.methods.text.yi import Yi, trial
from pretrial.models.context import context_values
from pretrial.models.depth import layers_of
from pretrial.train.loop import train
from pretrial.train.run import Run


def done(made: Trial, arm: Arm, data: Data, prepared: Path, folder: Path) -> Yi:
    """What an arm gives."""
    run = Run(folder, data.train, budget=made.budget, quiet=True)
    if arm.run is not None:
        return arm.run(Context(run, data, prepared))
    method: Any = discover.load(arm.method).method
    run.data = method.read(run.data)
    subject = method.build(arm.config, source=prepared, data=run.data)
    if arm.trains:
        train(subject, run)
    return subject.eval()


@pytest.fixture(scope="module", params=["deepen", "lengthen"])
def outcome(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A trial, what its arms gave, and the spending of those that train."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp(request.param)
    made = trial(which=request.param, tiny=True)
    data = made.data()
    prepared = folder / "prepared"
    prepared.mkdir()
    assert made.prepare is not None
    made.prepare(0, prepared)
    subjects = {arm.name: done(made, arm, data, prepared, folder / arm.name) for arm in made.arms}
    return request.param, made, data, subjects


def test_every_arm_is_measured(outcome: Any) -> None:
    _, made, data, subjects = outcome
    for name, subject in subjects.items():
        found = made.measure(subject, data, 0)
        assert made.metric in found, name
        assert all(value > 0 for value in found[made.metric])


def test_arms_differ_in_what_they_say(outcome: Any) -> None:
    which, _, _, subjects = outcome
    networks = {name: subject.language_model.network for name, subject in subjects.items()}
    if which == "deepen":
        layers = {name: len(layers_of(network)) for name, network in networks.items()}
        assert layers == {"yi": 4, "in-place": 3, "original": 3, "untrained": 4, "unlike": 4}
        # the copies alone were trained
        before = dict(networks["untrained"].named_parameters())
        changed = {
            name.split(".")[2]
            for name, weight in networks["yi"].named_parameters()
            if not torch.equal(weight, before[name])
        }
        assert len(changed) == 1
        # the unlikest block is another one
        one, other = (networks[name].state_dict() for name in ("untrained", "unlike"))
        assert any(not torch.equal(one[key], other[key]) for key in one)
    else:
        bases = {name: context_values(network)["rope_theta"] for name, network in networks.items()}
        assert bases["yi"] == bases["untrained"] > bases["same-base"] == bases["original"]
        lengths = {context_values(n)["max_position_embeddings"] for n in networks.values()}
        assert lengths == {96}


def test_a_checkpoint_can_be_named_for_deepening() -> None:
    made = trial(which="deepen", model="smollm2")
    assert made.prepare is None
    assert made.arm("yi").source == "smollm2"
    assert made.arm("yi").config.copy_layers == 10
    assert made.arm("untrained").run.source == "smollm2"  # type: ignore[union-attr]
