"""Trivial answers that a baseline has to beat: what anybody would try in five minutes.

They are arms that do not train; a trial names them in its gate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from pretrial import discover
from pretrial.compare.trial import Arm, Context
from pretrial.corrupt.masks import mask_windows
from pretrial.data.windows.cutting import TokenWindows
from pretrial.evaluate.floors import TfIdf
from pretrial.train.stage import Batch

_BYTES = 256


class ByteTrigrams:
    """Counts of three bytes in a row, interpolated with those of two and of one.

    Each order is mixed with the next shorter one by the number of different bytes that followed the
    same context (Witten and Bell 1991, method C): p(c | h) = (n(hc) + t(h) p(c | h')) / (n(h) +
    t(h)), where t(h) counts the bytes seen after h, and h' is h without its first byte.

    Args:
        texts: to count in.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        shape = (_BYTES, _BYTES, _BYTES)
        counts = np.zeros(shape, dtype=np.float64)
        for text in texts:
            first, second, third = _triples(text)
            np.add.at(counts, (first, second, third), 1.0)
        singles = counts.sum(axis=(0, 1))
        mixed = _mix(singles, np.full(_BYTES, 1 / _BYTES))
        mixed = _mix(counts.sum(axis=0), mixed)
        self._nll = -np.log(_mix(counts, mixed))

    def nll(self, texts: Sequence[str]) -> tuple[list[float], list[int]]:
        """Negative log-likelihood and number of bytes of each text."""
        found = [self._nll[_triples(text)] for text in texts]
        return [float(each.sum()) for each in found], [len(each) for each in found]


def _triples(text: str) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Each byte of a text, after the two before it; two zeros come before the first."""
    data = np.frombuffer(b"\0\0" + text.encode("utf-8", "replace"), dtype=np.uint8)
    return data[:-2], data[1:-1], data[2:]


def _mix(counts: NDArray[Any], shorter: NDArray[Any]) -> NDArray[Any]:
    """Probabilities [..., byte] of counts [..., byte], mixed with those of the shorter context."""
    total = counts.sum(axis=-1, keepdims=True)
    kinds = np.maximum((counts > 0).sum(axis=-1, keepdims=True), 1)
    return (counts + kinds * shorter) / (total + kinds)


def trigram_arm() -> Arm:
    """The arm "trigrams": what counts of bytes say, for trials that measure with `nll`."""

    def run(context: Context) -> ByteTrigrams:
        return ByteTrigrams([row["text"] for row in context.data.train])

    return Arm("trigrams", "counts of three bytes", "control", run=run, trains=False)


class TokenCounts:
    """What counts of tokens say of hidden ones; measured like a masked language model.

    A token's share of all tokens is mixed with what was counted beside its neighbours: p(t | l, r)
    is p(t | l) p(t | r) / p(t), normalised, where l stands before and r behind it, and each factor
    is mixed with p(t) as in `ByteTrigrams`. A neighbour that is hidden too says nothing.

    Args:
        texts: to count in.
        tokenizer: that of the arms.
        max_length: tokens of a window, the two special ones included.
        mask_ratio: share of the tokens of a window that are hidden.
        neighbours: False takes the shares alone.

    Attributes:
        shares: logarithms of the shares of tokens [V].
    """

    def __init__(
        self,
        texts: Sequence[str],
        tokenizer: Any,
        max_length: int,
        mask_ratio: float = 0.15,
        neighbours: bool = True,
    ) -> None:
        self.tokenizer, self.max_length = tokenizer, max_length
        self.mask_ratio, self.neighbours = mask_ratio, neighbours
        size = len(tokenizer)
        ordinary = np.ones(size)
        ordinary[tokenizer.all_special_ids] = 0.0
        pairs = np.zeros((size, size), dtype=np.float64)  # [before, behind]
        for ids in TokenWindows(texts, tokenizer, max_length - 2):
            closed = np.array([tokenizer.cls_token_id, *ids, tokenizer.sep_token_id])
            np.add.at(pairs, (closed[:-1], closed[1:]), 1.0)
        shares = _mix(pairs.sum(axis=0) * ordinary, ordinary / ordinary.sum())
        with np.errstate(divide="ignore"):  # special tokens are never hidden
            self.shares = np.log(shares)  # [V]
            self._behind = np.log(_mix(pairs * ordinary, shares))  # [before, V]
            self._before = np.log(_mix(pairs.T * ordinary, shares))  # [behind, V]

    def batch(self, windows: Sequence[Sequence[int]], generator: torch.Generator) -> Batch:
        """The same tokens are hidden as by a method with this ratio; see `mask_windows`."""
        return mask_windows(windows, self.tokenizer, generator, ratio=self.mask_ratio)

    def logits(self, batch: Batch) -> torch.Tensor:
        """Logarithms of probabilities at the chosen positions, up to a constant [N, V]."""
        ids, (rows, places) = batch["labels"].numpy(), batch["loss_mask"].numpy().nonzero()
        found = np.repeat(self.shares[None], len(rows), axis=0)
        if self.neighbours:
            hidden = batch["loss_mask"].numpy()
            for step, table in ((-1, self._behind), (1, self._before)):
                seen = ~hidden[rows, places + step]
                with np.errstate(invalid="ignore"):  # of special tokens
                    found[seen] += (table[ids[rows, places + step]] - self.shares)[seen]
        return torch.from_numpy(np.nan_to_num(found, nan=-np.inf, neginf=-1e9))


@dataclass(frozen=True)
class _Counting:
    """Counts the tokens of a method's vocabulary; the `run` of an arm."""

    slug: str
    config: Any
    neighbours: bool

    def __call__(self, context: Context) -> TokenCounts:
        kind: Any = discover.load(self.slug).method
        examples = kind.read(context.data.train)
        tokenizer = kind.vocabulary(self.config, examples)
        texts = [kind.text_of(each) for each in examples]
        length, ratio = self.config.max_length, self.config.mask_ratio
        return TokenCounts(texts, tokenizer, length, ratio, self.neighbours)


def counts_arms(slug: str, config: Any) -> tuple[Arm, Arm]:
    """The arms "shares" and "neighbours": `TokenCounts` without neighbours and with them.

    Args:
        slug: of a method of texts, the tokens of whose vocabulary are counted.
        config: its settings.
    """
    alone, beside = (_Counting(slug, config, neighbours) for neighbours in (False, True))
    return (
        Arm("shares", "counts of tokens", "control", run=alone, trains=False),
        Arm("neighbours", "counts of neighbouring tokens", "control", run=beside, trains=False),
    )


def tfidf_arm() -> Arm:
    """The arm "tfidf"; with a logistic regression on it, as `packages.measure` has."""

    def run(context: Context) -> TfIdf:
        return TfIdf([row["text"] for row in context.data.train])

    return Arm("tfidf", "TF-IDF, logistic regression", "control", run=run, trains=False)
