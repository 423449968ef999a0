"""Exported models of images in transformers' pipelines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import pipeline

from pretrial import discover
from pretrial.convert.export import export_model
from pretrial.train.budget import Budget
from pretrial.train.loop import train
from pretrial.train.run import Run

Image = pytest.importorskip("PIL.Image")
RECORD: dict[str, Any] = {
    "config": {},
    "arguments": {"data": "t.jsonl", "init": "", "seed": 0, "budget": "1steps"},
    "num_examples": 16,
    "num_held_out": 0,
    "environment": {},
    "commit": "",
}


def exported(slug: str, folder: Path, **changes: Any) -> Any:
    loaded = discover.load(slug)
    examples = loaded.method.read(loaded.method.sample_rows())
    torch.manual_seed(0)
    method: Any = loaded.method.build(replace(loaded.config.tiny(), **changes), data=examples)
    run = Run(folder / "run", examples, budget=Budget(4, "steps"), quiet=True)
    train(method, run)
    export_model(method, folder / "out", loaded.card, {**RECORD, "slug": slug})
    return method


def pictures(folder: Path) -> list[str]:
    """A grey picture and one in colour, as files."""
    values = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    paths = [str(folder / "grey.png"), str(folder / "colour.png")]
    for path, image in zip(paths, (values[:, :, 0], values), strict=True):
        Image.fromarray(image).save(path)
    return paths


@pytest.mark.parametrize(
    ("slug", "changes"),
    [
        ("mae", {}),
        ("mp3", {}),
        ("mp3", {"pooling": "first", "positions": "absolute"}),
        ("mae", {"num_channels": 3}),
        ("further_pretraining", {}),
    ],
)
def test_a_pipeline_classifies_pictures_as_we_do(slug, changes, tmp_path: Path) -> None:
    method = exported(slug, tmp_path, finetune_ratio=0.5, **changes)
    classify = pipeline("image-classification", str(tmp_path / "out"))
    for path in pictures(tmp_path):
        [expected] = method.classify(method.read([{"image": path}]))
        best = classify(path)[0]
        assert best["label"] == expected["label"]
        # grey values of a picture in colour are rounded to 8 bits nowhere
        assert best["score"] == pytest.approx(expected["label_prob"], abs=1e-5)
    Image.new("L", (20, 12)).save(tmp_path / "large.png")
    assert len(classify(str(tmp_path / "large.png"))) == 2


def test_features_of_a_model_that_was_not_fine_tuned(tmp_path: Path) -> None:
    method = exported("mae", tmp_path)
    features = pipeline("image-feature-extraction", str(tmp_path / "out"))
    for path in pictures(tmp_path):
        found = torch.tensor(features(path))[0, 1:].mean(0)  # without the class token
        assert found.shape == method.encode(method.read([{"image": path}]))[0].shape
    assert method.export().config.num_channels == 1  # the method itself stays as it is


def test_a_model_of_sound_keeps_its_one_channel(tmp_path: Path) -> None:
    loaded = discover.load("mp3")
    sound = {"input": "audio", "sampling_rate": 4000, "seconds": 0.2, "num_mels": 8, "frames": 2}
    config = replace(loaded.config.tiny(), **sound)
    method: Any = loaded.method.build(config)
    export_model(method, tmp_path / "out", loaded.card, {**RECORD, "slug": "mp3"})
    assert not (tmp_path / "out/preprocessor_config.json").exists()
    assert '"num_channels": 1' in (tmp_path / "out/config.json").read_text()
