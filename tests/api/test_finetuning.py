"""Fine-tuning that stays: from rows with labels to a model that other tools load."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf

from pretrial.api import data, finetuning
from pretrial.api.opening import open_model
from pretrial.bases.plain.config import FinetuneOptions
from pretrial.bases.plain.finetuned import Finetuned
from pretrial.cli import main
from pretrial.errors import UserError
from pretrial.models.tokenizers import SPECIALS, learn_bpe

WORDS = {"fruit": ["apple", "pear", "plum"], "tool": ["saw", "drill", "hammer"]}
FAST = FinetuneOptions(lr=1e-2, epochs=15, batch_size=8, max_length=16, patience=15, refit=False)
SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "initializer_range": 0.25,  # so that a narrow network learns within seconds
}


def texts(num: int = 60, seed: int = 0) -> list[dict[str, Any]]:
    rng = np.random.default_rng(seed)
    names = ["fruit", "tool", "fruit"] * (num // 3)
    return [
        {
            "text": f"{rng.choice(WORDS[name])} {rng.choice(WORDS[name])} {rng.integers(9)}",
            "label": name,
        }
        for name in names
    ]


def written(rows: list[dict[str, Any]], path: Path) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def encoder(folder: Path) -> Path:
    """A small BERT of random weights."""
    tokenizer = learn_bpe(
        [row["text"] for row in texts()], 300, specials=SPECIALS, template="<cls> $A <sep>"
    )
    config = tf.BertConfig(vocab_size=len(tokenizer), max_position_embeddings=32, **SIZES)
    tf.BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def finetuned(
    start: Path, rows: Path, out: Path, options: FinetuneOptions = FAST, **more: Any
) -> finetuning.Finished:
    place = finetuning.PlaceOptions(out=out)
    learning = finetuning.LearningOptions(held_out_ratio=0.2)
    source = data.Source((str(rows),), **more)
    return finetuning.finetune(open_model(start), source, options, learning, place)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return encoder(tmp_path_factory.mktemp("start"))


@pytest.fixture(scope="module")
def classifier(start: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that tells fruits from tools."""
    folder = tmp_path_factory.mktemp("classifier")
    rows = written(texts(), folder / "train.jsonl")
    finetuned(start, rows, folder / "run")
    return folder / "run"


def test_a_classifier_learns_and_its_export_answers_the_same_in_a_fresh_process(
    classifier: Path, tmp_path: Path
) -> None:
    rows = texts(30, seed=1)
    test = written([{**row, "id": f"row {i}"} for i, row in enumerate(rows)], tmp_path / "t.jsonl")
    out = tmp_path / "answers.csv"
    assert main(["predict", str(classifier), "--data", str(test), "--out", str(out)]) == 0
    with out.open() as file:
        found = list(csv.DictReader(file))
    assert [row["id"] for row in found] == [f"row {i}" for i in range(30)]
    assert [row["label"] for row in found] == [row["label"] for row in rows]
    to = tmp_path / "model"
    assert main(["export", str(classifier), "--to", str(to)]) == 0
    program = (
        "import json, sys, transformers; pipe = transformers.pipeline('text-classification',"
        " sys.argv[1]); print(json.dumps(pipe(json.loads(sys.argv[2]))))"
    )
    words = [sys.executable, "-c", program, str(to), json.dumps([row["text"] for row in rows])]
    said = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    plain = json.loads(said.strip().splitlines()[-1])
    assert [each["label"] for each in plain] == [row["label"] for row in found]
    wanted = [float(row["probability"]) for row in found]
    assert [each["score"] for each in plain] == pytest.approx(wanted, abs=1e-4)
    assert "pretrial finetune" in (to / "README.md").read_text()


def test_it_leaves_the_page_of_the_run(classifier: Path) -> None:
    html = (classifier / "report.html").read_text()
    assert "<h1>Finished after " in html
    assert "pretrial trial" not in html  # there is no method of that name to be tried


def test_it_is_measured_beside_its_floors_without_a_task(
    classifier: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    test = written(texts(30, seed=1), tmp_path / "test.jsonl")
    out = tmp_path / "result.json"
    assert main(["eval", str(classifier), "--data", str(test), "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    for name in ("accuracy", "macro_f1", "calibration_error", "log_loss", "TF-IDF", "majority"):
        assert name in shown
    result = json.loads(out.read_text())
    assert result["metrics"]["accuracy"]["value"] == 1.0
    assert (tmp_path / "confusion.png").is_file()


def test_a_run_that_was_stopped_goes_on_and_ends_the_same(start: Path, tmp_path: Path) -> None:
    rows = written(texts(), tmp_path / "train.jsonl")
    options = FinetuneOptions(rates=(1e-3, 3e-3), epochs=2, batch_size=8, max_length=16, patience=9)
    whole = finetuned(start, rows, tmp_path / "whole", options)
    from pretrial.train import loop
    from pretrial.train.stop import Stopped

    real = loop._StageLoop._after_step

    def stop_once(self: Any) -> None:
        if self.stage.name == "finetune" and self.step == 3:
            self.stop = True
        real(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop._StageLoop, "_after_step", stop_once)
        with pytest.raises(Stopped):
            finetuned(start, rows, tmp_path / "parts", options)
    from pretrial.train.claim import release

    release(tmp_path / "parts")
    parts = finetuned(start, rows, tmp_path / "parts", options)
    assert parts.method.chosen_lr == whole.method.chosen_lr
    for one, other in zip(whole.method.parameters(), parts.method.parameters(), strict=True):
        assert torch.equal(one, other)
    assert (tmp_path / "parts" / "model" / "config.json").is_file()


def test_a_run_is_finetuned_again_from_its_own_encoder(classifier: Path, tmp_path: Path) -> None:
    rows = [
        {"text": row["text"], "label": 500 + 90 * (row["label"] == "tool")} for row in texts(90)
    ]
    done = finetuned(
        classifier,
        written(rows, tmp_path / "train.jsonl"),
        tmp_path / "run",
        FinetuneOptions(task="regress", lr=1e-2, epochs=12, batch_size=8, max_length=16),
    )
    method: Any = open_model(tmp_path / "run").load()
    said = [row["value"] for row in method.answer(method.read(rows))]
    again = [row["value"] for row in done.method.answer(done.method.read(rows))]
    assert said == pytest.approx(again, rel=1e-5)
    wanted = np.array([row["label"] for row in rows])
    assert np.abs(said - wanted).mean() < 0.5 * np.abs(wanted - wanted.mean()).mean()
    # the exported network gives the values themselves
    network = tf.AutoModelForSequenceClassification.from_pretrained(tmp_path / "run" / "model")
    inputs = method.tokenizer(rows[0]["text"], return_tensors="pt")
    assert float(network.eval()(**inputs).logits.detach()) == pytest.approx(said[0], rel=1e-4)


def test_words_are_tagged(start: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = []
    for _ in range(60):
        names = rng.choice(["fruit", "tool"], size=rng.integers(2, 5)).tolist()
        words = [str(rng.choice(WORDS[name])) for name in names]
        rows.append({"words": words, "tags": names})
    path = written(rows, tmp_path / "train.jsonl")
    options = FinetuneOptions(task="tag", lr=1e-2, epochs=6, batch_size=8, max_length=16)
    finetuned(start, path, tmp_path / "run", options)
    out = tmp_path / "tags.jsonl"
    assert main(["predict", str(tmp_path / "run"), "--data", str(path), "--out", str(out)]) == 0
    found = [json.loads(line) for line in out.read_text().splitlines()]
    assert all(
        len(row["tags"]) == len(given["words"]) for row, given in zip(found, rows, strict=True)
    )
    assert main(["eval", str(tmp_path / "run"), "--data", str(path), "--out", str(out)]) == 0
    assert json.loads(out.read_text())["metrics"]["accuracy"]["value"] > 0.8
    model = tf.AutoModelForTokenClassification.from_pretrained(tmp_path / "run" / "model")
    assert set(model.config.label2id) == {"fruit", "tool"}


def test_documents_are_ranked_for_queries(start: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [
        {"query": f"the {query} {n}", "document": str(rng.choice(WORDS[kind])),
         "relevance": float(kind == "tool")}
        for n in range(15) for query in WORDS for kind in WORDS
    ]  # fmt: skip
    path = written(rows, tmp_path / "train.jsonl")
    options = FinetuneOptions(
        task="rank", lr=1e-2, epochs=20, patience=20, batch_size=8, max_length=24
    )
    finetuned(start, path, tmp_path / "run", options)
    out = tmp_path / "result.json"
    assert main(["eval", str(tmp_path / "run"), "--data", str(path), "--out", str(out)]) == 0
    metrics = json.loads(out.read_text())["metrics"]
    assert {"auc", "mrr"} <= metrics.keys()
    assert metrics["auc"]["value"] > 0.8
    method: Any = open_model(tmp_path / "run").load()
    assert {"id", "score"} == set(next(method.answer(method.read(rows))))


MISTAKES: dict[str, tuple[Callable[[], list[dict[str, Any]]], dict[str, Any], str]] = {
    "one class": (lambda: [{**r, "label": "x"} for r in texts()], {}, "the same label, 'x'"),
    "once": (lambda: [*texts(), {"text": "whale", "label": "beast"}], {}, "seen once.*'beast'"),
    "empty": (lambda: [*texts(), {"text": " ", "label": "tool"}], {}, "'text' of row 60 is empty"),
    "floats": (
        lambda: [{**r, "label": i / 7} for i, r in enumerate(texts())],
        {},
        "say --task regress",
    ),
    "no number": (texts, {"task": "regress"}, "'fruit' is no number"),
    "column": (
        lambda: [{"body": r["text"], "label": r["label"]} for r in texts()],
        {},
        "--fields text=body",
    ),
    "label column": (
        lambda: [{"text": r["text"], "labels": r["label"]} for r in texts()],
        {},
        "--fields label=labels",
    ),
    "few": (lambda: texts(12), {}, "12 rows with a label are too few"),
    "images": (texts, {"task": "tag"}, "no field 'words'"),
    "nothing": (texts, {"batch_size": 0}, "batch_size must be at least 1, not 0"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_end_in_one_sentence(name: str, start: Path, tmp_path: Path) -> None:
    make, options, sentence = MISTAKES[name]
    rows = written(make(), tmp_path / "train.jsonl")
    with pytest.raises(UserError, match=sentence):
        finetuned(start, rows, tmp_path / "run", FinetuneOptions(**options))
    assert not (tmp_path / "run" / "run.json").exists()


def test_mistakes_in_measuring_end_in_one_sentence(classifier: Path, tmp_path: Path) -> None:
    method: Any = open_model(classifier).load()
    with pytest.raises(UserError, match=r"row 0 has the label 'whale'.*it knows fruit, tool"):
        method.judged([{"text": "a", "label": "whale"}])
    with pytest.raises(UserError, match="no row has a label"):
        method.judged([{"text": "a"}])


def test_skip_bad_leaves_out_empty_texts(start: Path, tmp_path: Path) -> None:
    rows = written([*texts(), {"text": " ", "label": "tool"}], tmp_path / "train.jsonl")
    options = FinetuneOptions(lr=3e-3, epochs=1, batch_size=8, max_length=16)
    done = finetuned(start, rows, tmp_path / "run", options, skip_bad=True)
    assert done.num_learnt + done.num_held_out == 60


def test_other_options_want_another_folder(classifier: Path, start: Path) -> None:
    rows = classifier.parent / "train.jsonl"
    again = finetuned(start, rows, classifier)
    assert isinstance(again.method, Finetuned)
    other = FinetuneOptions(
        lr=1e-2, epochs=5, batch_size=8, max_length=16, patience=15, refit=False
    )
    with pytest.raises(UserError, match="--epochs 15, not 5"):
        finetuned(start, rows, classifier, other)


def test_without_out_another_command_takes_the_next_folder(
    start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = written(texts(), tmp_path / "train.jsonl")
    words = ["finetune", str(start), "--data", str(rows), "--epochs", "1", "--max-length", "16"]
    assert main([*words, "--lr", "1e-2"]) == 0
    assert main([*words, "--lr", "2e-2"]) == 0
    assert "runs/finetuned holds another run: this one goes into runs/finetuned-2" in (
        capsys.readouterr().out
    )
    assert main([*words, "--lr", "1e-2"]) == 0
    assert "runs/finetuned holds this run already" in capsys.readouterr().out
    assert "runs/finetuned-2" in Path("runs/finetuned-2/run.yaml").read_text()


@pytest.mark.parametrize("kind", ["GPT2", "T5"])
def test_language_models_are_finetuned_too(kind: str, tmp_path: Path) -> None:
    words = [row["text"] for row in texts()]
    specials = {"eos_token": "</s>", "unk_token": "<unk>"}
    if kind == "T5":
        tokenizer = learn_bpe(
            words, 300, specials={"pad_token": "<pad>", **specials}, template="$A </s>"
        )
        network: Any = tf.T5ForConditionalGeneration(
            tf.T5Config(
                vocab_size=len(tokenizer),
                d_model=16,
                d_kv=8,
                d_ff=32,
                num_layers=1,
                num_heads=2,
                pad_token_id=tokenizer.pad_token_id,
                eos_token_id=tokenizer.eos_token_id,
                decoder_start_token_id=tokenizer.pad_token_id,
            )
        )
    else:
        tokenizer = learn_bpe(words, 300, specials=specials)
        network = tf.GPT2LMHeadModel(
            tf.GPT2Config(vocab_size=len(tokenizer), n_embd=16, n_layer=1, n_head=2, n_positions=32)
        )
    network.save_pretrained(tmp_path / "start")
    tokenizer.save_pretrained(tmp_path / "start")
    rows = written(texts(), tmp_path / "train.jsonl")
    options = FinetuneOptions(lr=1e-2, epochs=1, batch_size=8, max_length=16)
    done = finetuned(tmp_path / "start", rows, tmp_path / "run", options)
    method: Any = open_model(tmp_path / "run").load()
    given = method.read(texts(6, seed=1))
    assert type(method.export()).__name__ == f"{kind}ForSequenceClassification"
    said = [row["probability"] for row in method.answer(given)]
    assert said == pytest.approx([row["probability"] for row in done.method.answer(given)])
    # alone and beside longer ones, the same
    alone = [row["probability"] for row in method.answer(given, batch_size=1)]
    assert said == pytest.approx(alone, abs=1e-4)


def test_a_refit_learns_from_the_rows_held_out_too(start: Path, tmp_path: Path) -> None:
    rows = written(texts(), tmp_path / "train.jsonl")
    options = FinetuneOptions(lr=1e-2, epochs=2, batch_size=8, max_length=16, refit=True)
    done = finetuned(start, rows, tmp_path / "run", options)
    log = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").open()]
    seen = {row["stage"]: row["examples"] for row in log if "examples" in row}
    assert seen["refit"] > seen["finetune"] >= 2 * done.num_learnt
    # what the rows held out say is of the model that has not learnt from them
    evaluated = [row["eval/loss"] for row in log if "eval/loss" in row]
    assert done.method.scores["loss"] in [pytest.approx(loss, rel=1e-4) for loss in evaluated]
    plain = finetuned(start, rows, tmp_path / "plain", replace(options, refit=False))
    pairs = zip(done.method.parameters(), plain.method.parameters(), strict=True)
    assert not all(torch.equal(one, other) for one, other in pairs)
