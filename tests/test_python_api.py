"""The commands as functions of Python."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import pretrial
from pretrial.python import _words

NOTEBOOK = Path(__file__).parent.parent / "docs" / "first_hour.ipynb"
VERBS = {"reads": ("return", "find", "count"), "writes": ("set", "delete", "write")}
ROWS = [
    {"text": f"{verb} the {thing} of a {place}", "label": label}
    for label, verbs in VERBS.items()
    for verb in verbs
    for thing in ("name", "size", "owner")
    for place in ("file", "folder", "socket")
]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("python")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return pretrial.train("mlm", ROWS, tiny=True, budget="3steps", out=folder / "run")


def test_the_import_is_light_and_gives_the_functions():
    code = (
        "import sys, pretrial\n"
        "assert not {'torch', 'transformers', 'numpy'} & set(sys.modules)\n"
        "import pretrial.train.loop\n"
        "assert callable(pretrial.train) and pretrial.train.loop.train\n"
        "from pretrial import load, finetune, trial, UserError\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_rows_in_memory_train_and_the_same_call_goes_on(run, capsys):
    assert run.folder.name == "run"
    assert run.spent.total("steps") == 3
    assert run.metrics[-1]["step"] == 3
    record = json.loads((run.folder / "run.json").read_text())
    kept = run.folder.parent / record["arguments"]["data"]
    assert [json.loads(line) for line in kept.read_text().splitlines()] == ROWS


def test_callbacks_are_told(tmp_path):
    told = []
    pretrial.train(
        "mlm",
        ROWS,
        tiny=True,
        budget="2steps",
        out=tmp_path / "told",
        on_log=lambda numbers, stage, step: told.append((stage, step, numbers["loss"])),
        on_stage_end=lambda stage, module: told.append((stage, type(module).__name__)),
    )
    assert [each[1] for each in told] == [2, "MLM"]


def test_a_model_does_what_its_abilities_say(run):
    model = pretrial.load(run)
    texts = [row["text"] for row in ROWS[:3]]
    vectors = model.encode(texts)
    assert vectors.shape[0] == 3
    assert torch.equal(vectors, pretrial.load(run.folder).encode(ROWS[:3]))
    assert "encode" in model.abilities
    assert len(model.predict(texts)) == 3
    with pytest.raises(pretrial.UserError, match="cannot 'fly'"):
        model.predict(texts, ability="fly")
    with pytest.raises(pretrial.UserError, match="there are no rows"):
        model.encode([])


def test_a_run_is_fine_tuned_measured_and_exported(run, tmp_path):
    made = pretrial.finetune(run, ROWS, lr=3e-3, epochs=1, out=tmp_path / "tuned")
    rows = made.predict(["return the name of a file"])
    assert rows[0]["label"] in VERBS
    result = made.evaluate(ROWS)
    assert 0 <= result.metrics["accuracy"].value <= 1
    from transformers import AutoModelForSequenceClassification

    folder = made.export(tmp_path / "exported")
    network = AutoModelForSequenceClassification.from_pretrained(folder)
    assert sorted(network.config.id2label.values()) == sorted(VERBS)


def test_mistakes_are_errors_that_name_the_mend(run, tmp_path):
    with pytest.raises(pretrial.UserError, match="nearest"):
        pretrial.train("mln", ROWS)
    with pytest.raises(pretrial.UserError, match="--budgett"):
        pretrial.train("mlm", ROWS, budgett="1m", out=tmp_path / "x")
    with pytest.raises(pretrial.UserError, match="no"):
        pretrial.load(tmp_path / "nowhere")
    with pytest.raises(pretrial.UserError, match="needs a task"):
        pretrial.load(run).evaluate(ROWS)


def test_options_are_spelled_as_on_the_command_line():
    assert _words({"held_out_ratio": 0.2, "tiny": True, "compile": False, "init": None}) == [
        *("--held-out-ratio=0.2", "--tiny", "--no-compile"),
    ]
    assert _words({"fields": {"text": "body"}, "trackers": ["a", "b"]}) == [
        *("--fields", "text=body", "--trackers", "a", "b"),
    ]


def test_the_notebook_runs(tmp_path):
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    assert all(not cell.get("outputs") for cell in cells)
