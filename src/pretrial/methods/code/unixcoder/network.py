"""The encoder's stack under three masks: states, and text that goes on token by token."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import DynamicCache

from pretrial.models.decoding.beam import beam_search
from pretrial.models.decoding.cache import DecoderOnly
from pretrial.models.layers.attention_masks import AttentionPattern, additive_mask

if TYPE_CHECKING:
    from transformers import RobertaModel

Pattern = Literal["causal", "prefix"]


def states_of(
    network: RobertaModel,
    input_ids: Tensor,
    attention_mask: Tensor,
    pattern: AttentionPattern,
    source_lengths: Tensor | None = None,
) -> Tensor:
    """Last hidden states [B, T, d].

    Args:
        network: the stack.
        input_ids: [B, T].
        attention_mask: True where there is a token, False at padding, on either side [B, T].
        pattern: who sees whom.
        source_lengths: for "prefix" [B].
    """
    mask = additive_mask(pattern, attention_mask, source_lengths, dtype=network.dtype)
    # RoBERTa counts positions from behind that of padding
    places = attention_mask.cumsum(-1).masked_fill(~attention_mask, 0)
    places = places + network.embeddings.padding_idx
    return network(input_ids, attention_mask=mask, position_ids=places).last_hidden_state


def logits_of(network: RobertaModel, states: Tensor) -> Tensor:
    """Scores of the tokens [..., V] by the matrix of the embeddings; there is no bias."""
    return F.linear(states, network.embeddings.word_embeddings.weight)


class StackLM:
    """The stack as a language model of transformers, as `DecoderOnly` calls one."""

    def __init__(self, network: RobertaModel) -> None:
        self.network = network
        self.device, self.dtype = network.device, network.dtype

    def __call__(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        position_ids: Tensor,
        past_key_values: Any,
        **_: Any,
    ) -> Any:
        """Logits after the last token [rows, 1, V], and the cache."""
        cache = past_key_values or DynamicCache(config=self.network.config)
        states = self.network(
            input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids + self.network.embeddings.padding_idx + 1,
            past_key_values=cache,
        ).last_hidden_state
        return SimpleNamespace(
            logits=logits_of(self.network, states[:, -1:]), past_key_values=cache
        )


class Reading(DecoderOnly):
    """Prompts that were read, padded on the left; see `models.decoding.beam.Reader`.

    Args:
        network: the stack, in eval mode.
        prompts: token ids, at least one each.
        pattern: "causal", or "prefix" where the tokens of a prompt see each other.
        limit: tokens that will be fed at most.
    """

    def __init__(
        self, network: RobertaModel, prompts: list[Sequence[int]], pattern: Pattern, limit: int
    ) -> None:
        self.pattern = pattern
        pad: Any = network.config.pad_token_id
        super().__init__(StackLM(network), prompts, pad, limit)  # type: ignore[arg-type]

    def seen(self, first: int, end: int) -> Tensor:
        """Tokens of a "prefix" prompt see each other, all others what stands before them."""
        whole = first == 0 and self.pattern == "prefix"
        return additive_mask(
            "bidirectional" if whole else "causal",
            self.mask[:, :end].bool(),
            num_queries=end - first,
            dtype=self.model.dtype,
        )


@torch.no_grad()
def generate(
    network: RobertaModel,
    prompts: Sequence[Sequence[int]],
    pattern: Pattern,
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
        reading = Reading(network, [prompts[place] for place in rows], pattern, max_new_tokens)
        ways = beam_search(reading, num_beams, max_new_tokens, eos)
        for place, continuations in zip(rows, ways, strict=True):
            found[place] = continuations
    network.train(training)
    return found
