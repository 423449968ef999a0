"""Pre-training of CodeRL's backbone: what is hidden, and where a sequence is parted."""

from __future__ import annotations

from dataclasses import replace

import torch

from pretrial.corrupt.masks import IGNORE
from pretrial.data.builtin.miniapps import mini_apps
from pretrial.methods.code.coderl import CodeRL, Config
from pretrial.methods.code.coderl.stages.pretrain import MaskedSpans, NextTokens, code_sequences

PROBLEMS = mini_apps(num_train=8, num_test=0).train


def backbone(architecture: str = "t5"):
    torch.manual_seed(0)
    config = replace(Config.tiny(), pretrain_data="code", architecture=architecture)
    actor = CodeRL.build(config, data=PROBLEMS).actor
    return actor, code_sequences(actor, [s for p in PROBLEMS for s in p.solutions])[:6]


def test_next_tokens_are_parted_between_a_tenth_and_nine_tenths():
    actor, sequences = backbone()
    batch = NextTokens(actor).batch(sequences, torch.Generator().manual_seed(0))
    for row, ids in enumerate(sequences):
        read = batch["input_ids"][row][batch["attention_mask"][row].bool()].tolist()
        written = batch["labels"][row][batch["labels"][row] != IGNORE].tolist()
        assert read + written == [*ids, actor.end]
        assert 0.1 * len(ids) - 0.5 <= len(read) <= 0.9 * len(ids) + 0.5


def test_decoder_only_models_write_all_but_the_first_token():
    actor, sequences = backbone("gpt2")
    batch = NextTokens(actor).batch(sequences[:1], torch.Generator())
    assert batch["labels"][0].tolist() == [*sequences[0][1:], actor.end]


def test_masked_spans_hide_fifteen_percent_behind_sentinels():
    actor, sequences = backbone()
    module = MaskedSpans(actor)
    batch = module.batch(sequences, torch.Generator().manual_seed(0))
    for row, ids in enumerate(sequences):
        labels = batch["labels"][row][batch["labels"][row] != IGNORE].tolist()
        hidden = [t for t in labels if t not in module.sentinels and t != actor.end]
        assert len(hidden) == max(1, round(0.15 * len(ids)))
    assert torch.isfinite(module.losses(batch)["loss"])
