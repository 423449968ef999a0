"""Shared cross-attention against attention over copies."""

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import (
    MT5Config,
    MT5ForConditionalGeneration,
    T5Config,
    T5ForConditionalGeneration,
)

from pretrial.models.decoding.sample import sample
from pretrial.models.decoding.sharing import Sharing, can_share, sharing_attention


@pytest.mark.parametrize("new", [1, 3])
@pytest.mark.parametrize("owner", [[0, 1, 2], [2, 0, 0, 1, 2, 0], [1, 0, 1, 1, 1]])
def test_equals_attention_over_copies(owner, new):
    owner = torch.tensor(owner)
    prompts = int(owner.max()) + 1
    query = torch.randn(len(owner), 2, new, 4)
    key, value = torch.randn(prompts, 2, 5, 4), torch.randn(prompts, 2, 5, 4)
    mask = (torch.arange(5) < torch.tensor([2, 5, 4])[:prompts, None])[:, None, None]
    mask = mask.expand(prompts, 1, new, 5)
    got = Sharing(owner).attend(query, key, value, mask, scaling=1.0)
    want = scaled_dot_product_attention(
        query, key[owner], value[owner], attn_mask=mask[owner], scale=1.0
    )
    torch.testing.assert_close(got, want.transpose(1, 2), atol=1e-6, rtol=1e-5)


def test_unequal_groups_and_lone_rows_are_not_worth_it():
    assert Sharing(torch.tensor([0, 0, 1, 1])).worthwhile
    assert not Sharing(torch.tensor([0, 1, 2])).worthwhile
    assert not Sharing(torch.tensor([0] * 9 + [1, 2, 3, 4])).worthwhile


def tiny(attention, config_of=T5Config, model_of=T5ForConditionalGeneration):
    torch.manual_seed(5)
    config = config_of(
        vocab_size=40, d_model=32, d_kv=8, d_ff=64, num_heads=4, num_layers=1,
        num_decoder_layers=2, decoder_start_token_id=0, initializer_factor=2.0,
        attn_implementation=attention,
    )  # fmt: skip
    model = model_of(config).eval()
    model.lm_head.weight.data /= model.lm_head.weight.std()
    return model


@pytest.mark.parametrize("counts", [6, [9, 1, 0, 2], [1, 1, 1, 1]])
@pytest.mark.parametrize(
    "kind", [(T5Config, T5ForConditionalGeneration), (MT5Config, MT5ForConditionalGeneration)]
)
def test_samples_are_those_of_a_model_that_copies(kind, counts):
    """Rows end at different times, so that groups shrink and prompts drop out."""
    drawn = []
    for attention in ("eager", "sdpa"):
        model = tiny(attention, *kind)
        generator = torch.Generator().manual_seed(0)
        prompts = [[5, 6, 7], [8] * 9, [3], [9, 10, 11, 12]]
        drawn.append(
            sample(
                model,
                prompts,
                num_samples=counts,
                max_new_tokens=25,
                temperature=9.0,
                eos_token_id=[1, 2, 3, 4],
                pad_token_id=0,
                generator=generator,
            )
        )
        assert model.config._attn_implementation == attention
        assert model.decoder.config._attn_implementation == attention
    assert drawn[0] == drawn[1]
    assert len({len(ids) for group in drawn[0] for ids in group}) >= 2


def test_encodings_are_kept_once_a_prompt(monkeypatch):
    sizes = []
    attend = Sharing.attend

    def spy(self, query, key, value, mask, scaling):
        sizes.append((len(query), len(key)))
        return attend(self, query, key, value, mask, scaling)

    monkeypatch.setattr(Sharing, "attend", spy)
    sample(
        tiny("sdpa"), [[5, 6], [7]], num_samples=8, max_new_tokens=4, eos_token_id=None,
        pad_token_id=0, generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    assert sizes == [(16, 2)] * 6  # 2 layers, 3 steps after the first


def test_the_way_of_attention_comes_back_after_an_error():
    model = tiny("sdpa")
    with pytest.raises(RuntimeError), sharing_attention(model):
        _fail_if(can_share(model))
    assert not can_share(model)
    assert model.encoder.config._attn_implementation == "sdpa"


def _fail_if(truth):
    if truth:
        raise RuntimeError
