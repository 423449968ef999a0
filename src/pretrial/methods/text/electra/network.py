"""ELECTRA's two networks together; transformers has them only one by one."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from torch import Tensor, nn
from transformers import ElectraConfig, ElectraForMaskedLM, ElectraForPreTraining

from pretrial.checkpoints.keys import load_config
from pretrial.checkpoints.pretrained import load_encoder
from pretrial.corrupt.masks import chosen_of
from pretrial.errors import UserError
from pretrial.models.architectures.text_encoder import hidden_states

Encoder = ElectraForPreTraining | ElectraForMaskedLM
Tie = Literal["embeddings", "all", "none"]

GENERATOR = "generator"
_DISCRIMINATOR = "-discriminator"
MEND = (
    "give the name or folder of an ELECTRA checkpoint, such as google/electra-small-discriminator"
)


def generator_config(
    encoder: ElectraConfig, width_ratio: float, depth_ratio: float
) -> ElectraConfig:
    """A narrower (and shallower) copy with the same embedding size and heads of the same width.

    Args:
        encoder: config of the discriminator.
        width_ratio: generator's hidden size over the discriminator's.
        depth_ratio: the same of the number of layers.
    """
    head_size = encoder.hidden_size // encoder.num_attention_heads
    num_heads = max(1, round(encoder.hidden_size * width_ratio / head_size))
    width = max(num_heads, round(encoder.hidden_size * width_ratio))
    width -= width % num_heads
    config = copy.deepcopy(encoder)
    config.hidden_size = width
    config.num_attention_heads = num_heads
    config.intermediate_size = round(encoder.intermediate_size * width / encoder.hidden_size)
    config.num_hidden_layers = max(1, round(encoder.num_hidden_layers * depth_ratio))
    return config


def tie(generator: ElectraForMaskedLM, encoder: Encoder, what: Tie) -> None:
    """Makes the generator use the encoder's weights.

    "embeddings" shares word, position and type embeddings with their LayerNorm, "all" the whole
    encoder; "none" leaves the generator its own. In each case the generator's softmax has the
    matrix of the word embeddings that it reads with.

    Raises:
        UserError: the sizes do not allow it.
    """
    own, other = generator.electra, encoder.electra
    if what == "embeddings":
        _demand_equal(own, other, ("vocab_size", "embedding_size", "max_position_embeddings"))
        own.embeddings = other.embeddings
    elif what == "all":
        names = ("vocab_size", "embedding_size", "hidden_size", "num_hidden_layers")
        _demand_equal(own, other, names)
        generator.electra = other
    generator.generator_lm_head.weight = generator.electra.embeddings.word_embeddings.weight


def _demand_equal(generator: nn.Module, encoder: nn.Module, names: tuple[str, ...]) -> None:
    for name in names:
        own, other = getattr(generator.config, name), getattr(encoder.config, name)
        if own != other:
            raise UserError(
                f"weights cannot be shared: {name} is {own} in the generator and {other} in the"
                ' encoder; make them equal, or set tie="none"'
            )


def masked_logits(network: ElectraForMaskedLM, batch: Mapping[str, Any]) -> Tensor:
    """What a masked language model predicts at the chosen positions alone [N, V].

    Args:
        network: the model.
        batch: of `corrupt.masks.mask_windows`.
    """
    states = hidden_states(network.electra, batch["input_ids"], batch["attention_mask"])
    return token_logits(network, chosen_of(states, batch))


def token_logits(network: ElectraForMaskedLM, states: Tensor) -> Tensor:
    """The head alone: logits [N, V] of hidden states [N, d]."""
    return network.generator_lm_head(network.generator_predictions(states))


def generator_of(source: str | Path) -> ElectraForMaskedLM | None:
    """The generator that belongs to a discriminator, None where there is none.

    It is the folder "generator" inside `source`, or the checkpoint of the same name that ends in
    "-generator" instead of "-discriminator".

    Raises:
        UserError: it does not fit.
    """
    inside, name = Path(source) / GENERATOR, str(source)
    if inside.is_dir():
        return load_encoder(inside, ElectraForMaskedLM, MEND)
    if not name.endswith(_DISCRIMINATOR):
        return None
    other = f"{name.removesuffix(_DISCRIMINATOR)}-{GENERATOR}"
    try:
        load_config(other)
    except (OSError, ValueError):
        return None
    return load_encoder(other, ElectraForMaskedLM, MEND)
