"""`predict` and `export` on a trained run."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from pretrial import discover
from pretrial.api import data
from pretrial.card import Card, Claim, Field
from pretrial.cli import main, use
from pretrial.convert.card import Facts, model_card
from pretrial.errors import UserError

Fails = Callable[..., str]


@pytest.fixture
def run(texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A trained run."""
    out = tmp_path / "run"
    words = ["train", "bigram", "--data", texts, "--budget", "50steps", "--out", out]
    words += ["--preset", "base"]
    assert main([str(word) for word in words]) == 0
    capsys.readouterr()
    return out


def rows(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_predict_prints_one_row_an_example(
    run: Path, texts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(run), "--data", str(texts)]) == 0
    found = rows(capsys.readouterr().out)
    assert [row["text"] for row in found] == [row["text"] for row in rows(texts.read_text())]
    assert all(row["log_prob"] < 0 for row in found)


def test_predict_takes_an_ability_and_its_options(
    run: Path, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "there" / "rows.jsonl"
    words = ["predict", run, "--data", texts, "--ability", "generate", "--num-letters", 3]
    assert main([*map(str, words), "--out", str(out)]) == 0
    assert capsys.readouterr().out == ""
    before = rows(texts.read_text())
    for old, new in zip(before, rows(out.read_text()), strict=True):
        assert new["text"].startswith(old["text"])
        assert len(new["text"]) == len(old["text"]) + 3


def test_a_failed_prediction_leaves_no_file(
    run: Path, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail_after_one(self: Any, examples: list[str]) -> Any:
        yield {"text": examples[0]}
        raise ZeroDivisionError

    monkeypatch.setattr(discover.load("bigram").method, "score", fail_after_one)
    with pytest.raises(ZeroDivisionError):
        main(["predict", str(run), "--data", str(texts), "--out", str(tmp_path / "rows.jsonl")])
    assert not list(tmp_path.glob("*rows.jsonl"))


def test_an_ability_may_give_one_tensor(
    run: Path, texts: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def vectors(self: Any, examples: list[str]) -> torch.Tensor:
        return torch.arange(2.0 * len(examples)).view(-1, 2)

    monkeypatch.setattr(discover.load("bigram").method, "score", vectors)
    assert main(["predict", str(run), "--data", str(texts)]) == 0
    assert rows(capsys.readouterr().out)[1] == {"score": [2.0, 3.0]}


def test_eval_measures_a_task(
    run: Path, texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "result.json"
    words = ["eval", run, "--task", "perplexity", "--data", texts, "--out", out]
    assert main([str(word) for word in words]) == 0
    shown = capsys.readouterr().out
    result = json.loads(out.read_text())
    found = result["metrics"]["bits_per_byte"]
    assert found["low"] < found["value"] < found["high"] < math.log2(27)
    assert len(result["items"]["bits_per_byte"]) == 40
    assert f"bits_per_byte    {found['value']:.4g}" in shown
    assert "num_texts: 40" in shown


def test_mistakes_of_eval_name_the_mend(run: Path, texts: Path, fails: Fails) -> None:
    assert "can do perplexity" in fails("eval", run, "--data", texts)
    assert "perplexity" in fails("eval", run, "--task", "perplexty", "--data", texts)
    assert "--field" in fails(
        "eval", run, "--task", "perplexity", "--data", texts, "--feild", "text"
    )
    assert "perplexity" in fails("eval", run, "--task", "passk", "--data", texts)
    assert "found: text" in fails(
        "eval", run, "--task", "perplexity", "--data", texts, "--field", "body"
    )


def test_export_writes_weights_and_card(run: Path, tmp_path: Path) -> None:
    to = tmp_path / "model"
    assert main(["export", str(run), "--to", str(to)]) == 0
    trained = load_file(run / "model" / "weights.safetensors")["logits"]
    torch.testing.assert_close(load_file(to / "model.safetensors")["weight"], trained)
    card = (to / "README.md").read_text()
    assert "--budget 50steps" in card
    assert '"batch_size": 4' in card
    assert "library_name" not in card


def test_mistakes_name_the_mend(run: Path, texts: Path, tmp_path: Path, fails: Fails) -> None:
    assert "no run" in fails("predict", tmp_path, "--data", texts)
    assert "generate" in fails("predict", run, "--data", texts, "--ability", "generat")
    assert "--num-letters" in fails(
        "predict", run, "--data", texts, "--ability", "generate", "--num-leters", 3
    )
    assert "no option --num-letters" in fails("predict", run, "--data", texts, "--num-letters", 3)
    assert "named by --ability" in fails("predict", run, "generate", "--data", texts)
    assert "--data" in fails("predict", run)
    assert "folder of a run" in fails("predict")
    assert "auto or cpu" in fails("predict", run, "--data", texts, "--device", "tpu")
    assert "/proc" in fails("predict", run, "--data", texts, "--out", "/proc/there/rows.jsonl")
    assert "/proc" in fails("export", run, "--to", "/proc/there/model")
    assert "--to" in fails("export", run)
    assert "exists already" in fails("export", run, "--to", tmp_path)


def test_the_card_of_a_model_names_data_licence_and_base() -> None:
    card = Card(
        slug="coded",
        title="A Title",
        authors="Someone",
        year=2020,
        arxiv="2001.00001",
        summary="An idea",
        baseline="none",
        abilities=("encode",),
        fields=(Field("text", "raw text"),),
        claims=(Claim("better", "Table 1"),),
    )
    record = {
        "config": {"lr": 0.1},
        "arguments": {"data": "builtin:mini-apps?split=train", "init": "owner/name", "seed": 0},
        "num_examples": 10,
        "num_held_out": 2,
        "environment": {"torch": "2.13.0"},
        "commit": "abc",
    }
    note = data.note(record["arguments"]["data"])
    text = model_card(card, record, Facts(note, task="fill-mask"))
    head = text.split("---")[1]
    assert "library_name: transformers" in head
    assert 'base_model: "owner/name"' in head
    for part in ("licence: ", "arXiv:2001.00001", "torch 2.13.0", "commit of pretrial: abc"):
        assert part in text
    assert data.note("my.jsonl") == ""


def test_an_ability_that_is_learnt_from_labels_is_told_from_one_that_is_not_there() -> None:
    card = SimpleNamespace(slug="toy", abilities=("encode", "classify"))
    loaded: Any = SimpleNamespace(card=card, kind=SimpleNamespace(encode=print))
    assert use._ability(loaded, "") == "encode"
    with pytest.raises(UserError, match="once it is fine-tuned: pretrial eval RUN --task finetune"):
        use._ability(loaded, "classify")
    with pytest.raises(UserError, match="cannot 'write' as it is; the nearest: encode"):
        use._ability(loaded, "write")
