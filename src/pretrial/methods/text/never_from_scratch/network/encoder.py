"""Encoders of long sequences, of attention or of state spaces, as models of transformers.

They read token ids or numbers. Importing this module registers them, and the Auto classes then
load what `save_pretrained` wrote.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import BaseModelOutput, SequenceClassifierOutput

from pretrial.methods.text.never_from_scratch.network.attention import SequenceAttention
from pretrial.methods.text.never_from_scratch.network.selective_scan import SelectiveLayer
from pretrial.methods.text.never_from_scratch.network.state_space import (
    DLRKernel,
    S4DKernel,
    S4Kernel,
    StateSpaceLayer,
)


@strict
class LongSequenceConfig(PreTrainedConfig):
    """Sizes of an encoder, and what it takes to turn data into its inputs.

    Attributes:
        mixer: "transformer", "s4", "s4d", "dlr" or "mamba".
        vocab_size: of token ids; 0 reads numbers.
        num_channels: numbers an entry.
        intermediate_size: of feed-forward layers, which transformers alone have.
        causal: attention sees the past alone.
        rotary: positions turn queries and keys, and no sinusoids are added.
        window: see `SequenceAttention`.
        state_size: of state spaces.
        bidirectional: state spaces have kernels of both directions; "mamba" has none.
        structured: state spaces start from their theory, else at random.
        dt_min: least initial step of state spaces.
        dt_max: largest initial step of state spaces.
        prenorm: norms stand before layers and behind the last; else behind each sum.
        head: of the classifier: "mlp" or "linear".
        input_kind: "bytes" of a text, "tokens" of a vocabulary, or "signal".
        vocabulary: the tokens, in the order of their ids; for "tokens" alone.
        low: the number that becomes -1; for "signal" alone.
        high: the number that becomes 1; for "signal" alone.
    """

    model_type = "long_sequence"

    mixer: str = "transformer"
    vocab_size: int = 0
    num_channels: int = 1
    hidden_size: int = 64
    num_hidden_layers: int = 2
    num_attention_heads: int = 4
    intermediate_size: int = 128
    hidden_dropout_prob: float = 0.0
    causal: bool = False
    rotary: bool = False
    window: int = 0
    state_size: int = 64
    bidirectional: bool = True
    structured: bool = True
    dt_min: float = 0.001
    dt_max: float = 0.1
    prenorm: bool = True
    head: str = "mlp"
    max_position_embeddings: int = 1024
    input_kind: str = "signal"
    vocabulary: list[str] | None = None
    low: float = -1.0
    high: float = 1.0
    tie_word_embeddings: bool = False


def _mixer(config: LongSequenceConfig) -> nn.Module:
    width = config.hidden_size
    if config.mixer == "transformer":
        return SequenceAttention(
            width,
            config.num_attention_heads,
            causal=config.causal,
            rotary=config.rotary,
            window=config.window,
        )
    if config.mixer == "mamba":
        return SelectiveLayer(
            width,
            config.state_size,
            structured=config.structured,
            dt_min=config.dt_min,
            dt_max=config.dt_max,
        )
    kinds: dict[str, Any] = {"s4": S4Kernel, "s4d": S4DKernel, "dlr": DLRKernel}
    options: dict[str, Any] = {"structured": config.structured}
    if config.mixer == "s4":
        options["kernel_length"] = config.max_position_embeddings
    kernel = kinds[config.mixer](
        width,
        config.state_size,
        2 if config.bidirectional else 1,
        dt_min=config.dt_min,
        dt_max=config.dt_max,
        **options,
    )
    return StateSpaceLayer(kernel, width, config.hidden_dropout_prob)


class _Block(nn.Module):
    """A mixer of positions, and in transformers a feed-forward layer, each added to its input."""

    def __init__(self, config: LongSequenceConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.prenorm = config.prenorm
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.mixer = _mixer(config)
        self.mixer_norm = nn.LayerNorm(width)
        self.feed: nn.Module | None = None
        if config.mixer == "transformer":
            self.feed = nn.Sequential(
                nn.Linear(width, config.intermediate_size),
                nn.GELU(),
                nn.Linear(config.intermediate_size, width),
            )
            self.feed_norm = nn.LayerNorm(width)

    def forward(self, states: Tensor, attention_mask: Tensor | None) -> Tensor:
        """States [B, T, d] to states."""
        if self.prenorm:
            states = states + self.dropout(self.mixer(self.mixer_norm(states), attention_mask))
        else:
            states = self.mixer_norm(states + self.dropout(self.mixer(states, attention_mask)))
        if self.feed is None:
            return states
        if self.prenorm:
            return states + self.dropout(self.feed(self.feed_norm(states)))
        return self.feed_norm(states + self.dropout(self.feed(states)))


class LongSequencePreTrainedModel(PreTrainedModel):
    """What the models share. Every module begins as torch or its own class has it."""

    config_class = LongSequenceConfig
    base_model_prefix = "encoder"
    _input_embed_layer = "embed"

    def _init_weights(self, module: nn.Module) -> None:
        """Leaves what the modules have drawn."""


class LongSequenceModel(LongSequencePreTrainedModel):
    """The encoder.

    Args:
        config: its settings.
    """

    def __init__(self, config: LongSequenceConfig) -> None:
        super().__init__(config)
        width = config.hidden_size
        self.embed: nn.Module
        if config.vocab_size:
            self.embed = nn.Embedding(config.vocab_size, width)
        else:
            self.embed = nn.Linear(config.num_channels, width)
        self.layers = nn.ModuleList(_Block(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(width) if config.prenorm else nn.Identity()
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        values: Tensor | None = None,
        **_: Any,
    ) -> BaseModelOutput:
        """Last hidden states [B, T, d].

        Args:
            input_ids: token ids [B, T], where the encoder has a vocabulary.
            attention_mask: 1 where there is an entry, 0 at padding, which stands behind [B, T];
                None: everywhere.
            values: else numbers [B, T, C].
        """
        states = self.embed(input_ids if values is None else values)
        if self.config.mixer == "transformer" and not self.config.rotary:
            states = states + sinusoids(states.shape[1], states)
        mask = None if attention_mask is None else attention_mask.bool()
        for layer in self.layers:
            states = layer(states, mask)
        return BaseModelOutput(last_hidden_state=self.norm(states))


class LongSequenceForSequenceClassification(LongSequencePreTrainedModel):
    """The encoder and a head on the mean of its last states."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        width = config.hidden_size
        self.encoder = LongSequenceModel(config)
        self.classifier: nn.Module = nn.Linear(width, config.num_labels)
        if config.head == "mlp":
            self.classifier = nn.Sequential(nn.Linear(width, width), nn.ReLU(), self.classifier)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        values: Tensor | None = None,
        labels: Tensor | None = None,
        **_: Any,
    ) -> SequenceClassifierOutput:
        """Logits [B, num_labels], and the mean loss over labels [B]; see `LongSequenceModel`."""
        states = self.encoder(input_ids, attention_mask, values).last_hidden_state
        logits = self.classifier(mean_over(states, attention_mask))
        loss = None if labels is None else F.cross_entropy(logits.float(), labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)


def mean_over(states: Tensor, attention_mask: Tensor | None) -> Tensor:
    """Means [B, d] of states [B, T, d] over the entries that are no padding [B, T]."""
    if attention_mask is None:
        return states.mean(1)
    weights = attention_mask[..., None].to(states.dtype)
    return (states * weights).sum(1) / weights.sum(1)


def sinusoids(length: int, like: Tensor) -> Tensor:
    """Sines and cosines of positions [T, d] (Vaswani and others 2017), of the type of `like`."""
    width = like.shape[-1]
    evens = torch.arange(0, width, 2, device=like.device)
    angles = torch.arange(length, device=like.device)[:, None] * torch.exp(
        evens * (-math.log(10_000.0) / width)
    )
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)[:, :width].to(like.dtype)


AutoConfig.register("long_sequence", LongSequenceConfig)
AutoModel.register(LongSequenceConfig, LongSequenceModel)
AutoModelForSequenceClassification.register(
    LongSequenceConfig, LongSequenceForSequenceClassification
)
