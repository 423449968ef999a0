"""Trivial answers of models that write: counts of tokens, and copying what is read.

A line with a fault is nearly the right line, so that who copies it is seldom wrong.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

Ids = Sequence[int]
_START = -1  # stands before the first token
_SHARES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98)
_JUMP = 0.1
_NUM_TRIED = 300  # pairs that the share is chosen on


class PairCounts:
    """Says how likely a token is after another one, by counts of such pairs.

    They are interpolated with shares of single tokens, and these with equal shares, as Witten and
    Bell (1991, method C) do.

    Args:
        texts: token ids of each.
        vocab_size: tokens that there are.
    """

    def __init__(self, texts: Sequence[Ids], vocab_size: int) -> None:
        self.vocab_size = vocab_size
        self._singles = Counter(token for ids in texts for token in ids)
        pairs = [pair for ids in texts for pair in pairwise([_START, *ids])]
        self._pairs = Counter(pairs)
        self._before = Counter(before for before, _ in pairs)
        self._kinds = Counter(before for before, _ in self._pairs)
        self._total = self._singles.total()

    def probability(self, before: int, token: int) -> float:
        """Of a token after another one; `before` is -1 at the beginning."""
        kinds = len(self._singles)
        alone = (self._singles[token] + kinds / self.vocab_size) / (self._total + kinds)
        count, kinds = self._before[before], self._kinds[before]
        return (self._pairs[before, token] + kinds * alone) / (count + kinds) if count else alone

    def nll(self, ids: Ids) -> float:
        """-log p of a text, in nats."""
        return -sum(math.log(self.probability(*pair)) for pair in pairwise([_START, *ids]))


class AnswerCounts:
    """Ranks choices by how likely they are as answers in a task, whatever is asked.

    Args:
        answers: pairs (task, text) to count in.
        task_of: the task of a prompt; for one that is unknown the answers of all are taken.
        tokenizer: that of the arms.
    """

    def __init__(
        self, answers: Sequence[tuple[str, str]], task_of: Callable[[str], str], tokenizer: Any
    ) -> None:
        self.tokenizer, self.task_of = tokenizer, task_of
        texts: dict[str, list[str]] = {"": [text for _, text in answers]}
        for task, text in answers:
            texts.setdefault(task, []).append(text)
        size = len(tokenizer)
        self._counts = {task: PairCounts(self._ids(own), size) for task, own in texts.items()}

    def choice_scores(
        self, prompts: Sequence[str], choices: Sequence[Sequence[str]]
    ) -> list[list[float]]:
        """The log-likelihood of each choice, in nats, its end token included."""
        counts = [self._counts.get(self.task_of(text), self._counts[""]) for text in prompts]
        return [
            [-own.nll(ids) for ids in self._ids(each)]
            for own, each in zip(counts, choices, strict=True)
        ]

    def _ids(self, texts: Sequence[str]) -> list[list[int]]:
        found = self.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
        return [[*ids, self.tokenizer.eos_token_id] for ids in found]


class CopiedLines:
    """Copies what is read, token by token, but for a share that `PairCounts` answer for.

    A hidden Markov model: whoever copies stands at a place of what is read, writes the token there
    with probability s, else one that is likely after the one before, and goes on to the next place,
    or anywhere with probability 0.1. So it goes on behind what was left out or put in. Of some
    values of s the one with the least loss is taken.

    Args:
        texts: pairs (read, written) to count in.
        tokenizer: that of the arms, which closes texts with an end token.
    """

    def __init__(self, texts: Sequence[tuple[str, str]], tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        pairs = [self._ids(pair) for pair in texts]
        self._counts = PairCounts([written for _, written in pairs], len(tokenizer))
        tried = pairs[:: max(1, len(pairs) // _NUM_TRIED)]
        self.share = min(_SHARES, key=lambda s: sum(self._nll(*pair, s) for pair in tried))

    def nll(self, texts: Sequence[tuple[str, str]]) -> list[float]:
        """-log p of what is written in each pair (read, written), in nats."""
        return [self._nll(*self._ids(pair), self.share) for pair in texts]

    def _ids(self, pair: tuple[str, str]) -> tuple[Ids, Ids]:
        read, written = self.tokenizer(list(pair))["input_ids"]
        return read, written

    def _nll(self, read: Ids, written: Ids, share: float) -> float:
        """The forward algorithm; one begins at the first place."""
        tokens, found = np.array(read), 0.0
        places = np.zeros(len(tokens))  # the probability of each
        places[0] = 1.0
        for before, token in pairwise([_START, *written]):
            rest = self._counts.probability(before, token)
            places *= share * (tokens == token) + (1 - share) * rest
            found -= math.log(places.sum())
            places /= places.sum()
            places = _JUMP / len(tokens) + (1 - _JUMP) * np.roll(places, 1)
        return found
