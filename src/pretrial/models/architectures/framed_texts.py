"""Texts in a frame of tokens, and the vectors that an encoder gives them.

A sentence's vector is the mean over its tokens or, in a prompt that asks for its meaning, such as
'This sentence: "..." means <mask>', the state at the mask. Whatever trains or reads vectors of
sentences by a prompt can put its texts so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pretrial.errors import UserError
from pretrial.models.architectures.seq2seq import pad_rows

_AT_ONCE = 64


class Frame(NamedTuple):
    """Token ids that stand before and behind a text in every source."""

    before: list[int]
    behind: list[int]

    @classmethod
    def of_prompt(cls, tokenizer: Any, prompt: Sequence[str], mask: int) -> Frame:
        """A prompt, of what stands before a text and behind it; the mask ends it."""
        before, behind = tokenizer(list(prompt), add_special_tokens=False)["input_ids"]
        return cls(before, [*behind, mask])

    @property
    def size(self) -> int:
        """Tokens in all."""
        return len(self.before) + len(self.behind)

    def room(self, max_length: int) -> int:
        """Tokens of a text in a source of so many.

        Raises:
            UserError: there are none.
        """
        if self.size >= max_length:
            raise UserError(
                f"{self.size} tokens stand around each text: set max_length to more than that, not"
                f" {max_length}"
            )
        return max_length - self.size

    def around(self, rows: Sequence[Sequence[int]]) -> list[list[int]]:
        """Token ids of texts as whole sources."""
        return [[*self.before, *row, *self.behind] for row in rows]

    def sources(self, tokenizer: Any, texts: Sequence[str], max_length: int) -> list[list[int]]:
        """Texts as whole sources, those that are too long cut.

        Raises:
            UserError: there are no texts, or the frame leaves no room.
        """
        if not texts:
            raise UserError("there are no texts to encode: give at least one")
        encoded = tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        return self.around([ids[: self.room(max_length)] for ids in encoded])

    def inside(self, lengths: NDArray[np.int64], width: int) -> NDArray[np.bool_]:
        """True at the tokens of texts [B, T], of padded sources of so many tokens [B]."""
        places = np.arange(width)
        return (places >= len(self.before)) & (places < lengths[:, None] - len(self.behind))


def prompt_states(states: Tensor, mask: Tensor) -> Tensor:
    """The states [B, d] at the mask, before the end token, of states [B, T, d], mask [B, T]."""
    return states[torch.arange(len(states), device=states.device), mask.sum(1) - 2]


def source_states(
    network: Any, sources: Sequence[Sequence[int]], pad: int, batch_size: int = _AT_ONCE
) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    """For some sources, alike in length: places, the encoder's states [B, T, d], mask [B, T].

    Args:
        network: an encoder-decoder; its mode is the same afterwards.
        sources: token ids with what stands around a text.
        pad: fills shorter sources.
        batch_size: sources at once.
    """
    encoder, training = network.get_encoder(), network.training
    order = sorted(range(len(sources)), key=lambda place: len(sources[place]))
    network.eval()
    for start in range(0, len(order), batch_size):
        rows = order[start : start + batch_size]
        chosen = [sources[row] for row in rows]
        ids = pad_rows(chosen, pad).to(network.device)
        mask = pad_rows([[1] * len(row) for row in chosen], 0).to(network.device)
        yield rows, encoder(input_ids=ids, attention_mask=mask).last_hidden_state, mask
    network.train(training)


@torch.no_grad()
def encode_sources(
    network: Any,
    sources: Sequence[Sequence[int]],
    pad: int,
    pool: Callable[[Tensor, Tensor], Tensor],
    batch_size: int = _AT_ONCE,
) -> Tensor:
    """One vector a source [N, d], on the CPU.

    Args:
        network: see `source_states`, as for what follows.
        sources: of which there must be some.
        pad: fills shorter sources.
        pool: vectors [B, d] of states [B, T, d] and a mask [B, T].
        batch_size: sources at once.
    """
    vectors: list[Tensor] = [torch.empty(0)] * len(sources)
    for rows, states, mask in source_states(network, sources, pad, batch_size):
        for row, vector in zip(rows, pool(states, mask).float().cpu(), strict=True):
            vectors[row] = vector
    return torch.stack(vectors)


@torch.no_grad()
def framed_states(
    network: Any, rows: Sequence[Sequence[int]], frame: Frame, pad: int
) -> list[Tensor]:
    """The encoder's states of the tokens of each text [T, d], without those of its frame."""
    found: list[Any] = [None] * len(rows)
    first = len(frame.before)
    for places, states, _ in source_states(network, frame.around(rows), pad):
        for place, own in zip(places, states.float().cpu(), strict=True):
            found[place] = own[first : first + len(rows[place])]
    return found
