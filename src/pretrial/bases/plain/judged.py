"""What a model with a head says of labelled contents, and how good that is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import binary_cross_entropy_with_logits

from pretrial.bases.plain.heads import Tuned


@dataclass(frozen=True)
class Judged:
    """What a model says, and what is right.

    Attributes:
        said: logarithms of the probabilities of classes [N, C], or a number each [N].
        right: classes, or numbers [N]; of tags those of all words.
        num_rows: that have a label.
        groups: queries, where documents are ranked.
    """

    said: NDArray[np.float64]
    right: NDArray[Any]
    num_rows: int
    groups: Sequence[Any] = ()


def judge(tuned: Tuned, pairs: Sequence[tuple[Any, Any]]) -> Judged:
    """What a model says of (content, target) pairs, as `Tuned` learns from them."""
    outputs = tuned.outputs([content for content, _ in pairs])
    if tuned.task == "tag":
        # a word behind the longest text that is read has every tag with equal probability
        num_classes = int(tuned.network.config.num_labels)
        equal = torch.full((1, num_classes), -math.log(num_classes))
        outputs = [
            torch.cat([own, equal.expand(len(tags) - len(own), -1)])
            for own, (_, tags) in zip(outputs, pairs, strict=True)
        ]
        right = np.concatenate([tags for _, tags in pairs])
        return Judged(torch.cat(outputs).double().numpy(), right, len(pairs))
    said = torch.stack(outputs).double().numpy()
    right = np.array([target for _, target in pairs])
    if tuned.task == "classify":
        return Judged(said, right, len(pairs))
    groups = [content[0] for content, _ in pairs] if tuned.task == "rank" else []
    return Judged(said[:, 0], right, len(pairs), groups)


def measured(tuned: Tuned, pairs: Sequence[tuple[Any, Any]]) -> dict[str, float]:
    """The loss on (content, target) pairs, and the accuracy where there are classes."""
    found = judge(tuned, pairs)
    if tuned.task == "rank":
        logits, wanted = torch.from_numpy(found.said), torch.from_numpy(found.right).double()
        return {"loss": float(binary_cross_entropy_with_logits(logits, wanted))}
    if tuned.task == "regress":
        return {"loss": float((((found.said - found.right) / tuned.scale) ** 2).mean())}
    nll = -found.said[np.arange(len(found.right)), found.right]
    right = found.said.argmax(-1) == found.right
    return {"loss": float(nll.mean()), "accuracy": float(right.mean())}
