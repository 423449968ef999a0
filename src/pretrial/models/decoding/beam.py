"""Beam search over the rows of a model that reads on with a cache."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor


class Reader(Protocol):
    """Prompts that were read; see `models.decoding.cache`.

    Attributes:
        logits: of the next token [rows, vocabulary]; a row is a prompt before `select`.
    """

    logits: Tensor

    def feed(self, tokens: Tensor) -> Tensor:
        """Reads tokens [rows, new] and returns the logits after the last [rows, vocabulary]."""

    def select(self, index: Tensor) -> Tensor:
        """Keeps these rows, in this order and as often as they are named; returns their logits."""


@dataclass
class _Hypotheses:
    """Ended ones of a prompt, with their scores."""

    ended: list[tuple[float, list[int]]] = field(default_factory=list)
    topped: bool = False  # True once an ended one was the best of all

    def best(self, open_ones: list[tuple[float, list[int]]], count: int) -> list[list[int]]:
        """The best that ended, then the best that did not."""
        ranked = [sorted(each, key=lambda one: -one[0]) for each in (self.ended, open_ones)]
        return [ids for _, ids in [*ranked[0], *ranked[1]][:count]]


@torch.no_grad()
def beam_search(
    reader: Reader, num_beams: int, max_new_tokens: int, eos: Collection[int]
) -> list[list[list[int]]]:
    """The likeliest continuations of each prompt, by the sum of the tokens' log-probabilities.

    All prompts go on together. A prompt is done when a continuation that ended was the best of its
    beams and as many as there are beams have ended; nothing corrects for length.

    Args:
        reader: the prompts, read.
        num_beams: continuations that are kept, and given back.
        max_new_tokens: of a continuation.
        eos: tokens that end one; they are part of it.

    Returns:
        For each prompt its continuations, those that ended first, the likeliest first.
    """
    log_probs = reader.logits.float().log_softmax(-1)
    num_beams = min(num_beams, log_probs.shape[1])
    found = [_Hypotheses() for _ in log_probs]
    scores, tokens = log_probs.topk(num_beams)  # [P, K]
    device = scores.device
    prompts = list(range(len(found)))
    reader.select(torch.arange(len(found), device=device).repeat_interleave(num_beams))
    written = tokens.unsqueeze(-1)  # [P, K, new]
    open_ones: list[list[tuple[float, list[int]]]] = [[] for _ in found]
    for step in range(max_new_tokens):
        alive = _note_ended(written, scores, eos, [found[prompt] for prompt in prompts])
        kept = []
        for place, prompt in enumerate(prompts):
            state = found[prompt]
            if step + 1 == max_new_tokens or (state.topped and len(state.ended) >= num_beams):
                open_ones[prompt] = [
                    (score, ids)
                    for score, ids, going in zip(
                        scores[place].tolist(), written[place].tolist(), alive[place], strict=True
                    )
                    if going
                ]
            else:
                kept.append(place)
        if not kept:
            break
        index = torch.tensor(kept, device=device)
        prompts = [prompts[place] for place in kept]
        scores, written = scores[index], written[index]
        going = torch.tensor([alive[place] for place in kept], device=device)  # [P, K]
        rows = index[:, None] * num_beams + torch.arange(num_beams, device=device)
        if len(kept) < len(alive):
            reader.select(rows.flatten())
        log_probs = reader.feed(written[:, :, -1].reshape(-1, 1)).float().log_softmax(-1)
        totals = scores.masked_fill(~going, float("-inf")).unsqueeze(-1) + log_probs.view(
            len(kept), num_beams, -1
        )
        scores, places = totals.flatten(1).topk(num_beams)
        origin = places // totals.shape[-1]  # [P, K]
        tokens = places % totals.shape[-1]
        written = torch.cat(
            [written.gather(1, origin.unsqueeze(-1).expand_as(written)), tokens.unsqueeze(-1)], -1
        )
        first = torch.arange(len(kept), device=device)[:, None] * num_beams
        reader.select((first + origin).flatten())
    return [state.best(rest, num_beams) for state, rest in zip(found, open_ones, strict=True)]


def _note_ended(
    written: Tensor, scores: Tensor, eos: Collection[int], found: list[_Hypotheses]
) -> list[list[bool]]:
    """Notes the continuations that have just ended; says which beams go on."""
    alive = []
    for beams, values, state in zip(written.tolist(), scores.tolist(), found, strict=True):
        going = []
        for rank, (ids, score) in enumerate(zip(beams, values, strict=True)):
            possible = score > float("-inf")  # fewer than the beams can go on
            ends = ids[-1] in eos
            if ends and possible:
                state.ended.append((score, ids))
                state.topped |= rank == 0
            going.append(possible and not ends)
        alive.append(going)
    return alive
