"""Which preset suits data and a budget."""

from __future__ import annotations

import numpy as np
import pytest

from pretrial import discover
from pretrial.api import presets
from pretrial.errors import UserError
from pretrial.train.budget import Budget


def texts(num_rows: int) -> list[dict[str, str]]:
    return [{"text": "word " * 80, "label": "left out"}] * num_rows  # 100 tokens each


def test_tokens_are_estimated_from_what_the_method_reads() -> None:
    assert presets.num_tokens(texts(1000), ["text"]) == 100_000
    images = [{"image": np.zeros((8, 8), dtype="uint8")}] * 10
    assert presets.num_tokens(images, ["image"]) == 160
    large = [{"image": np.zeros((640, 480, 3), dtype="uint8")}, {"image": "a.png"}]
    assert presets.num_tokens(large, ["image"]) == 400
    assert presets.num_tokens([], ["text"]) == 0
    assert presets.num_tokens([{"tokens": [1, 2, 3], "text": None}], ["tokens", "text"]) == 3


@pytest.mark.parametrize(
    ("num_rows", "budget", "name", "reason"),
    [
        (20, "2000steps", "tiny", "too many for 2 k tokens"),
        (2000, "150steps", "small", "base has 14.2 M, too many for 200 k tokens"),
        (2000, "20steps", "tiny", "small has 1.14 M, and the budget shows 41 k tokens"),
        (2000, "3epochs", "small", "base"),
        (2000, "1e9flops", "tiny", "small"),
        (20_000, "2000steps", "base", "14.2 M parameters"),
        (20_000, "2e6tokens", "small", "the budget shows 2 M tokens"),
        (20_000, None, "base", "14.2 M parameters"),
    ],
)
def test_the_preset_follows_data_and_budget(
    num_rows: int, budget: str | None, name: str, reason: str
) -> None:
    given = Budget.parse(budget) if budget else None
    chosen = presets.choose(discover.load("electra"), texts(num_rows), given)
    assert chosen.name == name
    assert reason in chosen.reason


def test_a_budget_in_time_counts_what_the_machine_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = discover.load("electra")
    for speed, name in ((1e6, "tiny"), (1e11, "small"), (1e14, "base")):
        monkeypatch.setattr(presets, "_speed", lambda device, speed=speed: speed)
        assert presets.choose(loaded, texts(20_000), Budget(60, "seconds")).name == name
    assert presets._speed("cpu") > 0


@pytest.mark.parametrize("slug", sorted(discover.methods()))
def test_every_method_has_every_preset_and_no_warm_up_in_steps_by_default(slug: str) -> None:
    loaded = discover.load(slug)
    assert presets.offered(loaded) == list(presets.NAMES)
    config = presets.config_of(loaded, "base")
    for name in ("warmup", "finetune_warmup", "pretrain_warmup", "phase1_warmup", "rewarm_steps"):
        assert getattr(config, name, 0) < 1, name
    assert presets.published_names(loaded)


def test_published_settings_keep_their_steps() -> None:
    for slug, field, steps in (
        ("electra", "warmup", 10_000),
        ("drbert", "warmup", 10_000),
        ("ul2", "warmup", 10_000),
        ("architecture_objective", "warmup", 10_000),
        ("e2s2", "warmup", 6000),
        ("return_of_encoder", "warmup", 4),
        ("never_from_scratch", "warmup", 2500),
        ("api_continual", "pretrain_warmup", 5000),
        ("snowcoder", "rewarm_steps", 1000),
        ("further_pretraining", "finetune_warmup", 500),
    ):
        loaded = discover.load(slug)
        for name in presets.published_names(loaded)[:2]:
            assert getattr(presets.published(loaded, name), field) >= min(steps, 1000), slug
        first = presets.published_names(loaded)[0]
        assert getattr(presets.published(loaded, first), field) == steps


def test_a_preset_that_a_method_lacks_is_named() -> None:
    class Config:
        pass

    loaded = discover.load("mlm")
    bare = discover.Loaded(loaded.card, loaded.method, Config, loaded.module)
    with pytest.raises(UserError, match="mlm has no preset small, only base"):
        presets.config_of(bare, "small")
    with pytest.raises(UserError, match="mlm takes no --paper"):
        presets.published(bare, "base")


def test_a_method_whose_size_hangs_on_the_data_gets_its_own_sizes() -> None:
    loaded = discover.load("mlm")

    class Needy(loaded.method):  # type: ignore[name-defined,misc]
        @classmethod
        def build(cls, config: object, source: object = None, data: object = None) -> object:
            return len(data)  # type: ignore[arg-type]

    needy = discover.Loaded(loaded.card, Needy, loaded.config, loaded.module)
    chosen = presets.choose(needy, texts(20), None)
    assert (chosen.name, "cannot be told" in chosen.reason) == ("base", True)
