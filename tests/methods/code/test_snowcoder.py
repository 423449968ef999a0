"""Arctic-SnowCoder: the phases and the abilities."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from snowcoder_made import BAD, GOOD, made_files, taught
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

from pretrial.errors import UserError
from pretrial.methods.code.snowcoder import Config, SnowCoder
from pretrial.methods.code.snowcoder.data import (
    read_files,
)
from pretrial.methods.code.snowcoder.network import (
    Settings,
)
from pretrial.models.tokenizers import learn_bpe
from pretrial.train.budget import Budget
from pretrial.train.loop import train
from pretrial.train.run import Run


def test_the_phases_and_what_they_leave(tmp_path: Path) -> None:
    synthetic = [{"text": f"def f{i}():\n    return {i}\n", "language": "python"} for i in range(6)]
    (tmp_path / "new.jsonl").write_text("\n".join(map(json.dumps, synthetic)))
    config = replace(
        Config.tiny(),
        synthetic=(str(tmp_path / "new.jsonl"),),
        targets=("builtin:mini-apps?num_train=5&num_test=1&solved=5",),
    )
    files = made_files(40)
    method = SnowCoder.build(config, data=files[:32])
    run = Run(tmp_path / "run", files[:32], files[32:], Budget(8, "steps"), quiet=True)
    names = []
    for stage in method.stages(run):
        names.append((stage.name, stage.budget, stage.purpose))
        if stage.name == "phase3":
            assert not any("file" in method.tokenizer.decode(window) for window in stage.data)
    assert [(name, purpose) for name, _, purpose in names] == [
        ("phase1", "train"),
        ("annotator", "annotate"),
        ("phase2", "train"),
        ("phase3", "train"),
    ]
    assert [names[i][1] for i in (0, 2, 3)] == [Budget(n, "steps") for n in (4, 2, 2)]
    train(method, Run(tmp_path / "other", files[:32], files[32:], Budget(8, "steps"), quiet=True))
    scores = (tmp_path / "other/artefacts/scores/scores.jsonl").read_text().splitlines()
    kept = json.loads((tmp_path / "other/artefacts/corpus/kept.json").read_text())
    assert len(scores) == kept["kept"]
    report = json.loads((tmp_path / "other/artefacts/scores/report.json").read_text())
    assert 0 <= report["roc_auc"][config.targets[0]] <= 1
    log = [json.loads(line) for line in (tmp_path / "other/metrics.jsonl").open()]
    assert any("eval/roc_auc" in row for row in log if row.get("stage") == "annotator")
    assert any("eval/loss" in row for row in log if row.get("stage") == "phase2")


def test_abilities_score_and_filter(tmp_path: Path) -> None:
    config = replace(Config.tiny(), embedder="bytes", annotator_length=24)
    files = read_files(
        [{"text": GOOD * 3, "path": f"good{i}.py", "own": i} for i in range(4)]
        + [{"text": BAD * 3, "path": f"bad{i}.py", "own": i} for i in range(4)]
    )
    method = SnowCoder.build(config, data=files)
    method.annotator = taught(Settings("bytes", length=24))
    scores = list(method.score(files))
    assert [row["path"] for row in scores] == [file.path for file in files]
    assert min(row["score"] for row in scores[:4]) > max(row["score"] for row in scores[4:])
    long = read_files([{"text": GOOD * 9, "path": "long.py"}])
    (top,), (three,) = (list(method.score(long, windows=which)) for which in ("top", None))
    assert (len(top["windows"]), len(three["windows"])) == (1, 3)  # asked for once, and not kept
    kept = list(method.filter(files, keep_ratio=0.45))
    assert [row["path"] for row in kept] == [f"good{i}.py" for i in range(4)]
    assert kept[2]["own"] == 2
    assert kept[2]["score"] == pytest.approx(scores[2]["score"])
    assert list(method.filter(files, keep_ratio=1.0, min_score=1.1)) == []
    assert len(list(method.filter(files, keep_ratio=1.0, dedup_threshold=0.8))) == 2
    with pytest.raises(UserError, match="keep_ratio is a share"):
        next(method.filter(files, keep_ratio=0))


def test_loss_is_that_of_llama() -> None:
    files = made_files()
    method = SnowCoder.build(Config.tiny(), data=files)
    windows = [[5, 6, 7, 8, 9], [10, 11, 12]]
    found = method.losses(method.batch(windows, torch.Generator()))["loss"]
    ids = torch.tensor([[5, 6, 7, 8, 9], [10, 11, 12, 0, 0]])
    labels = torch.tensor([[5, 6, 7, 8, 9], [10, 11, 12, -100, -100]])
    mask = (labels != -100).long()
    expected = method.export()(input_ids=ids, attention_mask=mask, labels=labels).loss
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


def test_any_causal_checkpoint_may_be_the_start(tmp_path: Path) -> None:
    sizes = GPT2Config(vocab_size=300, n_embd=16, n_layer=1, n_head=2, n_positions=20)
    model = GPT2LMHeadModel(sizes)
    model.save_pretrained(tmp_path)
    learn_bpe([GOOD], 300).save_pretrained(tmp_path)
    method = SnowCoder.build(Config.tiny(), source=tmp_path)
    assert method.config.max_length == 20
    name = "transformer.wte.weight"
    assert torch.equal(method.export().state_dict()[name], model.state_dict()[name])
    T5ForConditionalGeneration(
        T5Config(vocab_size=300, d_model=16, d_ff=16, d_kv=8, num_layers=1, num_heads=2)
    ).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="must be a causal language model"):
        SnowCoder.build(Config.tiny(), source=tmp_path)


def test_published_shape() -> None:
    with torch.device("meta"):
        network = SnowCoder.build(Config.paper()).export()
    assert isinstance(network, LlamaForCausalLM)
    assert sum(p.numel() for p in network.parameters()) == 1_364_297_728


def test_options_that_do_not_fit() -> None:
    for options, told in (
        ({"phase_ratios": (1, -1, 0)}, "shares"),
        ({"repeats": 0}, "repeats must be"),
        ({"keep_ratio": 2.0}, "share of the tokens"),
        ({"python_ratio": 1.0}, "below 1"),
        ({"positives": ()}, "learns from good texts"),
    ):
        with pytest.raises(UserError, match=told):
            replace(Config.tiny(), **options)
