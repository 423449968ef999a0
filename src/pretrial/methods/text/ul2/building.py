"""Where a UL2 comes from: from scratch, from a public checkpoint, from a folder of ours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pretrial.bases.prompted import Example
from pretrial.checkpoints.pretrained import load_generator
from pretrial.corrupt.denoisers import raw_length
from pretrial.errors import UserError
from pretrial.methods.text.ul2.config import MODES, Config, token_of
from pretrial.models.architectures.conditional import (
    ConditionalLM,
    architecture_of,
    new_llama,
    set_architecture,
)
from pretrial.models.architectures.seq2seq import new_t5
from pretrial.models.tokenizers import (
    add_task_tokens,
    check_sentinels,
    learn_bpe,
    sentinel_ids,
    texts_of,
)

_SPECIALS = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
_NUM_SENTINELS = 100  # of a decoder that has none yet; as many as T5 has


def from_scratch(config: Config, data: Sequence[Example] | None) -> tuple[Any, Any]:
    """An untrained network and a vocabulary learnt from the data; no vocabulary without data."""
    tokenizer, vocab_size = None, config.vocab_size
    if data is not None:
        encoder = config.architecture == "encoder_decoder"
        tokenizer = learn_bpe(
            texts_of(data, lambda example: (example.prompt, example.target)),
            config.vocab_size,
            num_sentinels=config.num_sentinels or needed_sentinels(config),
            task_tokens=[token_of(mode) for mode in MODES.values()],
            specials=_SPECIALS,
            template="$A </s>" if encoder else "<pad> $A",  # as it begins in training
        )
        vocab_size = len(tokenizer)
    sizes: dict[str, Any] = {
        "width": config.width,
        "num_layers": config.num_layers,
        "num_heads": config.num_heads,
        "feed_forward": config.feed_forward,
        "head_size": config.head_size,
        "tied": False,
    }
    if config.architecture == "encoder_decoder":
        dropout = config.dropout_prob
        return new_t5(vocab_size, dropout_prob=dropout, activation="gated-silu", **sizes), tokenizer
    longest = config.max_inputs + config.max_targets
    network = new_llama(vocab_size, config.architecture, max_positions=longest, **sizes)
    return network, tokenizer


def needed_sentinels(config: Config) -> int:
    """The most spans that a denoiser makes of the longest text that it takes."""
    spans = [0]
    for member in config.members():
        length = raw_length(
            member,
            config.max_inputs - config.mode_tokens,
            config.max_targets,
            config.max_inputs + config.max_targets,
            joined=config.architecture != "encoder_decoder",
            t5_spans=config.t5_spans,
        )
        spans.append(member.longest(length, config.t5_spans)[2])
    return max(spans)


def load(config: Config, source: str | Path) -> tuple[Config, Any, Any]:
    """The config, the network and the tokenizer of a checkpoint.

    A decoder that knows no sentinels and modes gets tokens for them; an encoder-decoder must have
    sentinels, and has its modes as plain text where it has no tokens for them.

    Raises:
        UserError: it is of another architecture, or lacks what is needed.
    """
    network, tokenizer = load_generator(source)
    if tokenizer.eos_token_id is None:
        raise UserError(f"the tokenizer of {source} has no end token: give it one")
    if network.config.is_encoder_decoder:
        config = replace(config, architecture="encoder_decoder")
        check_sentinels(tokenizer, network.get_input_embeddings().num_embeddings, 1)
        return config, network, tokenizer
    if config.architecture == "encoder_decoder":
        config = replace(config, architecture="prefix_decoder")
    if not hasattr(network.config, "attention_pattern"):  # a causal one from elsewhere
        set_architecture(network, config.architecture)
    config = replace(config, architecture=architecture_of(network))
    longest = getattr(network.config, "max_position_embeddings", None)
    if longest is not None and config.max_inputs + config.max_targets > longest:
        raise UserError(
            f"{source} reads {longest} tokens: give --max-inputs and --max-targets whose sum is at"
            " most that"
        )
    if not sentinel_ids(tokenizer):
        further = [f"<extra_id_{number}>" for number in range(_NUM_SENTINELS)]
        modes = [token_of(mode) for mode in MODES.values()]
        add_task_tokens(tokenizer, network, [*further, *modes])
    return config, network, tokenizer


def save(model: ConditionalLM, folder: Path) -> None:
    """Network and tokenizer in the layout of transformers."""
    model.network.save_pretrained(folder)
    model.tokenizer.save_pretrained(folder)
