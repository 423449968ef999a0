"""The batched sampler against `model.generate`, against exact probabilities, and against itself."""

import collections
import functools
import math
from itertools import chain

import pytest
import torch
from scipy.stats import chisquare
from transformers import (
    AutoModelForCausalLM,
    BartConfig,
    BartForConditionalGeneration,
    GPT2Config,
    GPTNeoConfig,
    LlamaConfig,
    T5Config,
    T5ForConditionalGeneration,
)

from pretrial.errors import UserError
from pretrial.models.decoding.sample import sample

EOS, PAD, VOCABULARY = 1, 0, 23
PROMPTS = [[5, 6, 7], [8], [9, 10, 11, 12, 13, 14, 2], [3, 4], [3, 4, 5, 6, 7, 8, 9, 10, 11, 12]]
SEEDS = {"bart": 2}
KINDS = ["t5", "bart", "gpt2", "llama", "gpt-neo"]


@functools.cache
def tiny(kind, std=0.6):
    """A random model whose logits differ enough for its greedy samples to be varied."""
    torch.manual_seed(SEEDS.get(kind, 3))
    special = {"pad_token_id": PAD, "eos_token_id": EOS, "bos_token_id": 2}
    if kind == "t5":
        config = T5Config(
            vocab_size=VOCABULARY, d_model=32, d_kv=8, d_ff=64, num_heads=4, num_layers=2,
            decoder_start_token_id=PAD, initializer_factor=std * 4, **special,
        )  # fmt: skip
        return T5ForConditionalGeneration(config).eval()
    if kind == "bart":
        config = BartConfig(
            vocab_size=VOCABULARY, d_model=32, encoder_layers=1, decoder_layers=2,
            encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=64,
            decoder_ffn_dim=64, max_position_embeddings=64, init_std=std,
            decoder_start_token_id=PAD, forced_eos_token_id=None, **special,
        )  # fmt: skip
        return BartForConditionalGeneration(config).eval()
    if kind == "gpt2":
        config = GPT2Config(
            vocab_size=VOCABULARY, n_positions=64, n_embd=32, n_layer=2, n_head=4,
            initializer_range=std, **special,
        )  # fmt: skip
    elif kind == "llama":
        config = LlamaConfig(
            vocab_size=VOCABULARY, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
            num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
            initializer_range=std, **special,
        )  # fmt: skip
    else:
        config = GPTNeoConfig(
            vocab_size=VOCABULARY, hidden_size=32, num_layers=2, num_heads=4, window_size=4,
            attention_types=[[["global", "local"], 1]], max_position_embeddings=64,
            initializer_range=std, **special,
        )  # fmt: skip
    return AutoModelForCausalLM.from_config(config).eval()


def draw(kind, prompts=PROMPTS, seed=0, **options):
    options = {"num_samples": 3, "max_new_tokens": 12, "top_p": 0.9, **options}
    return sample(
        tiny(kind),
        prompts,
        eos_token_id=EOS,
        pad_token_id=PAD,
        generator=torch.Generator().manual_seed(seed),
        **options,
    )


@torch.no_grad()
def generated(kind, prompt, prefix=(), num_tokens=20):
    """Greedy continuation by transformers, one prompt at a time and so without padding."""
    model = tiny(kind)
    encoder_decoder = model.config.is_encoder_decoder
    head = [PAD, *prefix] if encoder_decoder else [*prompt, *prefix]
    inputs = {"decoder_input_ids": torch.tensor([head])} if encoder_decoder else {}
    inputs["input_ids"] = torch.tensor([prompt] if encoder_decoder else [head])
    output = model.generate(
        **inputs,
        attention_mask=torch.ones_like(inputs["input_ids"]),
        do_sample=False,
        max_new_tokens=num_tokens - len(prefix),
    )[0].tolist()
    new = [*prefix, *output[len(head) :]]
    return new[: new.index(EOS)] if EOS in new else new


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("batch_size", [2, 64])
def test_greedy_equals_generate_with_ragged_prompts(kind, batch_size):
    got = draw(kind, num_samples=1, max_new_tokens=20, greedy=True, batch_size=batch_size)
    want = [generated(kind, prompt) for prompt in PROMPTS]
    assert [samples[0] for samples in got] == want
    assert len({tuple(ids) for ids in want}) >= 3, "too uniform to tell anything"
    assert any(len(ids) < 20 for ids in want), "no row ended before the others"


@pytest.mark.parametrize("kind", KINDS)
def test_greedy_from_ragged_prefixes_equals_generate(kind):
    prefixes = [[[], [4]], [[6, 6, 6, 7]], [], [[2, 3], [2, 3, 4, 5, 6, 7, 8]], [[9], []]]
    counts = [len(group) for group in prefixes]
    got = draw(kind, num_samples=counts, max_new_tokens=20, greedy=True, prefixes=prefixes)
    want = [
        [generated(kind, prompt, prefix) for prefix in group]
        for prompt, group in zip(PROMPTS, prefixes, strict=True)
    ]
    assert got == want


@pytest.mark.parametrize("kind", KINDS)
def test_samples_do_not_depend_on_the_batch_size(kind):
    whole = draw(kind, batch_size=64)
    assert draw(kind, batch_size=1) == whole
    assert draw(kind, batch_size=4) == whole
    assert draw(kind, seed=1) != whole


@pytest.mark.parametrize("kind", ["t5", "llama"])
def test_prefixes_are_verbatim_and_do_not_end_a_row(kind):
    prefixes = [[[7, EOS, 5]], [[]], [[4] * 12], [[3] * 15], [[PAD, 6]]]
    got = draw(kind, num_samples=1, prefixes=prefixes)
    for (ids,), (prefix,) in zip(got, prefixes, strict=True):
        assert ids[: len(prefix)] == prefix
        assert len(ids) <= max(12, len(prefix))
    assert got[2] == [[4] * 12], "a prefix as long as the limit stays as it is"


def test_a_shared_prefix_changes_no_draw():
    """The stretch of prefix that is fed at once must leave what follows as it was."""
    prefix = [4, 5, 6]
    together = draw("gpt2", num_samples=1, prefixes=[[prefix]] * 5)
    apart = draw("gpt2", num_samples=1, prefixes=[[prefix]] * 5, batch_size=1)
    assert together == apart
    assert all(ids[:3] == prefix for (ids,) in together)


@pytest.mark.parametrize("kind", ["t5", "gpt2"])
@pytest.mark.parametrize("top_p", [1.0, 0.7])
def test_frequencies_are_those_of_the_nucleus(kind, top_p):
    model, prompt, temperature, draws = tiny(kind, std=0.15), PROMPTS[0], 1.5, 4000
    got = sample(
        model,
        [prompt],
        num_samples=draws,
        max_new_tokens=1,
        eos_token_id=None,
        pad_token_id=PAD,
        temperature=temperature,
        top_p=top_p,
        batch_size=1000,
        generator=torch.Generator().manual_seed(0),
    )[0]
    inputs = {"input_ids": torch.tensor([prompt])}
    if kind == "t5":
        inputs["decoder_input_ids"] = torch.tensor([[PAD]])
    with torch.no_grad():
        probs = (model(**inputs).logits[0, -1] / temperature).softmax(-1).tolist()
    nucleus, mass = [], 0.0
    for token in sorted(range(VOCABULARY), key=lambda token: -probs[token]):
        if mass >= top_p:
            break
        nucleus.append(token)
        mass += probs[token]
    counts = collections.Counter(ids[0] for ids in got)
    assert set(counts) <= set(nucleus)
    expected = [draws * probs[token] / mass for token in nucleus]
    assert len(nucleus) > 4
    assert chisquare([counts[token] for token in nucleus], expected).pvalue > 0.001


def test_top_k_search_widens_until_it_holds_the_nucleus(monkeypatch):
    whole = draw("llama", top_p=0.95, temperature=3.0)
    monkeypatch.setattr("pretrial.models.decoding.sample._FIRST_TOP_K", 1)
    assert draw("llama", top_p=0.95, temperature=3.0) == whole


def test_finished_ends_a_row_after_the_token_that_made_it_true():
    free = draw("llama", temperature=2.0)
    stopped = draw("llama", temperature=2.0, finished=lambda ids: ids[-1] % 5 == 0)
    for left, right in zip(chain(*free), chain(*stopped), strict=True):
        ends = [place for place, token in enumerate(left) if token % 5 == 0]
        assert right == (left[: ends[0] + 1] if ends else left)


def test_several_end_tokens_and_none():
    for eos in (None, [EOS, 5, 6]):
        got = sample(
            tiny("gpt2"), PROMPTS, num_samples=4, max_new_tokens=9, eos_token_id=eos,
            pad_token_id=PAD, generator=torch.Generator().manual_seed(0),
        )  # fmt: skip
        flat = [ids for samples in got for ids in samples]
        assert not set(eos or ()) & {token for ids in flat for token in ids}
        assert all(len(ids) == 9 for ids in flat) == (eos is None)


def test_modes_come_back_and_dropout_is_off():
    model = tiny("t5")
    model.train()
    model.decoder.eval()
    try:
        first, second = draw("t5", greedy=True), draw("t5", greedy=True)
        assert first == second
        assert model.training
        assert model.encoder.training
        assert not model.decoder.training
    finally:
        model.eval()


def test_rows_and_counts_keep_their_order():
    got = draw("gpt2", num_samples=[0, 2, 1, 0, 3])
    assert [len(samples) for samples in got] == [0, 2, 1, 0, 3]
    assert draw("gpt2", prompts=[], num_samples=4) == []


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"temperature": 0.0}, "greedy=True"),
        ({"temperature": math.nan}, "greedy=True"),
        ({"top_p": 0.0}, "top_p"),
        ({"num_samples": [1, 2]}, "num_samples"),
        ({"max_new_tokens": 0}, "max_new_tokens"),
        ({"prompts": [[3], []]}, "at least one token"),
        ({"prefixes": [[[1]]] * 5}, "prefix"),
        ({"max_new_tokens": 60}, "64 positions"),
    ],
)
def test_mistakes_name_the_mend(options, word):
    with pytest.raises(UserError, match=word):
        draw("gpt2", **options)
