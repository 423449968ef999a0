"""`train --lora-rank`: only adapters are learned and kept; export merges them or gives them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import (
    AutoModelForMaskedLM,
    BertModel,
    ElectraConfig,
    ElectraForMaskedLM,
    LlamaForCausalLM,
)

from pretrial.cli import main
from pretrial.convert.card import adapter_card
from pretrial.models.tokenizers import learn_bpe

TEXTS = [f"number {i} of the list is {i * 37 % 101}" for i in range(40)]
IDS = [[5, 9, 20, 31, 7]]

LOADS = """
import json, sys, torch
from peft import PeftModel
from transformers import AutoModelForMaskedLM
sys.modules["pretrial"] = None
base, folder, ids = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
model = PeftModel.from_pretrained(AutoModelForMaskedLM.from_pretrained(base), folder).eval()
with torch.no_grad():
    print(json.dumps(model(torch.tensor(ids)).logits[0, :, :8].tolist()))
"""


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """An ELECTRA of two layers with a tokenizer."""
    folder = tmp_path / "checkpoint"
    sizes = {"hidden_size": 32, "embedding_size": 32, "intermediate_size": 48}
    tokenizer = learn_bpe(TEXTS, 320, template="<cls> $A <sep>")
    sizes |= {"num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": len(tokenizer)}
    config = ElectraConfig(**sizes, pad_token_id=tokenizer.pad_token_id)
    ElectraForMaskedLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS))
    return path


@pytest.fixture
def train(checkpoint: Path, data: Path) -> Callable[..., list[str]]:
    """The command."""

    def words(out: Path, *more: str) -> list[str]:
        own = ["--max-length", "16", "--batch-size", "8", "--budget", "4steps", "--lr", "1e-2"]
        where = ["--data", str(data), "--init", str(checkpoint), "--out", str(out)]
        return ["train", "mlm", *own, *where, *more]

    return words


def test_export_merges_the_adapter_or_writes_it_as_peft_reads_it(
    train: Callable[..., list[str]], checkpoint: Path, tmp_path: Path
) -> None:
    run, merged, adapter = (tmp_path / name for name in ("run", "merged", "adapter"))
    assert main(train(run, "--lora-rank", "4", "--lora-targets", "query", "key")) == 0
    assert main(["export", str(run), "--to", str(merged)]) == 0
    assert main(["export", str(run), "--to", str(adapter), "--adapter"]) == 0

    before, after = (load_file(f / "model.safetensors") for f in (checkpoint, merged))
    moved = {name.split(".")[-2] for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"query", "key"}
    kept = load_file(run / "stages" / "train" / "done" / "weights.safetensors")
    assert kept
    assert all(".lora_" in name for name in kept)

    config = json.loads((adapter / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == str(checkpoint)
    assert sorted(config["target_modules"]) == ["key", "query"]
    assert (config["r"], config["lora_alpha"]) == (4, 8)
    words = [sys.executable, "-c", LOADS, str(checkpoint), str(adapter), json.dumps(IDS)]
    found = subprocess.run(words, capture_output=True, text=True, check=True)
    model = AutoModelForMaskedLM.from_pretrained(merged).eval()
    with torch.no_grad():
        wanted = model(torch.tensor(IDS)).logits[0, :, :8]
    torch.testing.assert_close(torch.tensor(json.loads(found.stdout)), wanted, rtol=0, atol=1e-5)
    card = (adapter / "README.md").read_text()
    [snippet] = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    known: dict[str, Any] = {"folder": str(adapter)}
    exec(snippet, known)
    with torch.no_grad():
        found = known["model"](torch.tensor(IDS)).logits[0, :, :8]
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-5)
    assert main(["predict", str(run), "--data", str(tmp_path / "texts.jsonl"), "--limit", "1"]) == 0


def test_a_run_goes_on_with_the_same_options_only(
    train: Callable[..., list[str]], tmp_path: Path, fails: Callable[..., str]
) -> None:
    run = tmp_path / "run"
    assert main(train(run, "--lora-rank", "4")) == 0
    assert main(train(run, "--lora-rank", "4")) == 0
    assert "--lora-rank 4, not 2" in fails(*train(run, "--lora-rank", "2"))
    assert "--lora-alpha 0, not unset" in fails(*train(run))


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--lora-rank", "4", "--lora-targets", "quary"], "the nearest: query"),
        (["--lora-rank", "64"], "above the width of every layer"),
        (["--lora-rank", "-1"], "--lora-rank and --lora-alpha must be above 0"),
        (["--lora-rank", "4", "--lora-dropout", "1.0"], "from 0 to below 1"),
        (["--lora-alpha", "4"], "need a --lora-rank"),
        (["--lora-rank", "4", "--init", ""], "name one with --init"),
    ],
)
def test_what_cannot_be_is_said_before_the_training(
    options: list[str], told: str, train: Callable[..., list[str]], tmp_path: Path, fails
) -> None:
    assert told in fails(*train(tmp_path / "run", *options))
    assert not (tmp_path / "run" / "stages").exists()


def test_a_network_of_the_methods_own_is_refused(tmp_path: Path, fails) -> None:
    first = ["train", "mae", "--tiny", "--data", "builtin:digits", "--budget", "1steps"]
    assert main([*first, "--out", str(tmp_path / "one")]) == 0
    again = ["--init", str(tmp_path / "one" / "model"), "--lora-rank", "2"]
    assert "LoRA does not reach" in fails(*first, *again, "--out", str(tmp_path / "two"))


def test_a_run_without_an_adapter_exports_none(
    train: Callable[..., list[str]], tmp_path: Path, fails
) -> None:
    assert main(train(tmp_path / "run")) == 0
    told = fails("export", tmp_path / "run", "--to", tmp_path / "to", "--adapter")
    assert "trained without --lora-rank" in told


def test_the_card_of_an_adapter_says_how_a_packaged_checkpoint_is_loaded() -> None:
    text = adapter_card("smollm2", LlamaForCausalLM)
    assert "base, _ = load_gguf('smollm2')" in text
    assert "base_model" not in text
    assert "BertModel.from_pretrained(place_of('minilm'))" in adapter_card("minilm", BertModel)
    assert 'base_model: "owner/name"' in adapter_card("owner/name", BertModel)
