"""Further layers of BERT between its encoder and its head, for pre-training only."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import BertConfig
from transformers.models.bert.modeling_bert import BertLayer

from pretrial.models.layers.attention_masks import key_mask


class DecoderLayer(BertLayer):
    """A layer of BERT whose queries may be other states than its keys."""

    def forward(self, queries: Tensor, keys: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        """The queries [B, T, d] after reading the keys [B, T, d]; see `key_mask` for the mask."""
        own: Any = self.attention.self
        query, key, value = (
            linear(states).unflatten(-1, (own.num_attention_heads, -1)).transpose(1, 2)
            for linear, states in ((own.query, queries), (own.key, keys), (own.value, keys))
        )
        dropout_prob = own.dropout.p if self.training else 0.0
        mixed = scaled_dot_product_attention(
            query, key, value, attn_mask=mask, dropout_p=dropout_prob
        )
        read = self.attention.output(mixed.transpose(1, 2).flatten(2), queries)
        return self.output(self.intermediate(read), read)


class MaskDecoder(nn.Module):
    """Layers of BERT; the first may be kept from reading some keys, and queries may be others.

    Args:
        config: of the encoder.
        num_layers: N; with 0 the states stay as they are.
    """

    def __init__(self, config: BertConfig, num_layers: int) -> None:
        super().__init__()
        self.layer = nn.ModuleList(DecoderLayer(config) for _ in range(num_layers))

    def forward(
        self,
        states: Tensor,
        attention_mask: Tensor,
        hidden: Tensor | None = None,
        places: Tensor | None = None,
    ) -> Tensor:
        """States after the last layer [B, T, d].

        Args:
            states: the encoder's [B, T, d].
            attention_mask: True where there is a token [B, T].
            hidden: True at keys that the first layer does not read [B, T].
            places: embeddings of absolute positions [T, d]. They are added to the first queries,
                and all layers take keys and values from the encoder, as in DeBERTa's enhanced mask
                decoder (2006.03654, section 3.2); None: a layer reads what the one before gave.
        """
        everything = key_mask(attention_mask, states.dtype)
        first = everything if hidden is None else key_mask(attention_mask & ~hidden, states.dtype)
        queries = states if places is None else states + places
        for number, layer in enumerate(self.layer):
            keys = queries if places is None else states
            queries = layer(queries, keys, everything if number else first)
        return queries
