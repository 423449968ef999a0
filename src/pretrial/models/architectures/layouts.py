"""Three layouts of a language model: an encoder with a decoder, a prefix decoder, a causal decoder.

An encoder-decoder reads with one stack and writes with another. A decoder reads and writes with the
same: inputs and targets stand one behind the other. In a prefix (or non-causal) decoder the inputs
see each other, in a causal one every token sees what stands before it; nothing but the mask tells
them apart. Which one a decoder is, its config says: `attention_pattern` is "prefix" or "causal",
and lies with the weights in config.json.
"""

from __future__ import annotations

from typing import Any, Literal

from transformers import LlamaConfig, LlamaForCausalLM

from pretrial.errors import UserError

Architecture = Literal["encoder_decoder", "prefix_decoder", "causal_decoder"]

PATTERNS: dict[Architecture, Literal["prefix", "causal"]] = {
    "prefix_decoder": "prefix",
    "causal_decoder": "causal",
}


def architecture_of(network: Any) -> Architecture:
    """What a network is; a decoder is causal unless its config says otherwise."""
    if network.config.is_encoder_decoder:
        return "encoder_decoder"
    prefix = getattr(network.config, "attention_pattern", "causal") == "prefix"
    return "prefix_decoder" if prefix else "causal_decoder"


def set_architecture(network: Any, architecture: Architecture) -> None:
    """Makes a decoder causal or a prefix decoder; no weight changes.

    Raises:
        UserError: it would have to become an encoder-decoder, or is one.
    """
    if network.config.is_encoder_decoder != (architecture == "encoder_decoder"):
        found = architecture_of(network)
        raise UserError(
            f"the weights of the {found} cannot become those of the {architecture}: decoders"
            " become each other, an encoder-decoder stays one"
        )
    if architecture != "encoder_decoder":
        network.config.attention_pattern = PATTERNS[architecture]


def new_llama(
    vocab_size: int,
    architecture: Architecture,
    *,
    width: int,
    num_layers: int,
    num_heads: int,
    feed_forward: int,
    head_size: int = 0,
    activation: str = "silu",
    tied: bool = True,
    max_positions: int,
    pad_id: int = 0,
    eos_id: int = 1,
) -> LlamaForCausalLM:
    """An untrained decoder with rotary positions and gated layers; `head_size` 0 divides `width`.

    Texts begin with the padding token, as T5's targets do.
    """
    network = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocab_size,
            hidden_size=width,
            intermediate_size=feed_forward,
            num_hidden_layers=num_layers,
            num_attention_heads=num_heads,
            num_key_value_heads=num_heads,
            head_dim=head_size or width // num_heads,
            hidden_act=activation,
            max_position_embeddings=max_positions,
            tie_word_embeddings=tied,
            pad_token_id=pad_id,
            bos_token_id=pad_id,
            eos_token_id=eos_id,
        )
    )
    set_architecture(network, architecture)
    return network
