"""`eval` and `predict` on images, sounds and texts, from the command line."""

from __future__ import annotations

import json
import wave
from pathlib import Path

import numpy as np
import pytest

from pretrial.cli import main

SOUND = "--input audio --sampling-rate 4000 --seconds 0.2 --num-mels 8 --frames 2"
SLUGS = {"image": "mae", "audio": "mp3", "text": "mlm"}
EVAL = {
    "probe": "--num-train 20",
    "finetune": "--num-train 20 --epochs 12 --batch-size 10 --lr 3e-3 --pooling mean",
    "retrieval": "--label label",
}


def images(folder: Path) -> Path:
    """An array of images with a bright square in one of two corners, and their labels."""
    made = np.random.default_rng(0).integers(0, 90, (40, 8, 8), dtype=np.uint8)
    for number, image in enumerate(made):
        corner = number % 2 * 4
        image[corner : corner + 4, corner : corner + 4] += 150
    np.savez(folder / "images.npz", image=made, label=np.arange(40) % 2)
    return folder / "images.npz"


def sounds(folder: Path) -> Path:
    """A folder a label, with recordings of a low or a high tone."""
    rng = np.random.default_rng(0)
    for number in range(40):
        label, pitch = (("low", 300), ("high", 1200))[number % 2]
        tone = np.sin(2 * np.pi * pitch * np.arange(900) / 4000) + rng.normal(0, 0.1, 900)
        path = folder / "sounds" / label / f"{number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(4000)
            file.writeframes((tone * 8000).astype("<i2").tobytes())
    return folder / "sounds"


def texts(folder: Path) -> Path:
    nouns = ("list", "file", "name", "socket", "path")
    rows = [
        {"text": f"{label} the {noun} {number} {label} {label}", "label": label}
        for number in range(4)
        for noun in nouns
        for label in ("open", "close")
    ]
    path = folder / "texts.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def trained(modality: str, data: Path, folder: Path) -> Path:
    out = folder / "run"
    more = {"image": "--finetune-ratio 0", "audio": f"--finetune-ratio 0 {SOUND}", "text": ""}
    words = f"train {SLUGS[modality]} --tiny --budget 3steps {more[modality]}".split()
    assert main([*words, "--data", str(data), "--out", str(out)]) == 0
    return out


@pytest.mark.parametrize("modality", ["image", "audio", "text"])
def test_a_run_is_measured_and_used_whatever_it_reads(
    modality: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = {"image": images, "audio": sounds, "text": texts}[modality](tmp_path)
    run = trained(modality, data, tmp_path)
    metrics = {}
    for task, options in EVAL.items():
        out = tmp_path / f"{task}.json"
        words = ["eval", run, "--task", task, "--data", data, "--out", out, *options.split()]
        assert main([str(word) for word in words]) == 0
        metrics[task] = json.loads(out.read_text())["metrics"]
    assert metrics["probe"]["accuracy"]["value"] >= 0.8
    assert metrics["finetune"]["accuracy"]["value"] >= 0.8
    assert metrics["retrieval"]["map@r"]["value"] > 0.55
    capsys.readouterr()
    assert main(["predict", str(run), "--data", str(data), "--ability", "encode"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == 40
    assert all(len(row["encode"]) == 32 for row in rows)


def test_images_are_found_by_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = images(tmp_path)
    run = trained("image", data, tmp_path)
    with np.load(data) as arrays:
        image = arrays["image"]
    np.savez(tmp_path / "pairs.npz", query=image, document=image, kind=np.arange(40) % 2)
    pairs = str(tmp_path / "pairs.npz")
    capsys.readouterr()
    assert main(["eval", str(run), "--task", "retrieval", "--data", pairs]) == 0
    assert capsys.readouterr().out.startswith("mrr        1  (95 %")
    words = ["eval", str(run), "--data", pairs, "--text", "query", "--label", "kind"]
    assert main([*words, "--task", "probe", "--num-train", "20"]) == 0
    found = capsys.readouterr()
    assert "accuracy  1 " in found.out
    tune = ["--task", "classify", "--num-train", "20", "--batch-size", "20", "--epochs", "1"]
    assert main([*words, *tune]) == 0
    assert "the task classify is called finetune now" in capsys.readouterr().err
