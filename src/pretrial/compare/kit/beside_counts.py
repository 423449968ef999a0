"""The task that small models of code are tried on: what do they add to counts of tokens?

Counts of three tokens in a row, and a cache of the tokens that stand before, say more about code
than a network learns in a minute. So a model is measured by what it adds: its probability of each
token is mixed with those of counts and cache, as language models were first reported (Mikolov and
others 2010). The weights are fitted on other modules; a model that knows no more than counts gets
none.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pretrial.compare.trial import Items

Floats = NDArray[np.float64]
Ask = Callable[[Sequence["Passage"]], Sequence[Floats]]

_ORDER = 3
_LEAST = 1e-12  # so that no logarithm is infinite
_ROUNDS = 100


@dataclass(frozen=True)
class Passage:
    """Tokens to be predicted.

    Attributes:
        given: token ids that stand before.
        ids: that are to be predicted, one after the other.
        num_bytes: of their text.
        group: that the passage belongs to, such as its module.
    """

    given: Sequence[int]
    ids: Sequence[int]
    num_bytes: int
    group: Hashable


class TokenTrigrams:
    """Counts of three tokens, mixed with those of two and of one as in `floors.ByteTrigrams`.

    Args:
        sequences: token ids to count in.
        vocab_size: of the tokens.
    """

    def __init__(self, sequences: Sequence[Sequence[int]], vocab_size: int) -> None:
        self._size = vocab_size
        grams = np.concatenate([self._grams(ids) for ids in sequences], axis=1)  # [3, T]
        self._counts = [np.unique(row, return_counts=True) for row in grams]
        self._contexts = []
        for keys, counts in self._counts:
            contexts, places = np.unique(keys // (vocab_size + 1), return_inverse=True)
            totals = np.bincount(places, counts), np.bincount(places)
            self._contexts.append((contexts, *totals))

    def _grams(self, ids: Sequence[int]) -> NDArray[np.int64]:
        """A number for each token with none, one and two before it [3, T]."""
        base = self._size + 1  # one more: what stands before the first token
        padded = np.array([*[self._size] * (_ORDER - 1), *ids], dtype=np.int64)
        rows = [padded[_ORDER - 1 :]]
        for step in range(1, _ORDER):
            before = padded[_ORDER - 1 - step : len(padded) - step]
            rows.append(before * base**step + rows[-1])
        return np.stack(rows)

    def probs(self, ids: Sequence[int]) -> Floats:
        """The probability of each token after those before it [T]."""
        found = np.full(len(ids), 1 / self._size)
        known = zip(self._grams(ids), self._counts, self._contexts, strict=True)
        for keys, (grams, counts), (contexts, totals, kinds) in known:
            own = _looked_up(grams, counts, keys)
            before = keys // (self._size + 1)
            total, kind = (_looked_up(contexts, each, before) for each in (totals, kinds))
            seen = np.maximum(total + kind, 1)
            found = np.where(total > 0, (own + kind * found) / seen, found)
        return found


def _looked_up(keys: NDArray[np.int64], values: NDArray[np.generic], wanted: object) -> Floats:
    """The values of keys, which are sorted; 0 for those that are not there."""
    places = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)  # type: ignore[call-overload]
    return np.where(keys[places] == wanted, values[places], 0).astype(np.float64)


def cached(passage: Passage) -> Floats:
    """The share of each token among those that stand before it [T]."""
    before = Counter(passage.given)
    found = np.zeros(len(passage.ids))
    for place, token in enumerate(passage.ids):
        found[place] = before[token] / max(before.total(), 1)
        before[token] += 1
    return found


def measure(
    ask: Ask | None, counts: TokenTrigrams, halves: Sequence[Sequence[Passage]]
) -> dict[str, Items]:
    """How well passages are predicted.

    Args:
        ask: gives a model's probability of each token of each passage; None for counts alone.
        counts: of tokens that are learnt from.
        halves: passages to fit the weights on, and passages to test on.

    Returns:
        "code_bits", bits a byte of the mixture, and "own_bits", those of the model alone.
    """
    sides = []
    for half in halves:
        columns = [[counts.probs(each.ids) for each in half], [cached(each) for each in half]]
        sides.append([*columns, *([list(ask(half))] if ask else [])])
    learn, test = ([np.concatenate(column) for column in side] for side in sides)
    weights = _fitted(np.stack(learn))
    found = {"code_bits": _bits(weights @ np.stack(test), halves[1])}
    return found | ({"own_bits": _bits(test[-1], halves[1])} if ask else {})


def _bits(probs: Floats, passages: Sequence[Passage]) -> Items:
    """Bits a byte of each passage, of the probabilities of all their tokens [T]."""
    bits = -np.log2(np.maximum(probs, _LEAST))
    ends = np.cumsum([len(each.ids) for each in passages])[:-1]
    sums = [float(part.sum()) for part in np.split(bits, ends)]
    values = [total / each.num_bytes for total, each in zip(sums, passages, strict=True)]
    return Items(values, [each.group for each in passages])


def _fitted(probs: Floats) -> Floats:
    """The weights [F] of the mixture of probabilities [F, T] with the least loss, by EM."""
    weights = np.full(len(probs), 1 / len(probs))
    for _ in range(_ROUNDS):
        shares = weights[:, None] * probs + _LEAST
        weights = (shares / shares.sum(axis=0)).mean(axis=1)
    assert math.isclose(weights.sum(), 1, rel_tol=1e-6)
    return weights
