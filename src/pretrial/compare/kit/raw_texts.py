"""What language models are tried on: bits per byte of texts of modules that they have not read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pretrial.compare.trial import Data, Items
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
    name = f"{source}: {len(train)} texts"
    return Data(list(train), list(valid)[:_NUM_WATCHED], list(test[:num_test]), name)


def bits_per_byte(method: Any, found: Data, seed: int) -> dict[str, Items]:
    """Of each text to test on, for methods with the ability `nll`; a trial's `measure`."""
    return {"bits_per_byte": bits_of(method, found.test)}


def bits_of(method: Any, rows: Sequence[Any]) -> Items:
    """Bits per byte of each row's `text`; texts of one `module` resemble each other."""
    bits = perplexity.bits_per_byte(method, [row["text"] for row in rows])
    return Items(bits, [row.get("module") or f"text {i}" for i, row in enumerate(rows)])
