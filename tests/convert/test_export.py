"""What every export holds, whatever the method."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, pipeline

from pretrial import discover
from pretrial.convert.export import export_model

RECORD = {
    "slug": "",
    "config": {},
    "arguments": {"data": "t.jsonl", "init": "", "seed": 0, "budget": "1steps"},
    "num_examples": 1,
    "num_held_out": 0,
    "environment": {},
    "commit": "",
}


def exported(slug: str, folder: Path):
    loaded = discover.load(slug)
    torch.manual_seed(0)
    examples = loaded.method.read(loaded.method.sample_rows())
    method = loaded.method.build(loaded.config.tiny(), data=examples)
    export_model(method, folder, loaded.card, {**RECORD, "slug": slug})
    return method


@pytest.mark.parametrize("slug", ["mlm", "contrabert", "codet5", "polycom"])
def test_the_tokenizer_knows_how_much_the_model_reads(slug: str, tmp_path: Path) -> None:
    method = exported(slug, tmp_path / "model")
    longest = AutoTokenizer.from_pretrained(tmp_path / "model").model_max_length
    config = method.export().config
    if slug == "contrabert":  # RoBERTa's places begin behind padding
        assert longest == config.max_position_embeddings - config.pad_token_id - 1
    elif slug == "codet5":  # any length is read, and so long ones it has learned
        assert longest == method.config.max_source
    else:
        assert longest == config.max_position_embeddings


@pytest.mark.parametrize("slug", ["mlm", "contrabert"])
def test_a_pipeline_cuts_a_long_text(slug: str, tmp_path: Path) -> None:
    exported(slug, tmp_path / "model")
    features = pipeline("feature-extraction", str(tmp_path / "model"))
    found = features("a list of names " * 200, tokenize_kwargs={"truncation": True})
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    assert len(found[0]) == tokenizer.model_max_length
