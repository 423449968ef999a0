"""Text from the encoder's stack: it reads prompts, then goes on token by token with a cache."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import DynamicCache

from pretrial.models.decoding.beam import beam_search
from pretrial.models.decoding.cache import padded
from pretrial.models.layers.attention_masks import AttentionPattern, additive_mask

if TYPE_CHECKING:
    from transformers import RobertaModel


def states_of(
    network: RobertaModel,
    ids: Tensor,
    real: Tensor,
    pattern: AttentionPattern,
    source_lengths: Tensor | None = None,
) -> Tensor:
    """Last hidden states [B, T, d].

    Args:
        network: the stack.
        ids: [B, T].
        real: True where there is a token, False at padding, on either side [B, T].
        pattern: who sees whom.
        source_lengths: for "prefix" [B].
    """
    mask = additive_mask(pattern, real, source_lengths, dtype=network.dtype)
    output = network(ids, attention_mask=mask, position_ids=_places(network, real))
    return output.last_hidden_state


def logits_of(network: RobertaModel, states: Tensor) -> Tensor:
    """Scores of the tokens [..., V] by the matrix of the embeddings; there is no bias."""
    return F.linear(states, network.embeddings.word_embeddings.weight)


def _places(network: RobertaModel, real: Tensor) -> Tensor:
    """Numbers of the positions as RoBERTa counts them, from behind that of padding."""
    pad = network.embeddings.padding_idx
    return real.cumsum(-1).masked_fill(~real, 0) + pad


class Reading:
    """Prompts that were read, padded on the left; see `models.decoding.beam.Reader`.

    Args:
        network: the stack, in eval mode.
        prompts: token ids, at least one each.
        pattern: "causal", or "prefix" where the tokens of a prompt see each other.
    """

    def __init__(
        self,
        network: RobertaModel,
        prompts: Sequence[Sequence[int]],
        pattern: Literal["causal", "prefix"],
    ) -> None:
        self.network = network
        device = network.device
        ids = padded([prompt[::-1] for prompt in prompts], 0, device).flip(1)
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=device)
        places = torch.arange(ids.shape[1], device=device)
        self.real = places >= ids.shape[1] - lengths[:, None]
        self.cache = DynamicCache(config=network.config)
        inside = lengths if pattern == "prefix" else None
        mask = additive_mask(pattern, self.real, inside, dtype=network.dtype)
        self.logits = self._read(ids, mask)

    def feed(self, tokens: Tensor) -> Tensor:
        """Reads tokens [rows, new] and returns the logits after the last [rows, vocabulary]."""
        num_new = tokens.shape[1]
        self.real = F.pad(self.real, (0, num_new), value=True)
        mask = additive_mask("causal", self.real, num_queries=num_new, dtype=self.network.dtype)
        self.logits = self._read(tokens, mask)
        return self.logits

    def select(self, index: Tensor) -> Tensor:
        """Keeps these rows, in this order and as often as they are named; returns their logits."""
        self.real, self.logits = self.real[index], self.logits[index]
        self.cache.batch_select_indices(index)
        return self.logits

    def _read(self, tokens: Tensor, mask: Tensor) -> Tensor:
        output = self.network(
            tokens,
            attention_mask=mask,
            position_ids=_places(self.network, self.real)[:, -tokens.shape[1] :],
            past_key_values=self.cache,
        )
        return logits_of(self.network, output.last_hidden_state[:, -1])


@torch.no_grad()
def generate(
    network: RobertaModel,
    prompts: Sequence[Sequence[int]],
    pattern: Literal["causal", "prefix"],
    *,
    num_beams: int,
    max_new_tokens: int,
    eos: Collection[int],
    batch_size: int = 32,
) -> list[list[list[int]]]:
    """The likeliest continuations of prompts; see `beam_search`.

    The network is in eval mode meanwhile.
    """
    training = network.training
    network.eval()
    order = sorted(range(len(prompts)), key=lambda place: len(prompts[place]))
    found: list[list[list[int]]] = [[] for _ in prompts]
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        reading = Reading(network, [prompts[place] for place in rows], pattern)
        ways = beam_search(reading, num_beams, max_new_tokens, eos)
        for place, continuations in zip(rows, ways, strict=True):
            found[place] = continuations
    network.train(training)
    return found
