"""What CodeT5 exports once it has learned to classify: its classifier goes with it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from pretrial.convert.export import export_model
from pretrial.errors import UserError
from pretrial.methods.code.codet5 import CARD, CodeT5, Config
from pretrial.train.budget import Budget
from pretrial.train.loop import train
from pretrial.train.run import Run

ROWS = [
    {**row, "label": "sum" if " + " in row["code"] else "other"} for row in CodeT5.sample_rows()
]
PAIRS = [
    {"code": a["code"], "other": b["code"], "label": a["label"]} for a in ROWS[:4] for b in ROWS[:4]
]
RECORD = {
    "config": {}, "arguments": {"data": "t.jsonl", "init": ""}, "num_examples": 1,
    "num_held_out": 0, "environment": {}, "commit": "",
}  # fmt: skip


def trained(folder: Path, rows: list[dict[str, Any]], task: Any) -> Any:
    torch.manual_seed(0)
    config = replace(Config.tiny(), task=task, batch_size=8, lr=1e-2, max_source=64)
    method = CodeT5.build(config, data=CodeT5.read(rows))
    run = Run(folder, CodeT5.read(rows), (), Budget(30, "steps"), quiet=True)
    train(method, run)
    run.close()
    return method.eval()


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return trained(tmp_path_factory.mktemp("run"), ROWS, "classify")


@torch.no_grad()
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_classifier_loads_as_one_of_transformers(
    classifier: Any, dtype: str, tmp_path: Path
) -> None:
    usage = export_model(classifier, tmp_path / "out", CARD, RECORD, dtype=dtype)
    assert "AutoModelForSequenceClassification" in usage
    model, report = AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "out", output_loading_info=True
    )
    assert not any(report.values())
    assert model.dtype == getattr(torch, dtype)
    assert model.config.id2label == {0: "other", 1: "sum"}
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    texts = [row["code"] for row in ROWS[:6]]
    inputs = tokenizer(texts, padding=True, return_tensors="pt")
    found = model.eval()(**inputs).logits.float()
    if dtype == "float32":
        wanted = classifier.head.logits(texts)
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    else:  # the head adds nothing to what bfloat16 loses anyway
        plain = classifier.head.to(torch.bfloat16)
        wanted = plain.logits(texts).float()
        plain.float()
        torch.testing.assert_close(found, wanted, rtol=2e-2, atol=2e-2)


def test_the_pipeline_names_the_labels(classifier: Any, tmp_path: Path) -> None:
    export_model(classifier, tmp_path / "out", CARD, RECORD)
    ask = pipeline("text-classification", str(tmp_path / "out"), top_k=None)
    for example, ours in zip(
        CodeT5.read(ROWS[:4]), classifier.classify(CodeT5.read(ROWS[:4])), strict=True
    ):
        theirs = {each["label"]: each["score"] for each in ask([example.source])[0]}
        assert theirs == pytest.approx(ours["probabilities"], abs=1e-5)


@torch.no_grad()
def test_the_head_is_exact_however_large_states_and_norms_are(tmp_path: Path) -> None:
    torch.manual_seed(0)
    method = CodeT5.build(
        replace(Config.tiny(), task="classify", width=64), data=CodeT5.read(ROWS)
    ).eval()
    method.network.decoder.final_layer_norm.weight.mul_(torch.linspace(0.1, 90.0, 64))
    exported: Any = method.export().eval()
    texts = [row["code"] for row in ROWS]
    inputs = method.head.inputs(texts)
    found = exported(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
    wanted = method.head(**inputs)
    assert wanted.abs().max() > 5
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-4)
    with pytest.raises(UserError, match="--dtype bf16"):
        export_model(method, tmp_path / "out", CARD, RECORD, dtype="float16")


def test_a_classifier_of_pairs_lies_beside_the_model_with_a_recipe(tmp_path: Path) -> None:
    method = trained(tmp_path / "run", PAIRS, "compare")
    export_model(method, tmp_path / "out", CARD, RECORD)
    code = "\n".join(
        re.findall(r"```python\n(.*?)```", (tmp_path / "out/README.md").read_text(), re.S)
    )
    asked = (
        "\nimport sys\npairs = json.loads(sys.argv[1])\n"
        "assert 'pretrial' not in sys.modules\n"
        "print(json.dumps([probabilities(*pair) for pair in pairs]))\n"
    )
    examples = CodeT5.read(PAIRS[:6])
    pairs = [(each.source, each.other) for each in examples]
    done = subprocess.run(
        [sys.executable, "-c", code + asked, json.dumps(pairs)],
        cwd=tmp_path / "out", env=os.environ | {"HF_HUB_OFFLINE": "1"}, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    for theirs, ours in zip(
        json.loads(done.stdout.splitlines()[-1]), method.compare(examples), strict=True
    ):
        assert theirs == pytest.approx(ours["probabilities"], abs=1e-5)
