"""How well an encoder names hidden tokens of texts that it was not trained on."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from pretrial.compare.trial import Items
from pretrial.corrupt.masks import chosen_of
from pretrial.data.windows.cutting import TokenWindows
from pretrial.train.device import to_device

_WINDOWS_AT_ONCE = 64


def masked_scores(
    method: Any,
    texts: Sequence[str],
    max_length: int,
    groups: Sequence[Hashable] = (),
    **how: Any,
) -> dict[str, Items]:
    """Accuracy and loss at hidden tokens; which they are depends on the texts alone.

    Args:
        method: a masked language model in eval mode, see `methods.text.mlm.MLM`, or
            `floors.TokenCounts`.
        texts: of which there must be some.
        max_length: tokens of a window, the two special ones included.
        groups: of each text, such as its module; by default every text is one of its own.
        how: options of its `logits`.

    Returns:
        "mlm_accuracy", and "mlm_loss" in nats: of each window the mean over its hidden tokens.
    """
    found: dict[str, list[float]] = {"mlm_accuracy": [], "mlm_loss": []}
    own = [TokenWindows([text], method.tokenizer, max_length - 2) for text in texts]
    windows = [window for each in own for window in each]
    for logits, targets, numbers in _predictions(method, windows, how):
        losses = cross_entropy(logits, targets, reduction="none").split(numbers)
        right = (logits.argmax(-1) == targets).float().split(numbers)
        found["mlm_loss"] += [float(part.mean()) for part in losses]
        found["mlm_accuracy"] += [float(part.mean()) for part in right]
    places = [
        group
        for each, group in zip(own, groups or range(len(texts)), strict=True)
        for _ in range(len(each))
    ]
    return {name: Items(values, places) for name, values in found.items()}


def beyond(method: Any, texts: Sequence[str], lengths: Sequence[int]) -> dict[str, float]:
    """The loss on the same long texts in windows of several lengths, "mlm_loss_<length>".

    Only texts that fill the longest window take part; of lengths that the method cannot read there
    is no figure.

    Args:
        method: as in `masked_scores`; a network.
        texts: as they are.
        lengths: of windows, the two special tokens included.
    """
    whole = TokenWindows(texts, method.tokenizer, max(lengths) - 2)
    long = [method.tokenizer.decode(ids) for ids in whole if len(ids) == max(lengths) - 2]
    reach = method.network.config.max_position_embeddings
    able = [n for n in lengths if n <= reach or getattr(method.config, "alibi", False)]
    if not long:
        return {}
    return {
        f"mlm_loss_{n}": float(np.mean(masked_scores(method, long, n)["mlm_loss"].values))
        for n in able
    }


@torch.no_grad()
def _predictions(
    method: Any, windows: Sequence[list[int]], how: Mapping[str, Any]
) -> Iterator[tuple[Tensor, Tensor, list[int]]]:
    """Logits and right ids of hidden tokens, and their number in each window."""
    generator = torch.Generator().manual_seed(0)
    device = next(method.parameters()).device if isinstance(method, torch.nn.Module) else "cpu"
    for start in range(0, len(windows), _WINDOWS_AT_ONCE):
        batch = method.batch(windows[start : start + _WINDOWS_AT_ONCE], generator)
        batch = to_device(batch, torch.device(device))
        right = chosen_of(batch["labels"], batch)
        yield method.logits(batch, **how).float(), right, batch["num_chosen"].tolist()
