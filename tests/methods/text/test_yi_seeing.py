"""Yi's images: who learns in which step, where patches stand, and what is kept."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import CLIPVisionConfig, CLIPVisionModel

from pretrial.errors import UserError
from pretrial.methods.text.yi import Config, Yi
from pretrial.methods.text.yi.data import Pair, capped
from pretrial.methods.text.yi.stages.vision import ImageToText
from pretrial.train.budget import Budget
from pretrial.train.checkpoint import weights_of
from pretrial.train.loop import train
from pretrial.train.run import Run

Image = pytest.importorskip("PIL.Image")
STEPS = ("align", "sharpen", "see")


def image(seed: int) -> Any:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 255, (9, 7, 3), dtype=np.uint8))


ROWS = [{"image": image(i), "text": f"A noise of number {i}.", "source": "ab"[i % 2]}
        for i in range(8)]  # fmt: skip


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3}
    config = CLIPVisionConfig(num_attention_heads=2, image_size=8, patch_size=4, **sizes)
    CLIPVisionModel(config).save_pretrained(folder)
    return folder


def built(clip: Path, **changes: Any) -> Yi:
    torch.manual_seed(0)
    config = replace(
        Config.tiny(), steps=STEPS, vision=str(clip), small_image=8, large_image=16,
        align_lr=3e-3, see_lr=3e-3, align_batch_size=4, see_batch_size=4, **changes,
    )  # fmt: skip
    return Yi.build(config, data=ROWS)


def test_each_step_trains_what_it_is_to(clip: Path, tmp_path: Path) -> None:
    method = built(clip, pairs_per_source=2)
    run = Run(tmp_path, ROWS, budget=Budget(12, "steps"), quiet=True)
    seen = []
    for stage in method.stages(run):
        seen.append(stage.name)
        batch = stage.module.batch(stage.data[:2], torch.Generator())
        assert batch["pixels"].shape[-1] == (8 if stage.name == "align" else 16)
        stage.module.zero_grad()
        stage.module.losses(batch)["loss"].backward()
        for name, parameter in stage.module.named_parameters():
            assert (parameter.grad is not None) == parameter.requires_grad, name
        language = [p.requires_grad for p in method.language_model.parameters()]
        assert set(language) == {stage.name == "see"}
        assert method.vision_tower is not None
        assert all(p.requires_grad for p in method.vision_tower.projector.parameters())
        assert len(stage.data) == (4 if stage.name == "see" else 8)
    assert tuple(seen) == STEPS


@torch.no_grad()
def test_patches_stand_before_the_text_and_are_not_predicted(clip: Path) -> None:
    method = built(clip)
    assert method.vision_tower is not None
    model = ImageToText(method.language_model, method.vision_tower, 8).eval()
    pairs = [Pair(image(0), [5, 6, 7]), Pair(image(1), [9])]
    batch = model.batch(pairs, torch.Generator())
    assert batch["counts"]["tokens"] == 4 + 2
    loss = model.losses(batch)["loss"]
    network, end, total = method.language_model.network, method.language_model.end, 0.0
    for row, pair in enumerate(pairs):
        ids = torch.tensor([[end, *pair.ids, end]])
        vectors = torch.cat(
            [
                model.tower(batch["pixels"][row : row + 1]),
                network.get_input_embeddings()(ids),
            ],
            1,
        )
        logits = network(inputs_embeds=vectors).logits[0, 4:-1]  # behind four patches
        total += float(torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum"))
    assert float(loss) == pytest.approx(total / 6, rel=1e-5)


def test_a_run_ends_with_a_model_that_comes_back_and_describes(clip: Path, tmp_path: Path) -> None:
    method = built(clip)
    train(method, Run(tmp_path / "run", ROWS, ROWS[:2], Budget(6, "steps"), quiet=True))
    method.save(tmp_path / "saved")
    again = Yi.build(method.config, source=tmp_path / "saved").eval()
    one, other = weights_of(method), weights_of(again)
    assert one.keys() == other.keys()
    assert all(torch.equal(weight, other[name]) for name, weight in one.items())
    asked = [{"image": image(3), "text": "A"}]
    written = list(method.generate(asked, max_new_tokens=5))
    assert written == list(again.generate(asked, max_new_tokens=5))
    blind = Yi.build(Config.tiny(), data=ROWS)
    with pytest.raises(UserError, match="sees no images"):
        next(blind.generate(asked, max_new_tokens=5))


def test_what_is_missing_is_named(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--vision"):
        replace(Config.tiny(), steps=("align",))
    run = Run(tmp_path, [{"text": "x"}] * 4, budget=Budget(4, "steps"), quiet=True)
    with pytest.raises(UserError, match="rows with 'image'"):
        next(iter(built(clip).stages(run)))


def test_sources_are_capped() -> None:
    rows = [{"source": "a"}] * 5 + [{"source": "b"}] + [{}] * 3
    kept = capped(rows, 2, random.Random(0))
    assert sorted(str(row.get("source")) for row in kept) == ["None", "None", "a", "a", "b"]
