"""`--config FILE`, and the file that repeats a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from pretrial.cli import config_file, main

Fails = Callable[..., str]


@pytest.fixture
def run(texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run with settings of its own, in the default folder."""
    monkeypatch.chdir(tmp_path)
    words = ["train", "bigram", "--data", str(texts), "--budget", "20steps", "--preset", "base"]
    assert main([*words, "--lr", "0.2", "--held-out-ratio", "0.2", "--seed", "3"]) == 0
    return Path("runs/bigram")


def record(out: Path) -> dict:
    return json.loads((out / "run.json").read_text())


def test_a_run_writes_what_repeats_it(run: Path) -> None:
    assert main(["train", "--config", str(run / "run.yaml"), "--out", "other"]) == 0
    for part in ("config", "arguments", "preset", "num_examples"):
        assert record(Path("other"))[part] == record(run)[part]
    weights = "model/weights.safetensors"
    assert (run / weights).read_bytes() == (Path("other") / weights).read_bytes()
    found = yaml.safe_load((run / "run.yaml").read_text())
    assert (found["command"], found["out"], found["seed"]) == ("train bigram", "runs/bigram", 3)
    assert found["settings"] == {"lr": 0.2, "batch-size": 4}


def test_the_command_line_goes_before_the_file(run: Path) -> None:
    words = ["train", "bigram", f"--config={run / 'run.yaml'}", "--lr", "0.3", "--seed=4"]
    assert main([*words, "--out", "other"]) == 0
    assert record(Path("other"))["config"] == {"lr": 0.3, "batch_size": 4}
    assert record(Path("other"))["arguments"]["seed"] == 4
    assert record(Path("other"))["arguments"]["held_out_ratio"] == 0.2
    assert main([*words, "--out", "third", "--tiny"]) == 0  # its sizes, not those of the file
    assert record(Path("third"))["config"] == {"lr": 0.3, "batch_size": 2}


def test_the_file_goes_on_with_its_run_and_extends_it(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--config", str(run / "run.yaml")]
    assert main(words) == 0
    assert "finished before" in capsys.readouterr().out
    before = (run / "run.yaml").read_text()
    assert main([*words, "--extend", "5steps"]) == 0
    assert record(run)["extensions"] == ["5steps"]
    assert (run / "run.yaml").read_text() == before


def test_a_file_by_hand(texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = Path("mine.yaml")
    file.write_text(
        f"command: train bigram\ndata: {texts}\nbudget: 1epoch\npreset: base\nlr: 1e-2\n"
        "skip_bad: true\nfields: []\ndtype: fp32\nout: by-hand\n"
    )
    assert main(["train", "--config", str(file)]) == 0
    made = record(Path("by-hand"))
    assert (made["config"]["lr"], made["arguments"]["skip_bad"]) == (0.01, True)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("- a\n- b\n", "holds no options: write lines such as budget: 10min"),
        ("just words\n", "holds no options"),
        ("a: [1\n", "is no YAML"),
        ("lr: 1\n", "does not say of which command: add a line command: train SLUG"),
        ("command: train bigram\nlerning_rate: 1\n", "--lerning-rate; the nearest"),
        ("command: train bigram\nlr: fast\n", "fast"),
        ("command: train bigram\nlr: {a: 1}\n", "write them as lr.NAME"),
        ("command: train bigram\nsettings: 3\n", "settings in"),
        ("command: eval runs/x\n", "is of pretrial eval runs/x, not of pretrial train"),
        ("command: train mlm\n", "is of pretrial train mlm, not of pretrial train bigram"),
    ],
)
def test_mistakes_in_a_file_name_the_mend(
    text: str, told: str, texts: Path, tmp_path: Path, fails: Fails
) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)
    words = ["train", "bigram", "--config", file, "--data", texts, "--budget", "5steps"]
    assert told in fails(*words, "--out", tmp_path / "out")


def test_mistakes_about_the_file(tmp_path: Path, fails: Fails) -> None:
    assert "cannot read" in fails("train", "--config", tmp_path / "none.yaml")
    assert "needs a file" in fails("train", "--config")
    assert "needs a file" in fails("train", "--config", "--lr", "1")
    assert config_file.expanded(["list"]) == ["list"]


def test_what_repeats_a_command_lies_beside_what_it_made(run: Path, texts: Path) -> None:
    assert main(["predict", str(run), "--data", str(texts), "--out", "rows.jsonl"]) == 0
    assert main(["predict", "--config", "rows.jsonl.run.yaml", "--out", "again.jsonl"]) == 0
    assert Path("rows.jsonl").read_bytes() == Path("again.jsonl").read_bytes()
    assert main(["export", str(run), "--to", "model"]) == 0
    assert "--to OTHER" in Path("model.run.yaml").read_text()
    assert main(["export", "--config", "model.run.yaml", "--to", "model2"]) == 0
    weights = [(Path(name) / "model.safetensors").read_bytes() for name in ("model", "model2")]
    assert weights[0] == weights[1]
