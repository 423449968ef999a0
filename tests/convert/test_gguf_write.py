"""GGUF files that are written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from pretrial.checkpoints.gguf import load_gguf
from pretrial.convert.gguf_write import write_gguf
from pretrial.errors import UserError
from pretrial.models.tokenizers import learn_bpe

pytest.importorskip("gguf")
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
