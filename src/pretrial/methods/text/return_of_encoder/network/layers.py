"""The layers of Mu: attention with few heads and rotary positions, plain feed-forward layers."""

from __future__ import annotations

from typing import Any

import torch
from huggingface_hub.dataclasses import strict
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedConfig


@strict
class MuConfig(PreTrainedConfig):
    """Settings of Mu; the defaults are the published 330 M parameters.

    Attributes:
        hidden_size: d.
        intermediate_size: inner width of the feed-forward layers.
        encoder_layers: 0 in a decoder-only model.
        decoder_layers: layers of the decoder.
        num_attention_heads: query heads.
        num_key_value_heads: heads of keys and values, each shared by a group of query heads.
        head_dim: width of a head; all of them together may be narrower than d.
        max_position_embeddings: tokens that were trained on.
        dropout: of attention and after feed-forward layers, while training.
        rope_theta: base of the rotary positions.
        rope_factor: above 1, the encoder's base grows with inputs longer than it was trained on
            (dynamic NTK). The decoder's does not: its keys are cached, and would have to turn.
        head_bias: the output layer has a bias, as in the release for images.
        vision_config: settings of CLIP's vision model; None without images.
        vision_layer: whose patches the projector reads, counted as in `hidden_states`.
        image_token_id: stands where a patch goes in the encoder's input.
    """

    model_type = "mu"
    attribute_map = {"num_hidden_layers": "decoder_layers"}

    vocab_size: int = 32128
    hidden_size: int = 1024
    intermediate_size: int = 4096
    encoder_layers: int = 20
    decoder_layers: int = 10
    num_attention_heads: int = 6
    num_key_value_heads: int = 3
    head_dim: int = 64
    max_position_embeddings: int = 1024
    dropout: float | int = 0.1
    rope_theta: float | int = 10_000
    rope_factor: float | int = 1.0
    norm_eps: float = 1e-6
    initializer_range: float = 0.02
    head_bias: bool = False
    vision_config: dict[str, Any] | None = None
    vision_layer: int = -2
    image_token_id: int | None = None
    pad_token_id: int | None = 0
    bos_token_id: int | None = 1
    eos_token_id: int | list[int] | None = 2
    decoder_start_token_id: int | None = 1
    is_encoder_decoder: bool = True
    tie_word_embeddings: bool = True


def rotations(config: MuConfig, places: Tensor, length: int = 0) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the angles by which queries and keys are turned.

    Args:
        config: the base, and the width of a head.
        places: positions [T] or [B, T].
        length: tokens of an input that may be longer than those trained on.

    Returns:
        Two tensors [T, head_dim] or [B, T, head_dim] of float32.
    """
    width, base, longest = config.head_dim, config.rope_theta, config.max_position_embeddings
    if config.rope_factor > 1 and length > longest:
        stretch = config.rope_factor * length / longest - (config.rope_factor - 1)
        base = base * stretch ** (width / (width - 2))
    steps = torch.arange(0, width, 2, device=places.device, dtype=torch.float32) / width
    angles = places[..., None].float() * base**-steps
    both = torch.cat([angles, angles], dim=-1)
    return both.cos(), both.sin()


def turned(rows: Tensor, turn: tuple[Tensor, Tensor]) -> Tensor:
    """Rows [B, heads, T, width], turned; the halves of a head are the two axes of its planes."""
    cos, sin = (each.unsqueeze(-3).to(rows.dtype) for each in turn)
    one, other = rows.chunk(2, dim=-1)
    return rows * cos + torch.cat([-other, one], dim=-1) * sin


class Attention(nn.Module):
    """Grouped-query attention with biases; query head h uses key/value head h // group.

    Args:
        config: sizes.
        layer: place of the layer, by which caches find it.
    """

    def __init__(self, config: MuConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.head_dim = config.head_dim
        self.num_kv_heads = config.num_key_value_heads
        self.dropout_prob = config.dropout
        width, narrow = config.hidden_size, config.num_attention_heads * config.head_dim
        self.q_proj = nn.Linear(width, narrow)
        self.k_proj = nn.Linear(width, config.num_key_value_heads * config.head_dim)
        self.v_proj = nn.Linear(width, config.num_key_value_heads * config.head_dim)
        self.o_proj = nn.Linear(narrow, width)

    def heads(self, rows: Tensor) -> Tensor:
        """[B, T, heads * width] as [B, heads, T, width]."""
        return rows.unflatten(-1, (-1, self.head_dim)).transpose(1, 2)

    def forward(
        self,
        states: Tensor,
        mask: Tensor | None = None,
        turn: tuple[Tensor, Tensor] | None = None,
        cache: Any = None,
    ) -> Tensor:
        """Self-attention.

        Args:
            states: [B, T, d].
            mask: added to the scores, [B or 1, 1, T or 1, K]; None sees all.
            turn: of the positions of `states`, see `rotations`.
            cache: of transformers; takes the new keys and values and gives all.
        """
        query, key = self.heads(self.q_proj(states)), self.heads(self.k_proj(states))
        value = self.heads(self.v_proj(states))
        if turn is not None:
            query, key = turned(query, turn), turned(key, turn)
        if cache is not None:
            key, value = cache.update(key, value, self.layer)
        return self.attend(query, key, value, mask)

    def cross(self, states: Tensor, memory: Tensor, mask: Tensor | None, cache: Any) -> Tensor:
        """Attention to an encoder's states, whose keys and values are made once a request.

        Args:
            states: [B, T, d].
            memory: the encoder's states [B, S, d].
            mask: added to the scores [B, 1, 1, S].
            cache: an `EncoderDecoderCache`, or None.
        """
        query = self.heads(self.q_proj(states))
        if cache is not None and cache.is_updated.get(self.layer):
            held = cache.cross_attention_cache.layers[self.layer]
            return self.attend(query, held.keys, held.values, mask)
        key, value = self.heads(self.k_proj(memory)), self.heads(self.v_proj(memory))
        if cache is not None:
            key, value = cache.cross_attention_cache.update(key, value, self.layer)
            cache.is_updated[self.layer] = True
        return self.attend(query, key, value, mask)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """Query heads of a group are read as further queries of one head: no key is copied."""
        rows, num_heads, length, width = query.shape
        group = num_heads // self.num_kv_heads
        grouped = query.reshape(rows, self.num_kv_heads, group * length, width)
        if mask is not None:
            mask = mask.to(query.dtype)
            if mask.shape[2] > 1:
                mask = mask.repeat(1, 1, group, 1)
        read = F.scaled_dot_product_attention(
            grouped,
            key,
            value,
            attn_mask=mask,
            dropout_p=self.dropout_prob if self.training else 0.0,
        )
        read = read.view(rows, num_heads, length, width)
        return self.o_proj(read.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two linear layers with the tanh form of GELU between them."""

    def __init__(self, config: MuConfig) -> None:
        super().__init__()
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size)
        self.down_proj = nn.Linear(config.intermediate_size, config.hidden_size)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, states: Tensor) -> Tensor:
        inner = F.gelu(self.up_proj(states), approximate="tanh")
        return self.dropout(self.down_proj(inner))


class Layer(nn.Module):
    """Self-attention, cross-attention where there is an encoder, feed-forward; norms before each.

    Args:
        config: sizes.
        place: of the layer.
        cross: with cross-attention.
    """

    def __init__(self, config: MuConfig, place: int, cross: bool = False) -> None:
        super().__init__()
        self.self_norm = nn.RMSNorm(config.hidden_size, eps=config.norm_eps)
        self.self_attn = Attention(config, place)
        if cross:
            self.cross_norm = nn.RMSNorm(config.hidden_size, eps=config.norm_eps)
            self.cross_attn = Attention(config, place)
        self.mlp_norm = nn.RMSNorm(config.hidden_size, eps=config.norm_eps)
        self.mlp = FeedForward(config)

    def forward(
        self,
        states: Tensor,
        mask: Tensor | None,
        turn: tuple[Tensor, Tensor],
        cache: Any = None,
        memory: Tensor | None = None,
        memory_mask: Tensor | None = None,
    ) -> Tensor:
        """States after the layer [B, T, d]; the arguments are those of `Attention`."""
        own = getattr(cache, "self_attention_cache", cache)
        states = states + self.self_attn(self.self_norm(states), mask, turn, own)
        if memory is not None:
            asked = self.cross_norm(states)
            states = states + self.cross_attn.cross(asked, memory, memory_mask, cache)
        return states + self.mlp(self.mlp_norm(states))
