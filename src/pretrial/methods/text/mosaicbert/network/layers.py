"""The layers of MosaicBERT, over tokens without padding, named as in the public checkpoints."""

from __future__ import annotations

from typing import Any

import torch
from huggingface_hub.dataclasses import strict
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BertConfig

from pretrial.methods.text.mosaicbert.network.unpad import Packing, packed_attention


@strict
class MosaicBertConfig(BertConfig):
    """BERT's settings, and what is different here.

    Attributes:
        attention_probs_dropout_prob: 0, since fast attention kernels have no dropout.
        alibi_starting_size: of the public checkpoints; read and ignored, as biases fit any length.
        alibi: distances as biases; False learns an embedding for each position, as BERT does.
        gated: the feed-forward layers are gated; False has those of BERT.
        unpadded: padding is left out of all work.
        low_precision_norm: under autocast, norms stay in its type instead of going up to fp32.
    """

    model_type = "mosaicbert"

    attention_probs_dropout_prob: float | int = 0.0
    alibi_starting_size: int = 512
    alibi: bool = True
    gated: bool = True
    unpadded: bool = True
    low_precision_norm: bool = True


class LowPrecisionLayerNorm(nn.LayerNorm):
    """A LayerNorm that works in autocast's type, where torch's own goes up to fp32."""

    def forward(self, states: Tensor) -> Tensor:
        """The normalised states, in autocast's type if it is on."""
        kind = states.device.type
        if kind == "meta" or not torch.is_autocast_enabled(kind):  # "meta" knows no autocast
            return super().forward(states)
        low = torch.get_autocast_dtype(kind)
        with torch.autocast(kind, enabled=False):
            return F.layer_norm(
                states.to(low),
                self.normalized_shape,
                self.weight.to(low),
                self.bias.to(low),
                self.eps,
            )


def _norm(config: MosaicBertConfig) -> nn.LayerNorm:
    kind = LowPrecisionLayerNorm if config.low_precision_norm else nn.LayerNorm
    return kind(config.hidden_size, eps=config.layer_norm_eps)


class Embeddings(nn.Module):
    """Words and types; positions only without ALiBi."""

    def __init__(self, config: MosaicBertConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.word_embeddings = nn.Embedding(
            config.vocab_size, width, padding_idx=config.pad_token_id
        )
        self.token_type_embeddings = nn.Embedding(config.type_vocab_size, width)
        self.position_embeddings = None
        if not config.alibi:
            self.position_embeddings = nn.Embedding(config.max_position_embeddings, width)
        self.LayerNorm = _norm(config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, ids: Tensor, types: Tensor, layout: Packing) -> Tensor:
        states = self.word_embeddings(ids) + self.token_type_embeddings(types)
        if self.position_embeddings is not None:
            places = torch.as_tensor(layout.places, device=ids.device)
            states = states + self.position_embeddings(places)
        return self.dropout(self.LayerNorm(states))


class _SelfAttention(nn.Module):
    def __init__(self, config: MosaicBertConfig) -> None:
        super().__init__()
        self.num_heads = config.num_attention_heads
        self.dropout_prob = config.attention_probs_dropout_prob
        self.Wqkv = nn.Linear(config.hidden_size, 3 * config.hidden_size)

    def forward(
        self, states: Tensor, layout: Packing, bias: Tensor | None, hidden: Tensor | None
    ) -> Tensor:
        qkv = self.Wqkv(states).view(len(states), 3, self.num_heads, -1)
        dropout_prob = self.dropout_prob if self.training else 0.0
        bias, hidden = (None if mask is None else mask.to(qkv.dtype) for mask in (bias, hidden))
        return packed_attention(qkv, layout, bias, hidden, dropout_prob)


class _SelfOutput(nn.Module):
    def __init__(self, config: MosaicBertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.LayerNorm = _norm(config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, mixed: Tensor, states: Tensor) -> Tensor:
        return self.LayerNorm(self.dropout(self.dense(mixed)) + states)


class _Attention(nn.Module):
    def __init__(self, config: MosaicBertConfig) -> None:
        super().__init__()
        self.self = _SelfAttention(config)
        self.output = _SelfOutput(config)


class _FeedForward(nn.Module):
    """Gated: GELU(first half) times second half; else BERT's, with a bias."""

    def __init__(self, config: MosaicBertConfig) -> None:
        super().__init__()
        width, inner = config.hidden_size, config.intermediate_size
        self.gated = config.gated
        if self.gated:
            self.gated_layers = nn.Linear(width, 2 * inner, bias=False)
        else:
            self.wi = nn.Linear(width, inner)
        self.wo = nn.Linear(inner, width)
        self.layernorm = _norm(config)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)

    def forward(self, states: Tensor) -> Tensor:
        if self.gated:
            gate, value = self.gated_layers(states).chunk(2, -1)
            mixed = self.wo(self.dropout(F.gelu(gate) * value))
        else:
            mixed = self.dropout(self.wo(F.gelu(self.wi(states))))
        return self.layernorm(mixed + states)


class _Layer(nn.Module):
    def __init__(self, config: MosaicBertConfig) -> None:
        super().__init__()
        self.attention = _Attention(config)
        self.mlp = _FeedForward(config)

    def forward(
        self,
        states: Tensor,
        layout: Packing,
        bias: Tensor | None,
        hidden: Tensor | None,
        keep: NDArray[Any] | None,
    ) -> Tensor:
        mixed = self.attention.self(states, layout, bias, hidden)
        if keep is not None:
            mixed, states = mixed[keep], states[keep]
        return self.mlp(self.attention.output(mixed, states))


class Encoder(nn.Module):
    def __init__(self, config: MosaicBertConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(_Layer(config) for _ in range(config.num_hidden_layers))


class Pooler(nn.Module):
    def __init__(self, config: MosaicBertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, states: Tensor) -> Tensor:
        return torch.tanh(self.dense(states[:, 0]))


class _Transform(nn.Module):
    def __init__(self, config: MosaicBertConfig) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        self.LayerNorm = _norm(config)

    def forward(self, states: Tensor) -> Tensor:
        return self.LayerNorm(F.gelu(self.dense(states)))


class _Predictions(nn.Module):
    def __init__(self, config: MosaicBertConfig) -> None:
        super().__init__()
        self.transform = _Transform(config)
        self.decoder = nn.Linear(config.hidden_size, config.vocab_size)

    def forward(self, states: Tensor) -> Tensor:
        return self.decoder(self.transform(states))


class Head(nn.Module):
    def __init__(self, config: MosaicBertConfig) -> None:
        super().__init__()
        self.predictions = _Predictions(config)

    def forward(self, states: Tensor) -> Tensor:
        return self.predictions(states)
