"""Attention masks: who sees whom, measured on states of a real model under eager and sdpa."""

import pytest
import torch
from transformers import DynamicCache, RobertaConfig, RobertaModel

from pretrial.models.layers.attention_masks import additive_mask

LENGTH = 7


def model_of(attention):
    torch.manual_seed(0)
    config = RobertaConfig(
        vocab_size=50,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=20,
        attn_implementation=attention,
    )
    return RobertaModel(config, add_pooling_layer=False).eval()


@pytest.fixture(scope="module", params=["eager", "sdpa"])
def model(request):
    return model_of(request.param)


def states(model, ids, mask, **more):
    places = torch.arange(ids.shape[1]).expand_as(ids) + 2
    with torch.no_grad():
        return model(ids, attention_mask=mask, position_ids=places, **more).last_hidden_state


def influence(model, mask):
    """[T, T]: True where changing the token of the column changes the state of the row."""
    ids = torch.arange(10, 10 + LENGTH)[None]
    before = states(model, ids, mask)[0]
    columns = []
    for place in range(LENGTH):
        other = ids.clone()
        other[0, place] = 3
        columns.append((states(model, other, mask)[0] - before).abs().amax(-1) > 1e-6)
    return torch.stack(columns, dim=1)


ALL = torch.ones(1, LENGTH, dtype=torch.bool)
TRIANGLE = ALL.expand(LENGTH, LENGTH).tril()


def test_bidirectional_all_see_all(model):
    assert influence(model, additive_mask("bidirectional", ALL)).all()


def test_causal_sees_the_past_alone(model):
    assert torch.equal(influence(model, additive_mask("causal", ALL)), TRIANGLE)


def test_prefix_sees_itself_and_the_rest_sees_prefix_and_past(model):
    expected = TRIANGLE.clone()
    expected[:3, :3] = True
    mask = additive_mask("prefix", ALL, torch.tensor([3]))
    assert torch.equal(influence(model, mask), expected)


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("pattern", ["bidirectional", "causal", "prefix"])
def test_padding_on_either_side_decides_nothing(model, pattern, side):
    ids = torch.arange(10, 14)[None]
    lengths = torch.tensor([2]) if pattern == "prefix" else None
    real = torch.ones(1, 4, dtype=torch.bool)
    places = torch.arange(4)[None] + 2
    alone = model(
        ids, attention_mask=additive_mask(pattern, real, lengths), position_ids=places
    ).last_hidden_state
    pad = (3, 0) if side == "left" else (0, 3)
    ids, places = (torch.nn.functional.pad(each, pad, value=1) for each in (ids, places))
    real = torch.nn.functional.pad(real, pad, value=False)
    padded = model(
        ids, attention_mask=additive_mask(pattern, real, lengths), position_ids=places
    ).last_hidden_state
    assert torch.isfinite(padded).all()
    torch.testing.assert_close(padded[real], alone[0])


@pytest.mark.parametrize("pattern", ["causal", "prefix"])
def test_a_cache_gives_the_states_of_a_whole_pass(model, pattern):
    ids = torch.arange(10, 10 + LENGTH)[None]
    lengths = torch.tensor([4]) if pattern == "prefix" else None
    whole = states(model, ids, additive_mask(pattern, ALL, lengths))
    cache, parts = DynamicCache(config=model.config), []
    places = torch.arange(LENGTH)[None] + 2
    for start, end in ((0, 4), (4, 5), (5, 7)):
        mask = additive_mask(pattern, ALL[:, :end], lengths, num_queries=end - start)
        with torch.no_grad():
            output = model(
                ids[:, start:end],
                attention_mask=mask,
                position_ids=places[:, start:end],
                past_key_values=cache,
            )
        parts.append(output.last_hidden_state)
    torch.testing.assert_close(torch.cat(parts, 1), whole, rtol=1e-5, atol=1e-5)


def test_eager_and_sdpa_agree_in_bfloat16_also_where_all_is_padding():
    ids = torch.arange(10, 10 + LENGTH)[None]
    outputs = []
    for attention in ("eager", "sdpa"):
        model = model_of(attention).bfloat16()
        mask = additive_mask("causal", ALL & False, dtype=torch.bfloat16)
        outputs.append(states(model, ids, mask))
        assert torch.isfinite(outputs[-1]).all()
    torch.testing.assert_close(*outputs, rtol=0.05, atol=0.05)
    with torch.autocast("cpu", torch.bfloat16):  # a float32 mask beside scores in bfloat16
        assert torch.isfinite(states(model_of("sdpa"), ids, additive_mask("causal", ALL))).all()


def test_no_prefix_lengths_without_a_prefix():
    with pytest.raises(AssertionError):
        additive_mask("prefix", ALL)
    with pytest.raises(AssertionError):
        additive_mask("causal", ALL, torch.tensor([1]))
