"""Yi's trials of deepening and lengthening, at a size for tests."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch

from pretrial import discover
from pretrial.compare.trial import Arm, Context, Data, Trial
from pretrial.methods.text.yi import Yi
from pretrial.methods.text.yi.network.context import context_values
from pretrial.methods.text.yi.network.depth import layers_of
from pretrial.methods.text.yi.trials import trial
from pretrial.methods.text.yi.trials.growth import _texts
from pretrial.train.loop import train
from pretrial.train.run import Run


def done(made: Trial, arm: Arm, data: Data, prepared: Path, folder: Path) -> Yi:
    """What an arm gives."""
    run = Run(folder, data.train, budget=made.budget, quiet=True)
    if arm.run is not None:
        return arm.run(Context(run, data, prepared))
    method: Any = discover.load(arm.method).method
    run = run.over(method.read(run.data))
    subject = method.build(arm.config, source=prepared, data=run.data)
    if arm.trains:
        train(subject, run)
    return subject.eval()


@pytest.fixture(scope="module", params=["deepen", "lengthen"])
def outcome(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A trial, what its arms gave, and the spending of those that train."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp(request.param)
    made = trial(which=request.param, tiny=True, blocks=(0, 2))
    assert made.name == request.param
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
        if made.name == "deepen":
            assert ("block_cosine" in found) == (name != "original")
        else:
            assert {"near_bits", "bits_to_96", "needle_accuracy", "needle_96_at_0.5"} <= set(found)


def test_arms_differ_in_what_they_say(outcome: Any) -> None:
    which, _, _, subjects = outcome
    networks = {name: subject.language_model.network for name, subject in subjects.items()}
    if which == "deepen":
        layers = {name: len(layers_of(network)) for name, network in networks.items()}
        same = {name: 3 if name in ("in-place", "original") else 4 for name in layers}
        assert layers == same
        assert {"yi", "untrained", "unlike", "random", "from-0", "from-2"} < set(layers)
        # the copies alone were trained
        before = dict(networks["untrained"].named_parameters())
        changed = {
            name.split(".")[2]
            for name, weight in networks["yi"].named_parameters()
            if not torch.equal(weight, before[name])
        }
        assert len(changed) == 1
        # the unlikest block is another one, and its cosine is lower
        one, other = (networks[name].state_dict() for name in ("untrained", "unlike"))
        assert any(not torch.equal(one[key], other[key]) for key in one)
        likest, unlikest = subjects["untrained"].cosine, subjects["unlike"].cosine
        assert likest == subjects["yi"].cosine > unlikest
        for first in (0, 2):  # a copy stands behind its layer
            state = networks[f"from-{first}"].state_dict()
            key = "model.layers.{}.mlp.up_proj.weight"
            assert torch.equal(state[key.format(first)], state[key.format(first + 1)])
    else:
        bases = {name: context_values(network)["rope_theta"] for name, network in networks.items()}
        assert bases["yi"] == bases["untrained"] > bases["same-base"] == bases["original"]
        lengths = {context_values(n)["max_position_embeddings"] for n in networks.values()}
        assert lengths == {96}


def test_places_are_told_apart_in_long_windows(outcome: Any) -> None:
    which, made, data, subjects = outcome
    if which != "lengthen":
        return
    found = made.measure(subjects["yi"], data, 0)
    # the mean over all places is the mean of both parts, weighed by their places
    network, end = subjects["yi"].language_model.network, subjects["yi"].language_model.end
    text = next(t for t in data.test if len(subjects["yi"].tokenizer(t)["input_ids"]) >= 96)
    ids = torch.tensor([[end, *subjects["yi"].tokenizer(text)["input_ids"][:96]]])
    with torch.no_grad():
        loss = float(network(input_ids=ids, labels=ids).loss) / math.log(2)
    both = (found["near_bits"][0] * 16 + found["far_bits"][0] * 80) / 96
    assert both == pytest.approx(loss, rel=1e-4)


def test_rows_of_a_module_are_one_text() -> None:
    rows = [{"code": c, "module": m} for c, m in (("a", "x"), ("b", "y"), ("c", "x"))]
    assert _texts(rows, whole=True) == ["a\n\nc", "b"]
    assert _texts(rows, whole=False) == ["a", "b", "c"]
    assert _texts([{"text": "a"}, {"text": "b"}], whole=True) == ["a", "b"]


def test_a_checkpoint_can_be_named_for_deepening() -> None:
    made = trial(which="deepen", model="smollm2")
    assert made.prepare is None
    assert made.arm("yi").source == "smollm2"
    assert made.arm("yi").config.copy_layers == 10
    assert made.arm("untrained").run.source == "smollm2"  # type: ignore[union-attr]
