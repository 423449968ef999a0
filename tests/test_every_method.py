"""The contract that every method keeps, whatever it is.

A method is found by its folder and takes part without a line here. What it gives for it:

- `Config.tiny()`: a configuration that trains in a second, without dropout;
- `sample_rows()`: a handful of raw rows, as `Method.read` takes them;
- `Config.published`: for each name that `Config.paper` knows, the published number of parameters of
  what `export` gives; `build` must then make the networks without data or checkpoint.

Each stage of its training is looked at on its own, then all of them are trained as one run.
"""

from __future__ import annotations

import copy
import dataclasses
import importlib
import json
import math
import os
import re
import signal
from dataclasses import dataclass

import pytest
import torch
import transformers
from torch import nn

from pretrial import discover
from pretrial.train.budget import Budget
from pretrial.train.checkpoint import frozen_prefixes, weights_of
from pretrial.train.describe import describe
from pretrial.train.loop import Stopped, train
from pretrial.train.run import Run

METHODS = discover.methods()
SLUGS = sorted(METHODS)
BUDGET = Budget(12, "steps")
PUBLISHED = [
    (slug, name, number)
    for slug in SLUGS
    for name, number in getattr(discover.load(slug).config, "published", {}).items()
]


@dataclass(frozen=True)
class Part:
    """A stage that was not trained: its name, a copy of its module, and some of its examples."""

    name: str
    module: nn.Module
    examples: list


class Subject:
    """One method at its tiny size; what several tests need is made once."""

    def __init__(self, slug, folder):
        loaded = discover.load(slug)
        self.slug, self.folder = slug, folder
        self.method, self.config, self.card = loaded.method, loaded.config.tiny(), loaded.card
        self.module = importlib.import_module(METHODS[slug].module)
        self.examples = self.method.read(self.method.sample_rows())

    def build(self, seed=0):
        torch.manual_seed(seed)
        return self.method.build(self.config, data=self.examples)

    def run(self, name, kind=Run, seed=0):
        return kind(self.folder / name, self.examples, budget=BUDGET, seed=seed, quiet=True)

    def trained(self, name, kind=Run, seed=0):
        """A method trained in the run folder `name`."""
        method = self.build(seed)
        train(method, self.run(name, kind, seed))
        return method

    def stages(self):
        """Every stage, untrained; what a method makes between stages it makes here too."""
        run = self.run("walk")
        return [
            Part(stage.name, copy.deepcopy(stage.module).train(), first(stage.data, 8))
            for stage in self.build().stages(run)
        ]


@pytest.fixture(scope="module", params=SLUGS)
def subject(request, tmp_path_factory):
    return Subject(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def parts(subject):
    return subject.stages()


@pytest.fixture(scope="module")
def trained(subject):
    return subject.trained("whole")


def first(data, count):
    return [data[position] for position in range(min(count, len(data)))]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def gradients(module):
    return {name: p.grad for name, p in module.named_parameters() if p.grad is not None}


def losses_logged(folder):
    """The rows of the log without what depends on the clock."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in row.items() if "seconds" not in k} for row in rows]


# -- what is said of it ---------------------------------------------------------------------------


@pytest.mark.parametrize("slug", SLUGS)
def test_card_is_complete(slug):
    card = METHODS[slug].card
    assert card == importlib.import_module(METHODS[slug].module).CARD
    assert card.slug == slug
    assert card.title
    assert card.authors
    assert 1950 <= card.year <= 2030
    assert re.fullmatch(r"\d{4}\.\d{4,5}", card.arxiv)
    assert 20 <= len(card.summary) <= 90
    assert card.baseline
    assert card.abilities
    assert card.fields
    assert all(field.name and field.meaning for field in card.fields)
    assert any(field.required for field in card.fields)
    assert card.claims
    assert all(claim.text and claim.source for claim in card.claims)


def test_every_ability_is_there(subject):
    for ability in subject.card.abilities:
        names = {"classify": ("classify", "classifier")}.get(ability, (ability,))
        assert any(callable(getattr(subject.method, name, None)) for name in names), ability


def test_every_option_is_explained(subject):
    """In the docstring of Config, or of the class that it has the option from."""
    text = "".join(kind.__doc__ or "" for kind in type(subject.config).__mro__)
    for field in dataclasses.fields(subject.config):
        assert f"{field.name}: " in text, f"{field.name} is not in the docstring of Config"


@pytest.mark.parametrize(("slug", "name", "number"), PUBLISHED)
def test_paper_config_has_the_published_size(slug, name, number):
    loaded = discover.load(slug)
    with torch.device("meta"):
        exported = loaded.method.build(loaded.config.paper(name)).export()
    count = sum(parameter.numel() for parameter in exported.parameters())
    assert count == pytest.approx(number, rel=0.05)


def test_first_stage_is_described_before_it_is_trained(subject):
    with torch.device("meta"):
        empty = subject.method.build(subject.config, data=subject.examples)
    about = describe(next(empty.stages(subject.run("described"))))
    assert about == describe(next(subject.build().stages(subject.run("described"))))
    assert about["num_parameters"] > 0
    assert about["memory"]["optimizer"] > 0
    assert about["memory"]["activations"] > 0
    assert about["flops_per_step"] > 0


# -- each stage -----------------------------------------------------------------------------------


def test_there_are_stages_with_names_of_their_own(parts):
    names = [part.name for part in parts]
    assert names
    assert len(set(names)) == len(names)


def test_every_trainable_parameter_gets_a_gradient_and_no_frozen_one_does(parts):
    for part in parts:
        module = copy.deepcopy(part.module)
        module.losses(module.batch(part.examples, generator()))["loss"].backward()
        frozen = frozen_prefixes(module)
        for name, parameter in module.named_parameters():
            where = f"{part.name}: {name}"
            if name.startswith(frozen) or not parameter.requires_grad:
                assert parameter.grad is None, where
            else:
                assert parameter.grad is not None, where
                assert torch.isfinite(parameter.grad).all(), where
        assert any(grad.any() for grad in gradients(module).values())


def test_loss_falls_on_one_batch(parts):
    for part in parts:
        module = copy.deepcopy(part.module)
        batch = module.batch(part.examples, generator())
        optimizer = torch.optim.Adam((p for p in module.parameters() if p.requires_grad), lr=2e-3)
        seen = []
        for _ in range(15):
            torch.manual_seed(0)
            loss = module.losses(batch)["loss"]
            seen.append(float(loss.detach()))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        assert min(seen[-3:]) < seen[0] - 1e-3 * abs(seen[0]), f"{part.name}: {seen}"


def test_losses_are_named_scalars_and_counts_are_floats(parts):
    for part in parts:
        batch = part.module.batch(part.examples, generator())
        assert batch["counts"]["examples"] == len(part.examples)
        assert all(type(count) is float for count in batch["counts"].values())
        for name, value in part.module.losses(batch).items():
            assert value.ndim == 0, f"{part.name}: {name}"
            assert math.isfinite(float(value.detach())), f"{part.name}: {name}"


def test_four_micro_batches_equal_the_batch(parts):
    for part in parts:
        if part.module.compares_examples:  # the loop refuses micro-batches for it
            continue
        whole, split = copy.deepcopy(part.module), copy.deepcopy(part.module)
        batch = whole.batch(part.examples, generator())
        loss = whole.losses(batch)["loss"]
        loss.backward()

        source = generator()  # goes on from one micro-batch to the next
        size = math.ceil(len(part.examples) / 4)
        pieces = [
            split.batch(part.examples[start : start + size], source)
            for start in range(0, len(part.examples), size)
        ]
        counts = {name: sum(p["counts"][name] for p in pieces) for name in batch["counts"]}
        assert counts == batch["counts"], part.name
        total = 0.0
        for piece in pieces:
            value = split.losses({**piece, "counts": counts})["loss"]
            value.backward()
            total += float(value.detach())
        assert total == pytest.approx(float(loss.detach()), rel=1e-4, abs=1e-5), part.name
        expected = gradients(whole)
        for name, grad in gradients(split).items():
            torch.testing.assert_close(
                grad, expected[name], rtol=1e-3, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
            )


# -- a whole run ----------------------------------------------------------------------------------


class InterruptedRun(Run):
    """A run whose process is asked to stop at every third step."""

    steps = 0

    def book(self, purpose, **amounts):
        super().book(purpose, **amounts)
        if self.stage and amounts.get("steps") == 1:  # a step, and not what was booked before
            InterruptedRun.steps += 1
            if InterruptedRun.steps % 3 == 0:
                os.kill(os.getpid(), signal.SIGTERM)


def assert_same_weights(one, other):
    one, other = weights_of(one), weights_of(other)
    assert one.keys() == other.keys()
    for name, weight in one.items():
        assert torch.equal(weight, other[name]), name


def test_a_run_interrupted_many_times_ends_with_the_same_bits(subject, trained):
    method, stops = None, 0
    while method is None:
        try:
            method = subject.trained("interrupted", InterruptedRun)
        except Stopped:
            stops += 1
            assert stops < 50
    assert stops >= 2
    assert_same_weights(method, trained)
    whole = losses_logged(subject.folder / "whole")
    assert losses_logged(subject.folder / "interrupted") == whole


def test_same_seed_same_run_and_another_seed_another(subject, trained):
    assert_same_weights(subject.trained("again"), trained)
    other = weights_of(subject.trained("other", seed=1))
    same = [torch.equal(w, other[n]) for n, w in weights_of(trained).items() if n in other]
    assert not all(same)


def test_what_is_saved_comes_back(subject, trained, tmp_path):
    trained.save(tmp_path)
    again = subject.method.build(subject.config, source=tmp_path).eval()
    assert_same_weights(again, trained)


def test_export_loads_again_and_answers_the_same(trained, tmp_path):
    exported = trained.export().eval()
    exported.save_pretrained(tmp_path)
    # what transformers lacks is ours to load
    kind = getattr(transformers, exported.config.architectures[0], type(exported))
    again = kind.from_pretrained(tmp_path).eval()
    inputs = made_inputs(exported)
    with torch.no_grad():
        assert torch.equal(again(**inputs)[0], exported(**inputs)[0])


def made_inputs(model):
    """Two inputs for a model of transformers: texts, or images."""
    if model.main_input_name == "pixel_values":
        size = model.config.image_size
        height, width = (size, size) if isinstance(size, int) else size
        shape = (2, model.config.num_channels, height, width)
        return {"pixel_values": torch.randn(shape, generator=generator())}
    ids = torch.randint(10, 200, (2, 9), generator=generator())
    inputs = {"input_ids": ids}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = ids[:, :5]
    return inputs
