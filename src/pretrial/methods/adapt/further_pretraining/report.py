"""What to watch while few data are learnt: overfitting, and how far the weights have gone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pretrial.evaluate.probe import probe
from pretrial.train.held_out import held_out_losses

if TYPE_CHECKING:
    from pretrial.methods.adapt.further_pretraining import FurtherPretraining
    from pretrial.methods.adapt.further_pretraining.inputs import Example


def evaluate(
    method: FurtherPretraining,
    learnt: Sequence[Any],
    held_out: Sequence[Any],
    labelled: Sequence[Example],
    asked: Sequence[Example],
) -> dict[str, float]:
    """Numbers for the log.

    Args:
        method: in eval mode.
        learnt: what is trained on, as `batch` takes it.
        held_out: what is not.
        labelled: examples with a label to fit a linear classifier of features to.
        asked: others, with labels of the same classes, to measure it on.

    Returns:
        "distance" of the encoder's weights from the initial ones; with held-out data its losses and
        "gap", by how much its self-supervised loss is above that on as much training data; with
        labels "probe_accuracy".
    """
    numbers = {"distance": method.distance()}
    size = method.config.batch_size
    if held_out:
        numbers |= held_out_losses(method, held_out, size)
        known = held_out_losses(method, learnt[: len(held_out)], size)
        numbers["gap"] = numbers["ssl_loss"] - known["ssl_loss"]
    if labelled and asked:
        places = {label: place for place, label in enumerate(method.classes)}
        vectors = [np.asarray(method.encode(each)) for each in (labelled, asked)]
        guesses = probe(vectors[0], [places[each.label] for each in labelled], vectors[1])
        right = [guess == places[e.label] for guess, e in zip(guesses, asked, strict=True)]
        numbers["probe_accuracy"] = float(np.mean(right))
    return numbers
