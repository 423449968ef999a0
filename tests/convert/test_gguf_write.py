"""GGUF files that are written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Regex, Tokenizer, decoders, normalizers, pre_tokenizers, trainers
from tokenizers.models import BPE
from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from pretrial.checkpoints.gguf import load_gguf
from pretrial.convert.gguf_write import write_gguf
from pretrial.errors import UserError
from pretrial.models.tokenizers import learn_bpe

gguf = pytest.importorskip("gguf")
TEXTS = ["def add(a, b):\n    return a + b  # 2024 and ünïcode", "The list of 17 files."] * 3


def tokenizer_of(split_digits: bool) -> Any:
    return learn_bpe(
        TEXTS, 300, specials={"eos_token": "<|endoftext|>", "pad_token": "<pad>"},
        task_tokens=("<|im_start|>",), split_digits=split_digits,
    )  # fmt: skip


def network_of(tied: bool, vocab_size: int = 320) -> Any:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocab_size, hidden_size=64, intermediate_size=96, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64,
        rope_parameters={"rope_type": "default", "rope_theta": 5e5}, tie_word_embeddings=tied,
        eos_token_id=0,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("bits", [16, 8, 4])
def test_what_is_read_again_is_within_half_a_step(tied: bool, bits: Any, tmp_path: Path) -> None:
    network, tokenizer = network_of(tied), tokenizer_of(True)
    write_gguf(network, tokenizer, tmp_path / "m.gguf", bits)
    again, _ = load_gguf(tmp_path / "m.gguf")
    assert type(again) is LlamaForCausalLM
    assert again.config.rope_parameters["rope_theta"] == 5e5
    assert again.config.tie_word_embeddings == tied
    state = again.state_dict()
    for name, weight in network.state_dict().items():
        if weight.ndim == 1:
            assert torch.equal(state[name], weight), name
            continue
        blocks = weight.view(weight.shape[0], -1, 32)
        if bits == 8:  # -127 to 127 steps
            step = blocks.abs().amax(-1, keepdim=True) / 127
        else:  # 15 steps from the smallest to the largest
            step = (blocks.amax(-1, keepdim=True) - blocks.amin(-1, keepdim=True)) / 15
        error = (state[name].view_as(blocks) - blocks).abs()
        # scales themselves have 11 bits
        bound = blocks.abs() / 1024 if bits == 16 else 0.5 * step + blocks.abs().amax() / 1000
        assert (error <= bound + 1e-7).all(), name
        if bits == 16:
            assert torch.equal(state[name], weight.half().float())
    ids = torch.randint(300, (1, 20))
    with torch.no_grad():
        change = (again(input_ids=ids).logits - network(input_ids=ids).logits).abs().mean()
        size = network(input_ids=ids).logits.abs().mean()
    assert change / size < {16: 0.002, 8: 0.02, 4: 0.25}[bits]


@pytest.mark.parametrize("split_digits", [True, False])
def test_the_tokenizer_comes_back(split_digits: bool, tmp_path: Path) -> None:
    tokenizer = tokenizer_of(split_digits)
    write_gguf(network_of(False), tokenizer, tmp_path / "m.gguf")
    _, again = load_gguf(tmp_path / "m.gguf")
    assert again.eos_token_id == tokenizer.eos_token_id
    for text in [*TEXTS, "year 1999\t\t12 <|im_start|>user", " x"]:
        assert again(text)["input_ids"] == tokenizer(text)["input_ids"], text


def test_fewer_bits_make_a_smaller_file(tmp_path: Path) -> None:
    sizes = []
    for bits in (16, 8, 4):
        path = tmp_path / f"{bits}.gguf"
        write_gguf(network_of(True), tokenizer_of(True), path, bits)  # type: ignore[arg-type]
        sizes.append(path.stat().st_size)
    assert sizes == sorted(sizes, reverse=True)


def test_what_is_no_plain_llama_is_refused(tmp_path: Path) -> None:
    sizes = GPT2Config(vocab_size=300, n_embd=16, n_layer=1, n_head=2, eos_token_id=1)
    with pytest.raises(UserError, match="a plain Llama, not of a gpt2"):
        write_gguf(GPT2LMHeadModel(sizes), tokenizer_of(True), tmp_path / "m.gguf")
    assert list(tmp_path.iterdir()) == []


LLAMA = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def split_by(steps: list[Any], normalizer: Any = None) -> Any:
    """A byte-level BPE that splits texts by these steps."""
    inner = Tokenizer(BPE())
    inner.pre_tokenizer = pre_tokenizers.Sequence(steps) if len(steps) > 1 else steps[0]
    inner.normalizer, inner.decoder = normalizer, decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320, special_tokens=["</s>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    inner.train_from_iterator([f"{i * 37} is {i * 111111}" for i in range(400)], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="</s>")


def byte_level(prefix: bool = False, regex: bool = False) -> Any:
    return pre_tokenizers.ByteLevel(add_prefix_space=prefix, use_regex=regex)


def split(pattern: str) -> Any:
    return pre_tokenizers.Split(Regex(pattern), "isolated")


@pytest.mark.parametrize(
    ("steps", "name"),
    [
        ([byte_level(regex=True)], "gpt-2"),
        ([pre_tokenizers.Digits(individual_digits=True), byte_level(regex=True)], "smollm"),
        ([split(LLAMA), byte_level()], "llama-bpe"),
        ([split(LLAMA.replace("{1,3}", "")), byte_level()], "qwen2"),
    ],
)
def test_the_way_of_splitting_is_named(steps: Any, name: str, tmp_path: Path) -> None:
    tokenizer = split_by(steps)
    write_gguf(network_of(False), tokenizer, tmp_path / "m.gguf")
    field = gguf.GGUFReader(tmp_path / "m.gguf").fields["tokenizer.ggml.pre"]
    assert bytes(field.parts[field.data[0]]).decode() == name
    _, again = load_gguf(tmp_path / "m.gguf")
    for text in ("1234567 is 37", "it's 1999\n\n  now"):
        assert again.tokenize(text) == tokenizer.tokenize(text)


@pytest.mark.parametrize(
    ("steps", "normalizer"),
    [
        ([byte_level(prefix=True, regex=True)], None),
        ([byte_level(regex=True)], normalizers.Lowercase()),
        ([pre_tokenizers.Digits(individual_digits=False), byte_level(regex=True)], None),
        ([split(r"\p{N}{1,2}"), byte_level()], None),
        ([pre_tokenizers.Whitespace()], None),
    ],
)
def test_another_way_of_splitting_is_refused(steps: Any, normalizer: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="splits texts before the merges as GPT-2, SmolLM, Llama 3"):
        write_gguf(network_of(False), split_by(steps, normalizer), tmp_path / "m.gguf")
    assert list(tmp_path.iterdir()) == []
