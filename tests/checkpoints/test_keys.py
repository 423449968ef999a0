"""Weights from elsewhere fit wholly, or the error says what does not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from transformers import (
    AutoModelForSeq2SeqLM,
    GPT2Config,
    GPT2LMHeadModel,
    T5Config,
    T5ForConditionalGeneration,
)

from pretrial.checkpoints.keys import (
    load_pretrained,
    load_strict,
    load_tokenizer,
    read_weights,
    stored_dtype,
)
from pretrial.errors import UserError
from pretrial.models.tokenizers import learn_bpe


def t5(d_ff: int = 8) -> T5ForConditionalGeneration:
    config = T5Config(d_model=8, d_kv=4, d_ff=d_ff, num_layers=1, num_heads=2, vocab_size=11)
    return T5ForConditionalGeneration(config)


def test_a_fitting_checkpoint_gives_its_weights(tmp_path: Path) -> None:
    model = t5()
    model.save_pretrained(tmp_path)
    for model_class in (T5ForConditionalGeneration, AutoModelForSeq2SeqLM):
        loaded = load_pretrained(model_class, tmp_path)
        for key, value in model.state_dict().items():
            torch.testing.assert_close(loaded.state_dict()[key], value, rtol=0, atol=0)


def test_another_architecture_is_refused_by_name_and_keys(tmp_path: Path) -> None:
    GPT2LMHeadModel(
        GPT2Config(n_embd=8, n_layer=1, n_head=2, vocab_size=11, bos_token_id=1, eos_token_id=1)
    ).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"says GPT2LMHeadModel\) does not fit AutoModelForSeq2Seq"):
        load_pretrained(AutoModelForSeq2SeqLM, tmp_path)
    with pytest.raises(UserError, match=r"lacks decoder\..* has besides transformer\."):
        load_pretrained(T5ForConditionalGeneration, tmp_path)


def test_a_weight_of_another_shape_is_named(tmp_path: Path) -> None:
    t5(d_ff=8).save_pretrained(tmp_path)
    t5(d_ff=16).config.save_pretrained(tmp_path)
    with pytest.raises(
        UserError, match=r"DenseReluDense\.wi\.weight is \[8, 8\] there and \[16, 8\]"
    ):
        load_pretrained(T5ForConditionalGeneration, tmp_path)


def test_a_weight_that_is_missing_is_named(tmp_path: Path) -> None:
    model = t5()
    model.save_pretrained(tmp_path)
    state = {key: value.clone() for key, value in model.state_dict().items() if "final" not in key}
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"lacks decoder\.final_layer_norm\.weight"):
        load_pretrained(T5ForConditionalGeneration, tmp_path)


def test_no_checkpoint_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no checkpoint"):
        load_pretrained(T5ForConditionalGeneration, tmp_path)
    with pytest.raises(UserError, match="neither a folder nor"):
        load_pretrained(T5ForConditionalGeneration, "no-such/name")
    with pytest.raises(UserError, match="no tokenizer"):
        load_tokenizer(tmp_path)


def test_a_pickle_of_tensors_is_read_and_one_that_runs_code_is_not(tmp_path: Path) -> None:
    path = tmp_path / "pytorch_model.bin"
    torch.save({"weight": torch.ones(2)}, path)
    assert read_weights(tmp_path)["weight"].tolist() == [1, 1]

    marker = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> tuple:
            return Path.touch, (marker,)

    torch.save({"weight": Evil()}, path)
    with pytest.raises(UserError, match="convert it to safetensors"):
        read_weights(tmp_path)
    assert not marker.exists()


def test_safetensors_are_taken_before_pickles_and_shards_together(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1)}, tmp_path / "pytorch_model.bin")
    save_file({"a": torch.ones(1)}, tmp_path / "model-00001-of-00002.safetensors")
    save_file({"b": torch.ones(1)}, tmp_path / "model-00002-of-00002.safetensors")
    assert {key: value.item() for key, value in read_weights(tmp_path).items()} == {"a": 1, "b": 1}
    with pytest.raises(UserError, match="no weights"):
        read_weights(tmp_path.parent / tmp_path.name / "..")


def test_strict_loading_with_a_key_map() -> None:
    module = nn.Linear(2, 3)
    state = {"old.w": torch.ones(3, 2), "old.bias": torch.zeros(3), "unused.x": torch.ones(1)}
    keys = [(r"^old\.", ""), (r"^w$", "weight"), (r"^unused\..*", "")]
    load_strict(module, state, "somewhere", keys)
    assert module.weight.tolist() == [[1, 1]] * 3
    with pytest.raises(UserError, match=r"lacks weight; it has besides unused\.x, w"):
        load_strict(module, state, "somewhere", [(r"^old\.", "")])
    with pytest.raises(UserError, match=re.escape("bias is [4] there and [3] here")):
        load_strict(module, state | {"old.bias": torch.zeros(4)}, "somewhere", keys)
    with pytest.raises(ValueError, match="two names into 'same'"):
        load_strict(module, state, "somewhere", [(".+", "same")])


def test_a_vocabulary_that_the_network_does_not_know_is_refused(tmp_path: Path) -> None:
    tokenizer = learn_bpe(["one text, and another one"] * 3, 300)
    tokenizer.save_pretrained(tmp_path)
    assert len(load_tokenizer(tmp_path)) == len(tokenizer)  # there is no network beside it
    for size in (len(tokenizer), len(tokenizer) + 5):  # it may be padded
        T5Config(vocab_size=size).save_pretrained(tmp_path)
        assert len(load_tokenizer(tmp_path)) == len(tokenizer)
    T5Config(vocab_size=len(tokenizer) - 1).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"has (\d+) tokens, of which .* its own tokenizer"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_weights_are_fp32_whatever_the_file_holds(tmp_path: Path, kind: torch.dtype) -> None:
    t5().to(kind).save_pretrained(tmp_path)
    for model_class in (T5ForConditionalGeneration, AutoModelForSeq2SeqLM):
        loaded = load_pretrained(model_class, tmp_path)
        assert {value.dtype for value in loaded.state_dict().values()} == {torch.float32}
    assert stored_dtype(tmp_path) == str(kind).removeprefix("torch.")
    assert load_pretrained(T5ForConditionalGeneration, tmp_path, dtype=kind).dtype is kind


def test_the_type_of_what_is_no_checkpoint_is_unknown(tmp_path: Path) -> None:
    assert stored_dtype(tmp_path) == ""
    assert stored_dtype(tmp_path / "missing") == ""
