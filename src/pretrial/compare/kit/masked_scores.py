"""How well an encoder names hidden tokens of texts that it was not trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from pretrial.corrupt.masks import chosen_of
from pretrial.data.windows.cutting import TokenWindows
from pretrial.train.device import to_device

_WINDOWS_AT_ONCE = 64


def masked_scores(
    method: Any, texts: Sequence[str], max_length: int, **how: Any
) -> dict[str, float | list[float]]:
    """Accuracy and loss at hidden tokens; which they are depends on the texts alone.

    Args:
        method: a masked language model in eval mode; see `methods.text.mlm.MLM`.
        texts: of which there must be some.
        max_length: tokens of a window, the two special ones included.
        how: options of its `logits`.

    Returns:
        "mlm_accuracy", one number a window, and "mlm_loss" in nats, the mean over hidden tokens.
    """
    right: list[float] = []
    losses: list[Tensor] = []
    windows = TokenWindows(texts, method.tokenizer, max_length - 2)
    for logits, targets, numbers in _predictions(method, windows, how):
        losses.append(cross_entropy(logits, targets, reduction="none"))
        found = (logits.argmax(-1) == targets).float().split(numbers)
        right += [float(part.mean()) for part in found]
    return {"mlm_accuracy": right, "mlm_loss": float(torch.cat(losses).mean())}


def beyond(method: Any, texts: Sequence[str], lengths: Sequence[int]) -> dict[str, float]:
    """The loss on the same long texts in windows of several lengths, "mlm_loss_<length>".

    Only texts that fill the longest window take part; of lengths that the method cannot read there
    is no figure.

    Args:
        method: as in `masked_scores`.
        texts: as they are.
        lengths: of windows, the two special tokens included.
    """
    whole = TokenWindows(texts, method.tokenizer, max(lengths) - 2)
    long = [method.tokenizer.decode(ids) for ids in whole if len(ids) == max(lengths) - 2]
    reach = method.network.config.max_position_embeddings
    able = [n for n in lengths if n <= reach or getattr(method.config, "alibi", False)]
    if not long:
        return {}
    return {f"mlm_loss_{n}": masked_scores(method, long, n)["mlm_loss"] for n in able}  # type: ignore[misc]


@torch.no_grad()
def _predictions(
    method: Any, windows: TokenWindows, how: dict[str, Any]
) -> Iterator[tuple[Tensor, Tensor, list[int]]]:
    """Logits and right ids of hidden tokens, and their number in each window."""
    generator = torch.Generator().manual_seed(0)
    device = next(method.parameters()).device
    for start in range(0, len(windows), _WINDOWS_AT_ONCE):
        batch = method.batch(windows[start : start + _WINDOWS_AT_ONCE], generator)
        batch = to_device(batch, device)
        right = chosen_of(batch["labels"], batch)
        yield method.logits(batch, **how).float(), right, batch["num_chosen"].tolist()
