"""A batch of rows that a transformers model reads on, token by token, with its key/value cache.

`EncoderDecoder`, `DecoderOnly` and `PrefixDecoder` differ in what a prompt is; all are made from
prompts, expanded to rows and thinned out again by `select`, and led on by `feed`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicLayer
from transformers.modeling_outputs import BaseModelOutput

from pretrial.models.decoding.sharing import Sharing, can_share
from pretrial.models.layers.attention_masks import additive_mask

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def padded(
    rows: Sequence[Sequence[int]], fill: int, device: torch.device, length: int = 0
) -> Tensor:
    """[rows, longest] of ids, shorter rows filled up on the right; at least of that length."""
    longest = max(length, *map(len, rows))
    return torch.tensor([[*row, *[fill] * (longest - len(row))] for row in rows], device=device)


class EncoderDecoder:
    """The encoder has read the prompts; the decoder has read its start token.

    Args:
        model: the model, in eval mode.
        prompts: token ids, at least one each.
        pad_token_id: fills the shorter prompts.
        limit: positions that will be fed at most.
    """

    def __init__(
        self, model: PreTrainedModel, prompts: list[Sequence[int]], pad_token_id: int, limit: int
    ) -> None:
        self.model = model
        ids = padded(prompts, pad_token_id, model.device)
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=model.device)
        self.mask = (torch.arange(ids.shape[1], device=model.device) < lengths[:, None]).long()
        encoder = model.get_encoder()
        self.hidden = encoder(input_ids=ids, attention_mask=self.mask).last_hidden_state
        self.owner = torch.arange(len(prompts), device=model.device)
        self.sharing: Sharing | None = None
        self.cache: Any = None
        start = model.config.decoder_start_token_id
        if start is None and model.generation_config is not None:
            start = model.generation_config.decoder_start_token_id
        self.logits = self.feed(ids.new_full((len(prompts), 1), start))
        _make_room(self.cache, 1 + limit)

    def feed(self, tokens: Tensor) -> Tensor:
        """Reads tokens [rows, new] and returns the logits after the last [rows, vocabulary]."""
        output = self.model(
            encoder_outputs=BaseModelOutput(self.hidden),
            attention_mask=self.mask,
            decoder_input_ids=tokens,
            past_key_values=self.cache,
            use_cache=True,
            **({"sharing": self.sharing} if self.sharing else {}),
        )
        self.cache = output.past_key_values
        self.logits = output.logits[:, -1]
        return self.logits

    def select(self, index: Tensor) -> Tensor:
        """Keeps these rows, in this order and as often as they are named; returns their logits.

        Encodings are kept once for each prompt that still has a row where the model can share them
        (see `sharing`), else copied to each row.
        """
        prompts, owner = self.owner[index].unique(return_inverse=True)
        sharing = Sharing(owner) if can_share(self.model) else None
        if sharing is None or not sharing.worthwhile:
            prompts, owner, sharing = self.owner[index], torch.arange(len(index)), None
        if len(prompts) < len(self.hidden) or sharing is None:
            self.hidden, self.mask = self.hidden[prompts], self.mask[prompts]
            self.cache.cross_attention_cache.batch_select_indices(prompts)
        self.cache.self_attention_cache.batch_select_indices(index)
        self.owner, self.sharing = owner.to(index.device), sharing
        self.logits = self.logits[index]
        return self.logits


class DecoderOnly:
    """The model has read the prompts, padded on the left; the arguments are `EncoderDecoder`'s."""

    def __init__(
        self, model: PreTrainedModel, prompts: list[Sequence[int]], pad_token_id: int, limit: int
    ) -> None:
        self.model = model
        ids = padded([prompt[::-1] for prompt in prompts], pad_token_id, model.device).flip(1)
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=model.device)
        total = ids.shape[1] + limit
        padding = ids.shape[1] - lengths
        places = torch.arange(total, device=model.device) - padding[:, None]  # [rows, total]
        self.mask = (places >= 0).long()
        self.places = places.clamp(min=0)
        self.num_read = 0
        self.cache: Any = None
        self.logits = self.feed(ids)
        _make_room(self.cache, total)

    def seen(self, first: int, end: int) -> Tensor:
        """The attention mask with which the positions from `first` to `end` are read."""
        return self.mask[:, :end]

    def feed(self, tokens: Tensor) -> Tensor:
        """Reads tokens [rows, new] and returns the logits after the last [rows, vocabulary]."""
        end = self.num_read + tokens.shape[1]
        output = self.model(
            input_ids=tokens,
            attention_mask=self.seen(self.num_read, end),
            position_ids=self.places[:, self.num_read : end],
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self.num_read = end
        self.cache = output.past_key_values
        self.logits = output.logits[:, -1]
        return self.logits

    def select(self, index: Tensor) -> Tensor:
        """Keeps these rows, in this order and as often as they are named; returns their logits."""
        self.mask, self.places = self.mask[index], self.places[index]
        self.cache.batch_select_indices(index)
        self.logits = self.logits[index]
        return self.logits


class PrefixDecoder(DecoderOnly):
    """As `DecoderOnly`, for a model that has learnt to see the whole of a prompt at once."""

    def seen(self, first: int, end: int) -> Tensor:
        """Tokens of the prompt see each other, those after it what stands before them."""
        if first:
            return super().seen(first, end)
        return additive_mask("bidirectional", self.mask[:, :end].bool(), dtype=self.model.dtype)


class _RoomyLayer(DynamicLayer):
    """A cache layer that writes into room kept for it, where its parent copies all at each step.

    The copies were a third of the time of a decoding step of a 135M-parameter Llama in bfloat16.
    """

    def __init__(self, keys: Tensor, values: Tensor, room: int) -> None:
        super().__init__()
        self.lazy_initialization(keys, values)
        self.room = room
        self._fill(keys, values)

    def _fill(self, keys: Tensor, values: Tensor) -> None:
        """Moves states [rows, heads, positions, width] to the head of new buffers."""
        rows, heads, _, width = keys.shape
        self.key_room = keys.new_empty(rows, heads, self.room, width)
        self.value_room = values.new_empty(rows, heads, self.room, values.shape[-1])
        self.num_filled = 0
        self.update(keys, values)

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Writes the new states behind the old and returns all."""
        end = self.num_filled + key_states.shape[2]
        self.key_room[:, :, self.num_filled : end] = key_states
        self.value_room[:, :, self.num_filled : end] = value_states
        self.num_filled = end
        self.keys, self.values = self.key_room[:, :, :end], self.value_room[:, :, :end]
        return self.keys, self.values

    def batch_select_indices(self, indices: Tensor) -> None:
        """Keeps these rows of the batch."""
        assert self.keys is not None
        assert self.values is not None
        self._fill(self.keys[indices], self.values[indices])


def _make_room(cache: Any, room: int) -> None:
    """Replaces the copying layers of a filled cache by ones with room for so many positions.

    Cross-attention does not grow and is left alone, as are layers of other kinds (sliding windows,
    recurrent states).
    """
    cache = getattr(cache, "self_attention_cache", cache)
    for place, layer in enumerate(cache.layers):
        if type(layer) is DynamicLayer and layer.keys is not None and layer.values is not None:
            cache.layers[place] = _RoomyLayer(layer.keys, layer.values, room)
