"""`train --extend`: a finished run goes on, openly, and bit for bit after a stop."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pretrial import discover
from pretrial.cli import main

Fails = Callable[..., str]


def command(texts: Path, out: Path, *more: object) -> list[str]:
    words = ["train", "bigram", "--data", texts, "--budget", "20steps", "--preset", "base"]
    return [str(word) for word in [*words, "--out", out, *more]]


def weights(out: Path) -> torch.Tensor:
    return load_file(out / "model" / "weights.safetensors")["logits"]


def rows(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture
def finished(texts: Path, tmp_path: Path) -> Path:
    """A finished run."""
    assert main(command(texts, tmp_path / "run")) == 0
    return tmp_path / "run"


def test_a_finished_run_is_trained_on_and_says_how(
    finished: Path, texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, old_rows = weights(finished), rows(finished)
    capsys.readouterr()
    assert main(command(texts, finished, "--extend", "10steps")) == 0
    told = capsys.readouterr().out
    assert (
        "letters.extended-1: letters is trained on for 10 steps; the learning rate rises to 0.05"
        " in the first 10% and falls as before\n"
    ) in told
    assert not torch.equal(weights(finished), before)
    assert rows(finished)[: len(old_rows)] == old_rows
    assert rows(finished)[-1]["stage"] == "letters.extended-1"
    record = json.loads((finished / "run.json").read_text())
    assert record["extensions"] == ["10steps"]
    assert record["arguments"]["budget"] == "20steps"

    again = weights(finished)
    assert main(command(texts, finished)) == 0  # nothing is left to do
    assert torch.equal(weights(finished), again)
    assert main(command(texts, finished, "--extend", "10steps")) == 0  # once more
    assert json.loads((finished / "run.json").read_text())["extensions"] == ["10steps"] * 2
    assert not torch.equal(weights(finished), again)
    assert main(["predict", str(finished), "--data", str(texts), "--limit", "1"]) == 0


def test_an_extension_that_was_stopped_goes_on_bit_for_bit(
    finished: Path, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: Fails
) -> None:
    stopped = tmp_path / "stopped"
    shutil.copytree(finished, stopped)
    assert main(command(texts, finished, "--extend", "20steps")) == 0
    before = weights(stopped)
    method: Any = discover.load("bigram").method
    make_batch, num_batches = method.batch, 0

    def stopping(self: Any, *args: Any) -> Any:
        nonlocal num_batches
        num_batches += 1
        if num_batches == 7:
            os.kill(os.getpid(), signal.SIGINT)
        return make_batch(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(method, "batch", stopping)
        assert "same command" in fails(*command(texts, stopped, "--extend", "20steps"))
    assert torch.equal(weights(stopped), before)  # the model of before is still there
    told = fails(*command(texts, stopped, "--extend", "30steps"))
    assert "is being extended by 20steps: finish that first" in told
    assert main(command(texts, stopped, "--extend", "20steps")) == 0
    assert torch.equal(weights(stopped), weights(finished))


def test_the_data_goes_on_where_the_run_ended(
    finished: Path, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method: Any = discover.load("bigram").method
    make_batch = method.batch
    seen: list[str] = []

    def noting(self: Any, examples: Any, generator: Any) -> Any:
        if self.training:
            seen.extend(map(str, examples))
        return make_batch(self, examples, generator)

    monkeypatch.setattr(method, "batch", noting)
    size = json.loads((finished / "run.json").read_text())["num_examples"]  # 36, and 80 were seen
    assert main(command(texts, finished, "--extend", "7steps")) == 0
    assert len(seen) == 28
    assert len(set(seen)) == size - 80 % size  # the rest of the third epoch, without repetition


def test_mistakes_name_the_mend(finished: Path, texts: Path, tmp_path: Path, fails: Fails) -> None:
    def told(out: Path, *more: object) -> str:
        return fails(*command(texts, out, *more))

    assert "holds no run to extend" in told(tmp_path / "none", "--extend", "5steps")
    assert "a positive number and a unit" in told(finished, "--extend", "more")
    assert "leave --overwrite out" in told(finished, "--extend", "5steps", "--overwrite")
    assert "leave --dry-run out" in told(finished, "--extend", "5steps", "--dry-run")
    assert "--lr 0.1, not 0.2" in told(finished, "--extend", "5steps", "--lr", 0.2)
    shutil.rmtree(finished / "model")
    assert "not finished, so there is nothing to extend" in told(finished, "--extend", "5steps")
    assert main(command(texts, finished)) == 0
    with texts.open("a") as file:
        file.write('{"text": "one more"}\n' * 3)
    assert "the data changed" in told(finished, "--extend", "5steps")


def test_without_out_the_run_of_the_command_is_extended(
    texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: Fails
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["train", "bigram", "--data", str(texts), "--budget", "20steps", "--preset", "base"]
    assert "no run of this command" in fails(*words, "--extend", "5steps")
    assert main([*words, "--lr", "0.3"]) == 0
    assert main(words) == 0
    assert main([*words, "--extend", "5steps"]) == 0
    assert Path("runs/bigram-2/stages/letters.extended-1/done").is_dir()
    assert not Path("runs/bigram/stages/letters.extended-1").exists()
