"""Masked language modelling goes on from any class of masked language models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch.nn.functional import cross_entropy
from transformers import AutoModelForMaskedLM

from pretrial.corrupt.masks import IGNORE
from pretrial.errors import UserError
from pretrial.methods.text.mlm import MLM, Config
from pretrial.models.tokenizers import learn_bpe

TEXTS = MLM.read(MLM.sample_rows())
SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
}
DISTIL = {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 32, "max_position_embeddings": 40}
KINDS = {
    "Bert": SIZES,
    "Roberta": SIZES,
    "Deberta": SIZES,
    "DebertaV2": SIZES,
    "ModernBert": SIZES,
    "Electra": SIZES | {"embedding_size": 16},
    "DistilBert": DISTIL,
    "Albert": SIZES | {"embedding_size": 8},
}


def checkpoint(name: str, folder: Path) -> tuple[Any, Any]:
    """A small random network of that class in a folder, with a tokenizer."""
    tokenizer = learn_bpe(TEXTS, 300, specials=MLM.specials, template=MLM.template)
    ids = {
        f"{role}_token_id": getattr(tokenizer, f"{role}_token_id") for role in ("pad", "cls", "sep")
    }
    config = getattr(transformers, f"{name}Config")(
        vocab_size=len(tokenizer), bos_token_id=ids["cls_token_id"], **ids, **KINDS[name]
    )
    if name == "ModernBert":
        config.eos_token_id = ids["sep_token_id"]
    network = getattr(transformers, f"{name}ForMaskedLM")(config).eval()
    with torch.no_grad():
        for parameter in network.parameters():  # so that no bias or norm is a trivial one
            parameter.add_(torch.randn_like(parameter) * 0.1)
    network.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return network, tokenizer


@pytest.mark.parametrize("name", KINDS)
def test_the_loss_is_that_of_plain_transformers_and_the_export_comes_back(
    name: str, tmp_path: Path
) -> None:
    network, tokenizer = checkpoint(name, tmp_path / "from")
    method = MLM.build(Config.tiny(), source=tmp_path / "from").eval()
    assert type(method.network) is type(network)
    assert (method.config.width, method.config.num_layers) == (16, 2)
    windows = [tokenizer(text, add_special_tokens=False).input_ids[:20] for text in TEXTS[:6]]
    batch = method.batch(windows, torch.Generator().manual_seed(0))
    mask, labels = batch["attention_mask"].long(), batch["labels"].clone()
    labels[~torch.as_tensor(batch["loss_mask"])] = IGNORE
    method.save(tmp_path / "saved")
    for folder in ("from", "saved"):
        plain = AutoModelForMaskedLM.from_pretrained(tmp_path / folder).eval()
        logits = plain(input_ids=batch["input_ids"], attention_mask=mask).logits
        wanted = cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORE)
        torch.testing.assert_close(method.losses(batch)["loss"], wanted, rtol=1e-5, atol=1e-5)
    loss = method.train().losses(batch)["loss"]
    loss.backward()
    lacking = [name for name, each in method.named_parameters() if each.grad is None]
    assert not lacking


def test_a_model_that_predicts_no_hidden_tokens_is_refused(tmp_path: Path) -> None:
    config = transformers.GPT2Config(n_embd=16, n_layer=1, n_head=2, vocab_size=50)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path)
    with pytest.raises(UserError, match="gpt2 checkpoint, which predicts no hidden tokens"):
        MLM.build(Config.tiny(), source=tmp_path)


def test_positions_that_begin_behind_the_padding_token_are_not_overrun(tmp_path: Path) -> None:
    checkpoint("Roberta", tmp_path)
    method = MLM.build(Config(max_length=64), source=tmp_path)
    padding = method.network.config.pad_token_id
    assert method.config.max_length == 40 - padding - 1
