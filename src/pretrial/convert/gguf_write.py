"""GGUF files of language models of Llama's layout, their weights in 16, 8 or 4 bits.

llama.cpp and what is built on it serve such a file on a processor; `load_gguf` reads it. Weights of
8 bits are whole numbers with a scale for each 32 of a row (Q8_0), those of 4 bits have a smallest
value too (Q4_1). Norms stay as they are, and so does a matrix whose rows are no multiple of 32.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from pretrial.errors import UserError, missing_package
from pretrial.files import whole_file
from pretrial.models.architectures.layouts import architecture_of

Bits = Literal[16, 8, 4]
_KINDS = {16: "F16", 8: "Q8_0", 4: "Q4_1"}
_BLOCK = 32  # values that share a scale


def write_gguf(network: Any, tokenizer: Any, path: Path, bits: Bits = 8, name: str = "") -> None:
    """Writes a model and its tokenizer as one file.

    Args:
        network: a `LlamaForCausalLM`.
        tokenizer: a byte-level BPE of transformers.
        path: the file; it appears when all is written.
        bits: of a weight.
        name: of the model, kept in the file.

    Raises:
        UserError: the model or the tokenizer is of another kind, or gguf is not installed.
    """
    try:
        import gguf
    except ModuleNotFoundError:
        raise missing_package("gguf", "code") from None
    config = network.config
    if architecture_of(network) == "prefix_decoder":
        raise UserError(
            "a GGUF file is read as a causal decoder, and the inputs of this model see each other:"
            " export a folder, whose README.md gives the mask, or train a causal_decoder"
        )
    if not _is_plain(config):
        raise UserError(
            f"a GGUF file is written of a plain Llama, not of a {config.model_type}, or of one with"
            " biases or scaled positions: export a folder, and convert it with llama.cpp"
        )
    with whole_file(path) as file:
        writer = gguf.GGUFWriter(file.name, "llama")
        _put_sizes(writer, config, name or path.stem)
        _put_tokens(writer, tokenizer, config.vocab_size)
        names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers)
        kind = gguf.GGMLQuantizationType[_KINDS[bits]]
        plain = gguf.GGMLQuantizationType.F32
        for key, weight in network.state_dict().items():
            if key == "lm_head.weight" and config.tie_word_embeddings:
                continue
            values = _ordered(key, weight, config).float().numpy()
            fits = values.ndim == 2 and (bits == 16 or values.shape[1] % _BLOCK == 0)
            used = kind if fits else plain
            new = names.get_name(key, try_suffixes=(".weight",))
            assert new is not None, key
            writer.add_tensor(new, gguf.quants.quantize(values, used), raw_dtype=used)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()


_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_AFTER_DIGITS = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
#: Expressions that split texts, and what llama.cpp calls them: digits by threes, and one by one.
_SPLITS = {
    rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{{1,3}}{_AFTER_DIGITS}": "llama-bpe",
    rf"{_CONTRACTIONS}|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{_AFTER_DIGITS}": "qwen2",
}


def _is_plain(config: Any) -> bool:
    if config.model_type != "llama" or config.attention_bias or config.mlp_bias:
        return False
    return (config.rope_parameters or {}).get("rope_type", "default") == "default"


def _put_sizes(writer: Any, config: Any, name: str) -> None:
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_name(name)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)


def _put_tokens(writer: Any, tokenizer: Any, size: int) -> None:
    """The vocabulary and merges of a byte-level BPE; places without a token are named unused."""
    import gguf

    inner = json.loads(tokenizer.backend_tokenizer.to_str())
    merges, split = _merges(inner), _split_name(inner)
    if merges is None or not split:
        raise UserError(
            "a GGUF file is written with a byte-level BPE tokenizer that splits texts before the"
            " merges as GPT-2, SmolLM, Llama 3 or Qwen 2 do, without a normaliser, and this is"
            " another: export a folder, and convert it with llama.cpp"
        )
    tokens = [f"[UNUSED{place}]" for place in range(size)]
    kinds = [int(gguf.TokenType.UNUSED)] * size
    for token, place in tokenizer.get_vocab().items():
        tokens[place], kinds[place] = token, int(gguf.TokenType.NORMAL)
    for place, added in tokenizer.added_tokens_decoder.items():
        control = gguf.TokenType.CONTROL if added.special else gguf.TokenType.USER_DEFINED
        kinds[place] = int(control)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(split)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    for kind in ("bos", "eos", "unk", "pad"):
        place = getattr(tokenizer, f"{kind}_token_id")
        if place is not None:
            getattr(writer, f"add_{kind}_token_id")(place)
    writer.add_add_bos_token(False)
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)


def _merges(inner: Mapping[str, Any]) -> list[str] | None:
    """The merges of a BPE as pairs with a space between; None of another model."""
    model = inner["model"]
    if model["type"] != "BPE":
        return None
    return [" ".join(pair) if isinstance(pair, list) else pair for pair in model["merges"]]


def _split_name(inner: Mapping[str, Any]) -> str:
    """What llama.cpp calls the way in which a text is split before the merges; "" if it has none.

    llama.cpp knows a way by its name alone, so a tokenizer that splits otherwise would be read as
    one that does not: it must be just one of these.
    """
    pre = inner["pre_tokenizer"] or {}
    steps = pre["pretokenizers"] if pre.get("type") == "Sequence" else [pre]
    first, last = steps[0], steps[-1]
    if inner["normalizer"] or last.get("type") != "ByteLevel" or last["add_prefix_space"]:
        return ""
    if len(steps) == 1:
        return "gpt-2" if last["use_regex"] else ""
    if len(steps) > 2:
        return ""
    if first["type"] == "Digits" and last["use_regex"]:
        return "smollm" if first["individual_digits"] else ""
    if first["type"] == "Split" and not last["use_regex"]:
        isolated = first["behavior"] == "Isolated" and not first["invert"]
        return _SPLITS.get(first["pattern"].get("Regex", ""), "") if isolated else ""
    return ""


def _ordered(key: str, weight: Tensor, config: Any) -> Tensor:
    """The weight as llama.cpp has it: there rotary pairs are neighbours, and here half a head."""
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}
    number = next((n for part, n in heads.items() if f".{part}." in key), 0)
    if not number:
        return weight.detach().cpu()
    split = weight.detach().cpu().view(number, 2, -1, weight.shape[1])
    return split.transpose(1, 2).reshape(weight.shape)
