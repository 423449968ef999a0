"""Trivial answers that a baseline has to beat: what anybody would try in five minutes.

They are arms that do not train; a trial names them in its gate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pretrial.compare.trial import Arm, Context

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


def trigram_arm(texts: Callable[[Sequence[Any]], Sequence[str]] | None = None) -> Arm:
    """The arm "trigrams": what counts of bytes say, for trials that measure with `nll`.

    Args:
        texts: of the trial's rows of training; by default their field `text`.
    """

    def run(context: Context) -> ByteTrigrams:
        rows = context.data.train
        return ByteTrigrams(texts(rows) if texts else [row["text"] for row in rows])

    return Arm("trigrams", "counts of three bytes", "control", run=run, trains=False)
