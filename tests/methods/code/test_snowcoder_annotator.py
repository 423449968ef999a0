"""Arctic-SnowCoder: the annotator."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from snowcoder_made import BAD, GOOD, made_files, taught
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
)

from pretrial.errors import UserError
from pretrial.methods.code.snowcoder import Config, SnowCoder
from pretrial.methods.code.snowcoder.network import (
    Annotator,
    Settings,
    file_windows,
    load_annotator,
)
from pretrial.models.tokenizers import learn_bpe
from pretrial.train.loop import train
from pretrial.train.run import Run


@pytest.fixture
def bert(tmp_path: Path) -> Path:
    """A base model in the layout of transformers."""
    config = BertConfig(
        vocab_size=300,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    folder = tmp_path / "bert"
    BertModel(config).save_pretrained(folder)
    learn_bpe([GOOD, BAD], 300, template="<cls> $A <sep>").save_pretrained(folder)
    return folder


def test_score_is_the_mean_of_top_middle_and_bottom() -> None:
    annotator = taught(Settings("bytes", length=24))
    size = 24 * 4
    parts = [(BAD * 2)[:size], (BAD * 3)[:size], (GOOD * 2)[:size]]
    text, moved = "".join(parts), parts[2] + parts[1] + parts[0]
    (score, windows), (other, _) = annotator.score([text, moved])
    assert windows == pytest.approx(annotator.judge(parts).tolist(), abs=1e-6)
    assert score == pytest.approx(sum(windows) / 3)
    assert score == pytest.approx(other, abs=1e-6)
    assert windows[2] > 0.7 > 0.3 > windows[0]
    annotator.settings = replace(annotator.settings, windows="top")
    (top, only), (top_of_moved, _) = annotator.score([text, moved])
    assert len(only) == 1
    assert top < 0.3 < 0.7 < top_of_moved  # quality at the end is not seen


def test_windows_are_the_first_middle_and_last_tokens() -> None:
    tokenizer = learn_bpe(["ab cd"], 263, template="<cls> $A <sep>")
    text = "".join(f"{i:05d} " for i in range(2000))
    top, middle, bottom = file_windows(text, tokenizer, 20, "three")
    for window in (top, middle, bottom):
        assert len(tokenizer(window)["input_ids"]) == 20
    assert text.startswith(top)
    assert text.endswith(bottom)
    assert abs(text.index(middle) - 6000) < 20
    assert file_windows(text, tokenizer, 20, "top") == [top]
    assert file_windows("00001 00", tokenizer, 20, "three") == ["00001 00"]
    short = text[:40]  # fits into a stretch, but not into a window
    assert len(file_windows(short, tokenizer, 20, "three")) == 3
    assert file_windows(short, tokenizer, 20, "three")[2] == short[-18:]


def test_annotator_tells_good_from_bad_and_comes_back(tmp_path: Path) -> None:
    annotator = taught(Settings("bytes", length=64))
    judged = [(GOOD + "# x", 1.0), (GOOD * 2, 1.0), (BAD, 0.0), (BAD + "]", 0.0)]
    assert annotator.quality(judged) == {"roc_auc": 1.0}
    annotator.save(tmp_path)
    again = load_annotator(tmp_path)
    assert again.settings == annotator.settings
    for one, other in zip(again.score([GOOD, BAD]), annotator.score([GOOD, BAD]), strict=True):
        assert [one[0], *one[1]] == pytest.approx([other[0], *other[1]], abs=1e-5)
    assert load_annotator(tmp_path, "top").settings.windows == "top"


def test_embedder_is_frozen_unless_it_is_to_be_tuned(bert: Path, tmp_path: Path) -> None:
    batch = [(GOOD, 1.0), (BAD, 0.0)]
    frozen = Annotator(Settings(str(bert), length=32))
    judged = [(vector, 1.0) for vector in frozen.vectors([GOOD])]
    frozen.losses(frozen.batch(judged, torch.Generator()))["loss"].backward()
    assert {n for n, p in frozen.named_parameters() if p.grad is not None} == {
        "head.weight",
        "head.bias",
    }
    tuned = Annotator(Settings(str(bert), length=32, tuned=True))
    tuned.losses(tuned.batch(batch, torch.Generator()))["loss"].backward()
    grads = [p.grad is not None for p in tuned.parameters()]
    assert len(grads) > 10
    assert all(grads)
    with torch.no_grad():
        for parameter in tuned.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    tuned.save(tmp_path / "saved")
    again = load_annotator(tmp_path / "saved")
    torch.testing.assert_close(
        again.judge([GOOD, BAD]), tuned.judge([GOOD, BAD]), rtol=1e-5, atol=1e-5
    )
    with pytest.raises(UserError, match="nothing to tune"):
        Annotator(Settings("bytes", tuned=True))


def test_a_public_classifier_is_an_annotator(bert: Path, tmp_path: Path) -> None:
    model = BertForSequenceClassification.from_pretrained(bert, num_labels=1).eval()
    folder = tmp_path / "classifier"
    model.save_pretrained(folder)
    tokenizer = learn_bpe([GOOD, BAD], 300, template="<cls> $A <sep>")
    tokenizer.save_pretrained(folder)
    annotator = load_annotator(folder)
    texts = [GOOD, "x = 1\n"]
    inputs = tokenizer(texts, padding=True, truncation=True, max_length=64, return_tensors="pt")
    with torch.no_grad():
        expected = model(**inputs).logits.squeeze(-1)
    torch.testing.assert_close(annotator.judge(texts), expected, atol=1e-4, rtol=1e-4)
    annotator.save(tmp_path / "saved")
    again = load_annotator(tmp_path / "saved")
    torch.testing.assert_close(again.judge(texts), annotator.judge(texts), rtol=1e-5, atol=1e-5)
    with pytest.raises(UserError, match="holds no annotator"):
        load_annotator(bert)


def test_grades_are_learnt_by_regression(tmp_path: Path) -> None:
    grades = [{"text": GOOD * (i % 3 + 1), "score": 1.0 + i % 5} for i in range(30)]
    (tmp_path / "grades.jsonl").write_text("\n".join(map(json.dumps, grades)))
    config = replace(
        Config.tiny(),
        phase_ratios=(0, 0, 0),
        regress=True,
        positives=(str(tmp_path / "grades.jsonl"),),
    )
    files = made_files()
    method = SnowCoder.build(config, data=files)
    train(method, Run(tmp_path / "run", files, quiet=True))
    assert method.annotator.settings.regress
    (row, *_) = method.score(files[:1])
    assert set(row) == {"path", "repo", "language", "score", "windows"}
