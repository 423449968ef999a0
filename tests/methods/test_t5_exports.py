"""What every method on a T5 exports: config.json says what the weights are."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModel

from pretrial import discover
from pretrial.convert.export import export_model
from pretrial.models.architectures.seq2seq import new_t5
from pretrial.models.tokenizers import ROBERTA_SPECIALS, learn_bpe, special_ids

RECORD = {
    "config": {}, "arguments": {"data": "t.jsonl", "init": ""}, "num_examples": 1,
    "num_held_out": 0, "environment": {}, "commit": "",
}  # fmt: skip
ENCODER_DECODER = {"architecture": "encoder_decoder"}
MASKED = {**ENCODER_DECODER, "objective": "masked_lm"}
METHODS: dict[str, dict[str, Any]] = {
    "architecture_objective": MASKED,
    "coderl": {},
    "codet5": {},
    "codet5p": {},
    "e2s2": {"architecture": "t5", "vocab_size": 400},
    "multimend": {},
    "ul2": ENCODER_DECODER,
}
UNTIED = {"ul2"}  # from scratch


def built(slug: str, source: Path | None) -> tuple[Any, Any]:
    loaded = discover.load(slug)
    torch.manual_seed(0)
    examples = loaded.method.read(loaded.method.sample_rows())
    config = replace(loaded.config.tiny(), **METHODS[slug])
    return loaded.card, loaded.method.build(config, source=source, data=examples).eval()


@pytest.fixture(scope="module")
def untied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A T5 in the layout of v1.1, whose vocabulary lacks the tokens of the methods."""
    folder = tmp_path_factory.mktemp("t5-v1_1")
    tokenizer = learn_bpe(
        ["def add(a, b): return a + b", "A list of names."] * 9, 400,
        specials=ROBERTA_SPECIALS, template="<s> $A </s>", num_sentinels=100,
    )  # fmt: skip
    ids = special_ids(ROBERTA_SPECIALS)
    torch.manual_seed(1)
    network = new_t5(
        len(tokenizer), width=32, num_layers=2, num_heads=2, feed_forward=64, dropout_prob=0.0,
        pad_id=ids["pad_token_id"], eos_id=ids["eos_token_id"], activation="gated-gelu", tied=False,
    )  # fmt: skip
    network.lm_head.weight.data.normal_(std=0.5)  # else it is that of the embeddings, scaled
    network.save_pretrained(folder)
    values = json.loads((folder / "config.json").read_text())
    values["tie_word_embeddings"] = False  # as Google's own file has it
    values.pop("scale_decoder_outputs")
    (folder / "config.json").write_text(json.dumps(values))
    tokenizer.save_pretrained(folder)
    return folder


def inputs() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(100, 250, (2, 9), generator=generator)
    return {"input_ids": ids, "decoder_input_ids": ids[:, :5]}


@torch.no_grad()
def check(folder: Path, network: Any, tied: bool) -> None:
    """A T5 worked out by the rule of the config gives the logits of our network."""
    config = json.loads((folder / "config.json").read_text())
    weights = load_file(folder / "model.safetensors")
    assert config["tie_word_embeddings"] == tied
    assert ("lm_head.weight" in weights) != tied
    states = AutoModel.from_pretrained(folder).eval()(**inputs()).last_hidden_state
    if tied:
        logits = config["d_model"] ** -0.5 * states @ weights["shared.weight"].T
    else:
        logits = states @ weights["lm_head.weight"].T
    torch.testing.assert_close(logits, network(**inputs()).logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("slug", METHODS)
@pytest.mark.parametrize("start", ["scratch", "v1.1"])
def test_a_tied_or_untied_t5_is_exported_as_what_it_is(
    slug: str, start: str, untied: Path, tmp_path: Path
) -> None:
    card, method = built(slug, untied if start == "v1.1" else None)
    tied = start == "scratch" and slug not in UNTIED
    if start == "v1.1":
        given = load_file(untied / "model.safetensors")
        rows = method.network.lm_head.weight[: len(given["lm_head.weight"])]
        assert torch.equal(rows, given["lm_head.weight"])  # new tokens do not tie it
    elif not tied:
        method.network.lm_head.weight.data.normal_(std=0.5)
    export_model(method, tmp_path / "out", card, RECORD)
    check(tmp_path / "out", method.network, tied)
    (tmp_path / "saved").mkdir()
    method.save(tmp_path / "saved")
    check(tmp_path / "saved" / ("actor" if slug == "coderl" else ""), method.network, tied)
