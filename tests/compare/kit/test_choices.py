"""Choosing a token: every kind of model is asked in its own way, about the same places."""

from __future__ import annotations

import math

import pytest
import torch

from pretrial.compare.kit import choices
from pretrial.methods.text import mlm
from pretrial.methods.text.drbert import Config as DrConfig
from pretrial.methods.text.drbert import DrBERT
from pretrial.methods.text.e2s2 import E2S2
from pretrial.methods.text.e2s2 import Config as E2S2Config
from pretrial.methods.text.electra import ELECTRA
from pretrial.methods.text.electra import Config as ElectraConfig
from pretrial.methods.text.mosaicbert import Config as MosaicConfig
from pretrial.methods.text.mosaicbert import MosaicBERT

TEXTS = [f"Return the {word} of a path, or None where there is none of them." for word in
         ("name", "parent", "suffix", "drive", "root", "anchor", "stem", "parts")]  # fmt: skip
KINDS = [(mlm.MLM, mlm.Config), (ELECTRA, ElectraConfig), (DrBERT, DrConfig),
         (MosaicBERT, MosaicConfig), (E2S2, E2S2Config)]  # fmt: skip


def built(kind, config):
    torch.manual_seed(0)
    return kind.build(config.tiny(), data=kind.read([{"text": text} for text in TEXTS])).eval()


def test_the_right_token_is_first_and_no_other_is_it():
    method = built(mlm.MLM, mlm.Config)
    found = choices.choices_of([*TEXTS, "too short"], method.tokenizer, 24)
    assert found.candidates.shape == (len(TEXTS), 8)
    assert found.groups == list(range(len(TEXTS)))
    batch = choices.one_hidden(found.windows, method.tokenizer)
    assert batch["loss_mask"].sum(1).tolist() == [1] * len(TEXTS)
    assert batch["labels"][batch["loss_mask"]].tolist() == found.candidates[:, 0].tolist()
    for row in found.candidates.tolist():
        assert len(set(row)) == 8
        assert not set(row) & set(method.tokenizer.all_special_ids)


@pytest.mark.parametrize(("kind", "config"), KINDS)
def test_every_kind_of_model_is_measured(kind, config):
    found = choices.measure(built(kind, config), (TEXTS, TEXTS), 24, list("aabbccdd"))
    assert found["choice_nll"].groups == list("aabbccdd")
    # two weights fitted on the same texts: no worse than no knowledge at all
    assert sum(found["choice_nll"].values) / 8 < math.log(8) + 1e-6
    assert set(found["choice_accuracy"].values) <= {0.0, 1.0}


def test_a_masked_model_is_read_at_the_mask():
    method = built(mlm.MLM, mlm.Config)
    found = choices.choices_of(TEXTS[:1], method.tokenizer, 24)
    batch = choices.one_hidden(found.windows, method.tokenizer)
    with torch.no_grad():
        wanted = method.logits(batch)[0, found.candidates[0]]
    torch.testing.assert_close(choices.scores(method, found)[0].float(), wanted)


def test_a_discriminator_is_shown_each_candidate():
    method = built(ELECTRA, ElectraConfig)
    found = choices.choices_of(TEXTS[:1], method.tokenizer, 24)
    batch = choices.one_hidden(found.windows, method.tokenizer)
    shown = batch["labels"].masked_scatter(batch["loss_mask"], found.candidates[0, 3:4])
    with torch.no_grad():
        logits = method.network(input_ids=shown, attention_mask=batch["attention_mask"]).logits
    wanted = -logits[batch["loss_mask"]][0]
    torch.testing.assert_close(choices.scores(method, found)[0, 3].float(), wanted)


def test_a_writer_sees_the_text_with_the_mask_and_what_precedes():
    method = built(E2S2, E2S2Config)
    found = choices.choices_of(TEXTS[:1], method.tokenizer, 24)
    (window,), tokenizer = found.windows, method.tokenizer
    hidden = choices.one_hidden([window], tokenizer)["loss_mask"][0, 1:-1].tolist()
    place = hidden.index(True)
    source = [0, *window, 0]
    source[0], source[-1] = tokenizer.bos_token_id, tokenizer.eos_token_id
    target = torch.tensor([source])
    source[place + 1] = tokenizer.mask_token_id
    with torch.no_grad():
        logits = method.network(input_ids=torch.tensor([source]), labels=target).logits
    wanted = logits[0, place + 1, found.candidates[0]]
    torch.testing.assert_close(choices.scores(method, found)[0].float(), wanted)


def test_weights_make_up_for_scale_and_for_common_tokens():
    rng = torch.Generator().manual_seed(0)
    shares = torch.randn(4000, 8, generator=rng, dtype=torch.float64)
    fit = torch.randn(4000, 8, generator=rng, dtype=torch.float64)
    chosen = (fit - shares).softmax(1).multinomial(1, generator=rng)[:, 0]
    order = torch.stack([torch.roll(torch.arange(8), -int(i)) for i in chosen])  # the right first
    weights = choices._fitted(5 * fit.gather(1, order), shares.gather(1, order))
    assert weights.tolist() == pytest.approx([0.2, -1.0], abs=0.1)
