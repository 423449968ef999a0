"""Fine-tuning on images and recordings, from plain checkpoints and from runs."""

from __future__ import annotations

import json
import wave
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf

from pretrial.api.opening import open_model
from pretrial.cli import main

SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "initializer_range": 0.1,
}
FAST = "--lr 1e-2 --epochs 10 --patience 10 --batch-size 8 --held-out-ratio 0.2 --no-refit"


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Bright squares in one of two corners, and how bright they are."""
    pytest.importorskip("PIL")
    made = np.random.default_rng(0).integers(0, 90, (60, 8, 8), dtype=np.uint8)
    for number, image in enumerate(made):
        corner = number % 2 * 4
        image[corner : corner + 4, corner : corner + 4] += 150
    path = tmp_path / "images.npz"
    np.savez(path, image=made, label=np.array(["low", "high"])[np.arange(60) % 2])
    return path


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """A folder a label, with recordings of a low or a high tone of uneven lengths."""
    rng = np.random.default_rng(0)
    for number in range(40):
        label, pitch = (("low", 300), ("high", 1200))[number % 2]
        length = 3000 + 100 * number
        tone = np.sin(2 * np.pi * pitch * np.arange(length) / 16_000) + rng.normal(0, 0.1, length)
        path = tmp_path / "sounds" / label / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16_000)
            file.writeframes((tone * 8000).astype("<i2").tobytes())
    return tmp_path / "sounds"


def run(*words: object) -> None:
    assert main([str(word) for part in words for word in str(part).split(" ")]) == 0


def answers(start: Path, rows: Path, folder: Path, more: str = "") -> list[dict[str, Any]]:
    """Fine-tunes, predicts, measures, exports; gives what is predicted."""
    run("finetune", start, "--data", rows, "--out", folder / "tuned", f"{FAST} {more}".strip())
    out = folder / "answers.jsonl"
    repeat = (folder / "tuned" / "run.yaml").read_text()
    assert f"\ncommand: finetune {start}\n" in repeat
    assert "\nepochs: 10\n" in repeat
    run("predict", folder / "tuned", "--data", rows, "--out", out)
    run("eval", folder / "tuned", "--data", rows, "--out", folder / "result.json")
    run("export", folder / "tuned", "--to", folder / "exported")
    return [json.loads(line) for line in out.read_text().splitlines()]


def vit(folder: Path) -> Path:
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    torch.manual_seed(0)
    config = tf.ViTConfig(image_size=8, patch_size=4, **SIZES)
    tf.ViTModel(config).save_pretrained(folder)
    ViTImageProcessorPil(size={"height": 8, "width": 8}).save_pretrained(folder)
    return folder


def test_images_are_classified_and_a_pipeline_says_the_same(images: Path, tmp_path: Path) -> None:
    from PIL import Image

    found = answers(vit(tmp_path / "start"), images, tmp_path)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["metrics"]["accuracy"]["value"] > 0.9
    assert "raw pixels, logistic regression" in result["notes"]
    pipe = tf.pipeline("image-classification", str(tmp_path / "exported"))
    pictures = [Image.fromarray(each).convert("RGB") for each in np.load(images)["image"]]
    said = [each[0]["label"] for each in pipe(pictures)]
    assert said == [row["label"] for row in found]


def test_images_get_values(images: Path, tmp_path: Path) -> None:
    arrays = np.load(images)
    np.savez(images, image=arrays["image"], label=np.where(arrays["label"] == "low", 10.0, 20.0))
    found = answers(vit(tmp_path / "start"), images, tmp_path, "--task regress")
    values = np.array([row["value"] for row in found])
    assert np.abs(values[::2] - 10).mean() < 3
    assert np.abs(values[1::2] - 20).mean() < 3
    kind = tf.AutoModelForImageClassification.from_pretrained(tmp_path / "exported")
    assert kind.config.num_labels == 1


@pytest.mark.parametrize("kind", ["Wav2Vec2", "AST"])
def test_recordings_are_classified(kind: str, sounds: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    start = tmp_path / "start"
    if kind == "AST":
        config: Any = tf.ASTConfig(
            max_length=40, num_mel_bins=16, patch_size=8, frequency_stride=8, time_stride=8, **SIZES
        )
        tf.ASTModel(config).save_pretrained(start)
        tf.ASTFeatureExtractor(max_length=40, num_mel_bins=16).save_pretrained(start)
    else:
        config = tf.Wav2Vec2Config(
            conv_dim=(16, 16),
            conv_stride=(8, 8),
            conv_kernel=(16, 8),
            num_conv_pos_embeddings=4,
            num_conv_pos_embedding_groups=2,
            layerdrop=0.9,  # with which most steps would leave layers without a gradient
            **SIZES,
        )
        tf.Wav2Vec2Model(config).save_pretrained(start)
        tf.Wav2Vec2FeatureExtractor().save_pretrained(start)
    found = answers(start, sounds, tmp_path)
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["metrics"]["accuracy"]["value"] > 0.8
    assert {row["label"] for row in found} == {"low", "high"}
    model = tf.AutoModelForAudioClassification.from_pretrained(tmp_path / "exported")
    assert set(model.config.label2id) == {"low", "high"}


def test_a_run_on_images_is_finetuned_too(images: Path, tmp_path: Path) -> None:
    run("train mae --tiny --budget 3steps --data", images, "--out", tmp_path / "mae")
    answers(tmp_path / "mae", images, tmp_path)
    method: Any = open_model(tmp_path / "tuned").load()
    assert type(method.export()).__name__.endswith("ForImageClassification")
    assert json.loads((tmp_path / "result.json").read_text())["metrics"]["accuracy"]["value"] > 0.9
