"""What language models are tried on: bits per byte of texts of modules that they have not read."""

from __future__ import annotations

from typing import Any

from pretrial.compare.trial import Data
from pretrial.data.reading.sources import load
from pretrial.errors import UserError
from pretrial.evaluate import perplexity

_NUM_WATCHED = 60  # texts whose loss is followed in training


def data(source: str, num_test: int) -> Data:
    """All texts of the split "train", some of "valid" to follow the loss on, and texts of "test".

    Args:
        source: built-in texts with these splits.
        num_test: texts to test on.

    Raises:
        UserError: there are too few.
    """
    train, valid, test = (load(f"{source}?split={part}") for part in ("train", "valid", "test"))
    if len(test) < num_test:
        raise UserError(f"{source} has {len(test)} texts to test on: lower --num-test")
    texts = [row["text"] for row in test[:num_test]]
    name = f"{source}: {len(train)} texts"
    return Data(list(train), held_out=list(valid)[:_NUM_WATCHED], test=texts, name=name)


def bits_per_byte(method: Any, found: Data, seed: int) -> dict[str, list[float]]:
    """Of each text to test on, for methods with the ability `nll`; a trial's `measure`."""
    return {"bits_per_byte": perplexity.bits_per_byte(method, found.test)}
