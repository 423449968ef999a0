"""Whole words: all tokens of a word are hidden, or none, so that no word is guessed from its rest.

Which tokens begin a word is read off their texts in the vocabulary: WordPiece marks those that go
on ("##ing"), SentencePiece and byte-level BPE those that follow a space ("▁the", "Ġthe").
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def choose_words(
    ids: Tensor,
    maskable: Tensor,
    tokenizer: PreTrainedTokenizerBase,
    ratio: float,
    generator: torch.Generator,
) -> Tensor:
    """True at the tokens of the chosen words [T].

    Words are drawn one after the other; one that would go over the share is left out. Where none
    fits, it is the shortest.

    Args:
        ids: of one text [T].
        maskable: True where a token may be chosen [T].
        tokenizer: its tokenizer.
        ratio: share of the maskable tokens.
        generator: the only source of randomness.
    """
    begins = word_begins(tokenizer)[ids] | ~maskable
    begins[1:] |= ~maskable[:-1]
    words = begins.cumsum(0)
    numbers, lengths = words[maskable].unique(return_counts=True)
    room = max(1, round(ratio * int(maskable.sum())))
    taken: list[int] = []
    for place in torch.randperm(len(numbers), generator=generator).tolist():
        if int(lengths[place]) <= room:
            taken.append(int(numbers[place]))
            room -= int(lengths[place])
    if not taken and len(numbers):
        taken = [int(numbers[lengths.argmin()])]
    return torch.isin(words, torch.tensor(taken)) & maskable


@lru_cache(maxsize=8)
def word_begins(tokenizer: PreTrainedTokenizerBase) -> Tensor:
    """True for each token of the vocabulary that begins a word [V]."""
    tokens = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    if any(token.startswith("##") for token in tokens):
        return torch.tensor([not token.startswith("##") for token in tokens])
    # a mark is a word of its own
    return torch.tensor([token[:1] in "▁ĠĊ" or not token[:1].isalnum() for token in tokens])
