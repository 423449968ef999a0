"""MP3: what is hidden, what is predicted, sound, checkpoints."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import ViTConfig, ViTForImageClassification, ViTModel

from pretrial.bases.patch_encoder.data import pixels
from pretrial.data.builtin import spoken
from pretrial.errors import UserError
from pretrial.methods.vision.mp3 import MP3, Config
from pretrial.methods.vision.mp3.network import near_targets, position_loss
from pretrial.methods.vision.mp3.trials import trial

TINY = Config.tiny()
ROWS = MP3.read(MP3.sample_rows())


@pytest.fixture(scope="module")
def method() -> MP3:
    torch.manual_seed(0)
    return MP3.build(TINY, data=ROWS).eval()


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# -- what is hidden -------------------------------------------------------------------------------


@pytest.mark.parametrize(("ratio", "kept"), [(0.0, 16), (0.3, 11), (0.5, 8), (0.75, 4), (0.99, 1)])
def test_the_context_is_what_is_not_hidden(ratio: float, kept: int) -> None:
    method = MP3.build(replace(TINY, hidden_ratio=ratio), data=ROWS)
    batch = method.batch(ROWS, seeded())
    assert batch["context"].shape == (1, 16, kept)
    assert all(len(set(row)) == kept for row in batch["context"][0].tolist())
    assert batch["counts"]["context"] == 16.0 * kept
    assert batch["counts"]["hidden"] == 16.0 * (16 - kept)


def test_each_example_draws_its_own_context_and_each_place_is_as_likely(method: MP3) -> None:
    times = torch.zeros(16)
    for seed in range(60):
        context = method.batch(ROWS, seeded(seed))["context"][0]
        times += torch.bincount(context.flatten(), minlength=16)
    assert (times / (60 * 16) - 0.5).abs().max() < 0.08  # about five standard deviations
    assert len({tuple(row) for row in context.tolist()}) > 10


def test_hidden_tokens_do_not_reach_others_through_the_whole_stack(method: MP3) -> None:
    batch = method.batch(ROWS[:1], seeded())
    context = batch["context"][0]
    hidden = next(place for place in range(16) if place not in context[0])
    changed = batch["pixels"].clone()
    row, column = divmod(hidden, 4)
    changed[0, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2] += 0.5
    with torch.no_grad():
        one = method.position_logits(batch["pixels"], context)
        other = method.position_logits(changed, context)
    assert (one != other).any(-1)[0].nonzero().flatten().tolist() == [hidden]


def test_a_context_for_each_layer_is_the_ablation() -> None:
    method = MP3.build(replace(TINY, context="layer"), data=ROWS)
    context = method.batch(ROWS, seeded())["context"]
    assert context.shape == (2, 16, 8)
    assert not torch.equal(context[0], context[1])
    assert torch.isfinite(method.losses(method.batch(ROWS, seeded()))["loss"])


# -- what is predicted ----------------------------------------------------------------------------


def test_a_constant_image_gives_no_place_away(method: MP3) -> None:
    flat = torch.full((2, 1, 8, 8), 0.3)
    with torch.no_grad():
        logits = method.position_logits(flat, torch.arange(8).repeat(2, 1))
    torch.testing.assert_close(logits, logits[:, :1].expand(-1, 16, -1))
    assert float(position_loss(logits, 32.0)) >= math.log(16) - 1e-5


def test_the_loss_is_over_all_tokens(method: MP3) -> None:
    batch = method.batch(ROWS, seeded())
    losses = method.losses(batch)
    logits = method.position_logits(batch["pixels"], batch["context"][0])
    wanted = torch.arange(16).repeat(16)
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), wanted)
    assert float(losses["loss"].detach()) == pytest.approx(float(expected.detach()), rel=1e-5)
    right = (logits.argmax(-1).flatten() == wanted).float().mean()
    both = (losses["context_right_ratio"] + losses["hidden_right_ratio"]) / 2
    assert float(both) == pytest.approx(float(right))


def test_pre_training_has_neither_positions_nor_a_class_token(method: MP3) -> None:
    names = [name for name, _ in method.named_parameters()]
    assert not any("position_embed" in name or "cls" in name for name in names)


def test_smoothed_targets_narrow_to_the_place_itself() -> None:
    targets = near_targets((4, 4), torch.tensor(1.0))
    torch.testing.assert_close(targets.sum(1), torch.ones(16))
    assert targets[5].argmax() == 5
    assert targets[5, 6] == pytest.approx(float(targets[5, 1]))  # as far to the right as up
    assert targets[5, 6] > targets[5, 10]
    method = MP3.build(replace(TINY, smoothing=1.0, smoothing_steps=4), data=ROWS).train()
    batch = method.batch(ROWS, seeded())
    plain = MP3.build(TINY, data=ROWS).train()
    plain.load_state_dict(method.state_dict())
    assert method.losses(batch)["loss"] != plain.losses(batch)["loss"]
    for _ in range(4):
        method.after_step()
    torch.testing.assert_close(method.losses(batch)["loss"], plain.losses(batch)["loss"])


def test_crops_and_mirror_images_are_for_training_and_keep_to_the_seed() -> None:
    method = MP3.build(replace(TINY, min_crop=0.3, flip_prob=0.5), data=ROWS)
    plain = method.eval().batch(ROWS, seeded())["pixels"]
    one, other = (method.train().batch(ROWS, seeded(seed))["pixels"] for seed in (0, 1))
    assert torch.equal(plain, pixels(ROWS, TINY))
    assert torch.equal(one, method.batch(ROWS, seeded())["pixels"])
    assert not torch.equal(one, other)
    assert one.min() >= -1
    assert one.max() <= 1
    halves = torch.cat(
        [method.batch(ROWS[:8], g := seeded())["pixels"], method.batch(ROWS[8:], g)["pixels"]]
    )
    torch.testing.assert_close(halves, one, rtol=1e-5, atol=1e-5)
    grey = [replace(ROWS[0], content=np.full((8, 8), 77, np.uint8))] * 4
    assert len(method.batch(grey, seeded())["pixels"].unique()) == 1  # no border comes in


# -- sound ----------------------------------------------------------------------------------------

SOUND = replace(
    TINY, input="audio", sampling_rate=4000, seconds=0.2, num_mels=8, frames=2, finetune_ratio=0.0
)


def chirp(low: float, high: float, seconds: float = 0.3) -> dict[str, Any]:
    times = np.arange(int(seconds * 4000)) / 4000
    wave = np.sin(2 * np.pi * (low + (high - low) * times / seconds / 2) * times)
    return {"audio": {"array": wave, "sampling_rate": 4000}}


def test_sound_is_a_row_of_groups_of_frames() -> None:
    rows = MP3.read([chirp(200, 200 + 100 * i) for i in range(8)])
    method = MP3.build(SOUND, data=rows)
    assert method.encoder.grid == (1, SOUND.num_tokens) == (1, 9)
    batch = method.batch(rows, seeded())
    assert batch["pixels"].shape == (8, 1, 8, 18)
    torch.testing.assert_close(batch["pixels"].mean((1, 2, 3)), torch.zeros(8), atol=1e-4, rtol=0)
    assert torch.isfinite(method.losses(batch)["loss"])
    assert method.encode(rows).shape == (8, 32)
    vit = method.export().eval()
    with torch.no_grad():
        assert vit(batch["pixels"]).last_hidden_state.shape == (8, 10, 32)


def test_crops_of_sound_move_in_training_and_never_pad() -> None:
    rows = MP3.read([chirp(200, 1500)])
    method = MP3.build(SOUND, data=rows)
    middle = method.eval().batch(rows, seeded())["pixels"]
    assert torch.equal(middle, method.batch(rows, seeded(1))["pixels"])
    method.train()
    assert not torch.equal(
        method.batch(rows, seeded())["pixels"], method.batch(rows, seeded(1))["pixels"]
    )
    short = MP3.read([chirp(200, 1500, seconds=0.1) | {"path": "a.wav"}])
    with pytest.raises(UserError, match=r"a\.wav is 0\.10 s long, shorter than the crop of 0\.2 s"):
        method.batch(short, seeded())


# -- data, checkpoints, settings ------------------------------------------------------------------


def test_rows_without_what_is_needed_are_refused(method: MP3) -> None:
    with pytest.raises(UserError, match=r"row 0 has neither 'image' nor 'audio' \(found: text\)"):
        MP3.read([{"text": "a"}])
    with pytest.raises(UserError, match="set --input audio"):
        method.batch(MP3.read([chirp(200, 300)]), seeded())
    with pytest.raises(UserError, match="row 0 is 4x4 pixels"):
        method.batch(MP3.read([{"image": np.zeros((4, 4))}]), seeded())
    with pytest.raises(UserError, match="0 label"):
        MP3.build(TINY, data=MP3.read([{"image": np.zeros((8, 8))}]))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"hidden_ratio": 1.0}, "hidden_ratio"),
        ({"image_size": 9}, "multiple of patch_size"),
        ({"image_size": 8, "patch_size": 8}, "lower patch_size"),
        ({"positions": "relative", "pooling": "first"}, "pooling=mean"),
        ({"finetune_ratio": 1.5}, "finetune_ratio"),
        ({"num_channels": 2}, "num_channels"),
    ],
)
def test_settings_that_cannot_be_are_refused(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        replace(TINY, **wrong)


def vit_config() -> ViTConfig:
    sizes = {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 1}
    return ViTConfig(
        **sizes,
        intermediate_size=96,
        image_size=8,
        patch_size=4,
        num_channels=3,
        layer_norm_eps=1e-6,
    )


@pytest.mark.parametrize("kind", [ViTModel, ViTForImageClassification])
def test_a_vit_of_transformers_is_taken_over(kind: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = kind(vit_config()).eval()
    model.save_pretrained(tmp_path)
    method = MP3.build(TINY, source=tmp_path, data=ROWS)
    assert (method.config.image_size, method.config.patch_size) == (8, 4)
    assert method.position_head.out_features == 4
    kept = method.encoder.state_dict()
    base = model if kind is ViTModel else model.vit
    for name, value in base.layers.state_dict().items():
        assert torch.equal(kept[f"layers.{name}"], value), name


def test_weights_in_the_layout_of_timm_are_taken_over(tmp_path: Path) -> None:
    torch.manual_seed(0)
    vit = ViTModel(vit_config(), add_pooling_layer=False).eval()
    state = {"cls_token": vit.embeddings.cls_token, "pos_embed": vit.embeddings.position_embeddings}
    for name, part in (
        ("patch_embed.proj", vit.embeddings.patch_embeddings.projection),
        ("norm", vit.layernorm),
        ("head", torch.nn.Linear(64, 10)),
    ):
        state |= {f"{name}.{key}": value for key, value in part.state_dict().items()}
    for number, layer in enumerate(vit.layers):
        own = layer.attention
        for kind in ("weight", "bias"):
            parts = [getattr(each, kind) for each in (own.q_proj, own.k_proj, own.v_proj)]
            state[f"blocks.{number}.attn.qkv.{kind}"] = torch.cat(parts)
        for name, part in (
            ("attn.proj", own.o_proj),
            ("norm1", layer.layernorm_before),
            ("norm2", layer.layernorm_after),
            ("mlp.fc1", layer.mlp.fc1),
            ("mlp.fc2", layer.mlp.fc2),
        ):
            state |= {f"blocks.{number}.{name}.{k}": v for k, v in part.state_dict().items()}
    file = tmp_path / "timm.safetensors"
    save_file({name: value.detach().clone() for name, value in state.items()}, file)
    method = MP3.build(TINY, source=file, data=ROWS)
    for name, value in vit.layers.state_dict().items():
        assert torch.equal(method.encoder.state_dict()[f"layers.{name}"], value), name


def test_other_checkpoints_are_refused(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="no ViT"):
        MP3.build(TINY, source=tmp_path / "other.safetensors")
    with pytest.raises(UserError, match="neither a folder nor a checkpoint"):
        MP3.build(TINY, source=tmp_path / "gone")
    ViTModel(vit_config(), add_pooling_layer=False).save_pretrained(tmp_path / "vit")
    with pytest.raises(UserError, match="input=image"):
        MP3.build(SOUND, source=tmp_path / "vit")


def test_what_is_exported_prepares_images_as_we_do(method: MP3, tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    from transformers import AutoImageProcessor

    method.processor.save_pretrained(tmp_path)
    processor = AutoImageProcessor.from_pretrained(tmp_path)
    images = [each.content[None] for each in ROWS[:2]]
    found = processor(images, return_tensors="pt", input_data_format="channels_first")
    torch.testing.assert_close(found["pixel_values"], pixels(ROWS[:2], TINY))
    assert MP3(SOUND, method.encoder).processor is None


def test_an_untuned_run_says_that_it_cannot_classify(method: MP3) -> None:
    with pytest.raises(UserError, match="finetune_ratio above 0"):
        list(method.classify(ROWS))


def test_the_trial_gives_all_arms_the_same_images() -> None:
    pytest.importorskip("sklearn")
    made = trial(data="builtin:digits?size=12&turn=20&shift=2&copies=2")
    data = made.data()
    known = [row for row in data.train if "label" in row]
    assert (len(data.train), len(known), len(data.test)) == (2 * 1297, 2 * 100, 500)
    labels = [row["label"] for row in known]
    assert all(labels.count(digit) == 2 * 10 for digit in range(10))
    numbers = {row["number"] for row in data.train}
    assert not numbers & {row["number"] for row in data.test}
    assert all(arm.config.hidden_ratio == 0.5 for arm in made.choose() if arm.config)
    with pytest.raises(UserError, match="lower --num-labels"):
        trial(num_labels=1500).data()


def test_the_gate_of_the_trial_is_what_linear_classifiers_say() -> None:
    pytest.importorskip("sklearn")
    made = trial(data="builtin:digits?size=12&shift=1", num_test=100, tiny=True)
    data = made.data()
    assert made.gate.trivial == ("pixels", "random")
    assert made.claims[0] == ("mp3", "scratch", "nll", "lower")
    plain = made.measure(None, data, 0)
    config = made.arm("random").config
    method = MP3.build(config, data=MP3.read(data.train)).eval()
    random = made.measure(method, data, 0)
    for found in (plain, random):  # nothing was fine-tuned
        assert found["nll"] == found["probe_nll"]
        assert len(found["nll"]) == 100
    assert plain["nll"] != random["nll"]
    assert np.mean(plain["accuracy"]) > 0.2


def test_the_trial_on_words_keeps_voices_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    tones = {word: 200.0 + 300 * place for place, word in enumerate(spoken.WORDS)}

    def speak(word: str, voice: str, speed: int) -> Any:
        return 0.1 * np.sin(2 * np.pi * tones[word] * np.arange(3000) / 16_000)

    monkeypatch.setattr(spoken, "_speak", speak)
    made = trial(which="words", tiny=True)
    assert (made.name, trial().name) == ("words", "")
    assert all(arm.config.num_tokens == 24 for arm in made.arms if arm.config)
    assert [arm.name for arm in made.arms[:7]] == [arm.name for arm in trial().arms[:6]] + ["plain"]
    assert made.gate.trivial == ("plain", "random")
    data = made.data()
    assert not {row["voice"] for row in data.train} & {row["voice"] for row in data.test}
    known = [row for row in data.train if "label" in row]
    assert all([row["label"] for row in known].count(word) == 5 for word in spoken.WORDS)
    assert len({row["voice"] for row in known}) > 10
    assert len(data.train[0]["audio"]["array"]) == data.train[0]["audio"]["sampling_rate"] == 8000
    batch = MP3.build(made.arms[0].config, data=MP3.read(data.train)).batch(
        MP3.read(data.train[:2]), seeded()
    )
    assert batch["pixels"].shape == (2, 1, 40, 96)
    right = made.measure(None, replace(data, test=data.test[:60]), 0)["accuracy"]
    assert set(right.groups) == {row["voice"] for row in data.test[:60]}
    assert np.mean(right.values) > 0.9
