"""Mu: its caches, its heads, its positions, and what transformers does with it."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM
from transformers.cache_utils import DynamicCache, EncoderDecoderCache

from pretrial.methods.text.return_of_encoder.network.layers import Attention, rotations, turned
from pretrial.methods.text.return_of_encoder.network.mu import (
    MuConfig,
    MuForCausalLM,
    MuForConditionalGeneration,
)
from pretrial.models.decoding.sample import sample

SIZES = {
    "vocab_size": 50,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "decoder_layers": 2,
    "max_position_embeddings": 16,
    "initializer_range": 0.3,
}


def both(**changes):
    torch.manual_seed(0)
    config = MuConfig(encoder_layers=3, **SIZES | changes)
    return MuForConditionalGeneration(config).eval()


def causal(**changes):
    torch.manual_seed(0)
    config = MuConfig(encoder_layers=0, is_encoder_decoder=False, **SIZES | changes)
    return MuForCausalLM(config).eval()


@pytest.fixture(scope="module")
def rows():
    ids = torch.randint(3, 50, (2, 7), generator=torch.Generator().manual_seed(1))
    mask = torch.ones_like(ids)
    mask[0, 4:] = 0
    return ids, mask


@torch.no_grad()
def test_decoding_with_caches_equals_the_whole_computation(rows):
    model, (ids, mask) = both(), rows
    answer = torch.randint(3, 50, (2, 6), generator=torch.Generator().manual_seed(2))
    whole = model(ids, mask, answer).logits
    memory, cache, seen = model.get_encoder()(ids, mask), None, []
    for place in range(6):
        output = model(
            encoder_outputs=memory,
            attention_mask=mask,
            decoder_input_ids=answer[:, place : place + 1],
            past_key_values=cache,
            use_cache=True,
        )
        cache = output.past_key_values
        seen.append(output.logits)
    torch.testing.assert_close(torch.cat(seen, 1), whole, rtol=1e-5, atol=1e-5)


def test_a_request_runs_the_encoder_once_and_projects_its_states_once(rows):
    model, (ids, mask) = both(), rows
    runs, projections = [], []
    model.encoder.stack.register_forward_hook(lambda *_: runs.append(1))
    for layer in model.decoder.layers:
        layer.cross_attn.k_proj.register_forward_hook(lambda *_: projections.append(1))
    model.generate(ids, attention_mask=mask, max_new_tokens=9, min_new_tokens=9, do_sample=False)
    assert len(runs) == 1
    assert len(projections) == len(model.decoder.layers)


@torch.no_grad()
def test_the_cache_of_the_input_does_not_grow_with_the_output(rows):
    model, (ids, mask) = both(), rows
    sizes = []
    for length in (1, 5):
        output = model(ids, mask, ids[:, :length], use_cache=True)
        cache = output.past_key_values
        assert isinstance(cache, EncoderDecoderCache)
        sizes.append([c.layers[0].keys.shape for c in (
            cache.cross_attention_cache, cache.self_attention_cache)])  # fmt: skip
    assert sizes[0][0] == sizes[1][0] == (2, 2, 7, 8)
    assert (sizes[0][1][2], sizes[1][1][2]) == (1, 5)


def test_generate_and_sample_write_the_same_as_the_whole_computation(rows):
    model, (ids, mask) = both(), rows
    # with tied embeddings, models at random write the token that they have just read
    model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight))
    written = model.generate(ids, attention_mask=mask, max_new_tokens=8, do_sample=False)
    prompts = [row[real.bool()].tolist() for row, real in zip(ids, mask, strict=True)]
    drawn = sample(
        model,
        prompts,
        num_samples=1,
        max_new_tokens=8,
        eos_token_id=2,
        pad_token_id=0,
        greedy=True,
    )
    for place, prompt in enumerate(prompts):
        answer = [1]
        with torch.no_grad():
            while len(answer) < 9 and answer[-1] != 2:
                logits = model(torch.tensor([prompt]), None, torch.tensor([answer])).logits
                answer.append(int(logits[0, -1].argmax()))
        assert len(set(answer)) > 2
        assert written[place, : len(answer)].tolist() == answer
        assert [1, *drawn[place][0]] == [token for token in answer if token != 2]


def test_beam_search_finds_texts_at_least_as_probable(rows):
    model, (ids, _) = both(), rows
    with torch.no_grad():
        found = []
        for beams in (1, 4):
            answer = model.generate(
                ids[1:], max_new_tokens=5, min_new_tokens=5, num_beams=beams, do_sample=False
            )
            scores = model(ids[1:], None, answer[:, :-1]).logits.log_softmax(-1)
            found.append(float(scores.gather(2, answer[:, 1:, None]).sum()))
    assert found[1] >= found[0]


@torch.no_grad()
def test_padding_changes_nothing(rows):
    ids, mask = rows
    model = both()
    short = model(ids[:1, :4], None, ids[:1, :5]).logits
    torch.testing.assert_close(model(ids, mask, ids[:, :5]).logits[:1], short)
    single = causal()
    left = torch.cat([torch.zeros(1, 3, dtype=torch.long), ids[:1, :4]], dim=1)
    real = torch.tensor([[0, 0, 0, 1, 1, 1, 1]])
    places = (real.cumsum(1) - 1).clamp(min=0)
    padded = single(left, real, position_ids=places).logits[:, 3:]
    torch.testing.assert_close(padded, single(ids[:1, :4]).logits)


@torch.no_grad()
def test_the_encoder_sees_both_ways_and_the_decoder_backwards(rows):
    model, (ids, _) = both(), rows
    other = ids.clone()
    other[:, -1] = (other[:, -1] + 1) % 50
    states = [model.get_encoder()(each).last_hidden_state[:, 0] for each in (ids, other)]
    assert not torch.allclose(*states)
    logits = [model(ids, None, each).logits for each in (ids, other)]
    torch.testing.assert_close(logits[0][:, :-1], logits[1][:, :-1])
    assert not torch.allclose(logits[0][:, -1], logits[1][:, -1])


def test_grouped_heads_equal_repeated_keys():
    torch.manual_seed(0)
    attention = Attention(MuConfig(encoder_layers=1, **SIZES | {"dropout": 0.0}), 0)
    query, key, value = (torch.randn(2, heads, 5, 8) for heads in (4, 2, 2))
    mask = torch.zeros(2, 1, 5, 5).masked_fill(torch.ones(5, 5).triu(1).bool(), -1e9)
    scores = query @ key.repeat_interleave(2, 1).mT / 8**0.5 + mask
    read = scores.softmax(-1) @ value.repeat_interleave(2, 1)
    expected = attention.o_proj(read.transpose(1, 2).flatten(2))
    torch.testing.assert_close(attention.attend(query, key, value, mask), expected)


def test_rotary_scores_depend_on_distance_alone():
    config = MuConfig(encoder_layers=1, **SIZES)
    query, key = torch.randn(2, 1, 1, 1, 8)
    scores = []
    for places in ([3, 1], [13, 11], [-4, -6]):
        cos, sin = rotations(config, torch.tensor(places))
        one, other = ((each[:1], each[1:]) for each in (cos, sin))
        at = turned(query, (one[0], other[0])) @ turned(key, (one[1], other[1])).mT
        scores.append(float(at))
    assert scores[0] == pytest.approx(scores[1], abs=1e-5)
    assert scores[0] == pytest.approx(scores[2], abs=1e-5)


def test_the_ntk_factor_slows_turns_of_inputs_that_are_too_long():
    config = MuConfig(encoder_layers=1, rope_factor=2.0, **SIZES)
    places = torch.arange(4)
    plain = rotations(config, places)
    assert torch.equal(rotations(config, places, 16)[0], plain[0])
    base = 10_000 * (2.0 * 32 / 16 - 1) ** (8 / 6)
    angle = 3 * base ** (-2 / 8)
    assert float(rotations(config, places, 32)[1][3, 1]) == pytest.approx(
        torch.tensor(angle).sin().item(), rel=1e-5
    )


def test_auto_classes_load_what_was_saved_and_tie_its_embeddings(rows, tmp_path):
    ids, _ = rows
    for name, model, auto in (
        ("both", both(), AutoModelForSeq2SeqLM),
        ("causal", causal(), AutoModelForCausalLM),
    ):
        model.save_pretrained(tmp_path / name)
        again = auto.from_pretrained(tmp_path / name).eval()
        assert type(again) is type(model)
        assert again.lm_head.weight is again.get_input_embeddings().weight
        extra = {"decoder_input_ids": ids} if name == "both" else {}
        with torch.no_grad():
            torch.testing.assert_close(
                again(ids, **extra).logits, model(ids, **extra).logits, rtol=1e-5, atol=1e-5
            )
        again.resize_token_embeddings(60)
        assert again(ids, **extra).logits.shape[-1] == 60
    assert isinstance(model(ids, use_cache=True).past_key_values, DynamicCache)


def test_losses_of_labels(rows):
    model, (ids, mask) = both(), rows
    labels = ids.masked_fill(mask == 0, -100)
    output = model(ids, mask, labels=labels)
    start = torch.cat([torch.ones(2, 1, dtype=torch.long), ids[:, :-1]], dim=1)
    logits = model(ids, mask, start).logits
    expected = torch.nn.functional.cross_entropy(logits[mask == 1], ids[mask == 1])
    torch.testing.assert_close(output.loss, expected)
    single = causal()
    expected = torch.nn.functional.cross_entropy(
        single(ids).logits[:, :-1].flatten(0, 1), ids[:, 1:].flatten()
    )
    torch.testing.assert_close(single(ids, labels=ids).loss, expected)


def test_published_sizes():
    with torch.device("meta"):
        text = MuForConditionalGeneration(MuConfig())
        seeing = MuForConditionalGeneration(
            MuConfig(
                hidden_size=768,
                intermediate_size=3072,
                encoder_layers=20,
                decoder_layers=20,
                num_attention_heads=16,
                num_key_value_heads=8,
                head_dim=48,
                head_bias=True,
            )
        )
    assert sum(p.numel() for p in text.parameters()) == pytest.approx(332.0e6, rel=1e-3)
    assert sum(p.numel() for p in seeing.parameters()) == pytest.approx(320.0e6, rel=1e-3)
