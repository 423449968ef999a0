"""Bits per byte of held-out text: comparable between models with different tokenizers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pretrial.errors import UserError
from pretrial.evaluate.examples import examples_of
from pretrial.evaluate.intervals import Interval, bootstrap_ratio
from pretrial.evaluate.result import Result

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def measure_perplexity(
    method: Any, data: Sequence[Any], *, field: str = "", seed: int = 0
) -> Result:
    """Bits per byte, and perplexity per byte, of all texts together.

    Args:
        method: with the ability `nll(examples) -> (nats, num_bytes)`: for each text its negative
            log-likelihood in nats, and the UTF-8 bytes of what was scored (less than the text where
            the method cuts it).
        data: texts, or rows.
        field: name of the text's field, where the method would not know it; see
            `examples.examples_of`.
        seed: of the bootstrap.

    Returns:
        Ratios of sums over the texts, so long texts weigh more; `items["bits_per_byte"]` holds each
        text's own ratio.

    Raises:
        UserError: a row lacks the field, or a text is empty.
    """
    texts = examples_of(method, data, field)
    nll, num_bytes = (np.asarray(part, dtype=np.float64) for part in method.nll(texts))
    if (num_bytes <= 0).any():
        raise UserError(f"text {int(num_bytes.argmin())} is empty; leave empty texts out")
    bits = nll / math.log(2)
    interval = bootstrap_ratio(bits, num_bytes, seed=seed)
    perplexity = Interval(*(2**end for end in (interval.value, interval.low, interval.high)))
    return Result(
        {"bits_per_byte": interval, "byte_perplexity": perplexity},
        {"bits_per_byte": (bits / num_bytes).tolist()},
        {"num_texts": len(texts), "num_bytes": int(num_bytes.sum())},
    )


def bits_per_byte(method: Any, texts: Sequence[Any]) -> list[float]:
    """Bits per byte of each text; see `measure_perplexity`."""
    costs, sizes = method.nll(texts)
    return [cost / math.log(2) / size for cost, size in zip(costs, sizes, strict=True)]


def causal_nll(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    texts: Sequence[str],
    *,
    max_length: int,
    batch_size: int = 16,
) -> tuple[list[float], list[int]]:
    """The `nll` ability of a causal language model.

    Each text is scored whole, in windows of `max_length` tokens that do not overlap; the first
    token of every window is predicted from the start token alone, so no token goes unscored.

    Args:
        model: with a language-modelling head; its mode is the caller's.
        tokenizer: with a start token, or an end token to stand for it.
        texts: N texts.
        max_length: tokens the model reads at once, its start token included.
        batch_size: windows at once.

    Returns:
        (nats, UTF-8 bytes), one a text.

    Raises:
        UserError: the tokenizer has neither a start nor an end token.
    """
    import torch
    from torch.nn.functional import cross_entropy

    start = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
    if start is None:
        raise UserError("give the tokenizer a start token (bos_token); scores need one to begin")
    windows = []
    for place, text in enumerate(texts):
        ids = tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids
        for at in range(0, len(ids), max_length - 1):
            windows.append((place, [start, *ids[at : at + max_length - 1]]))
    windows.sort(key=lambda window: len(window[1]))
    nll = [0.0] * len(texts)
    for at in range(0, len(windows), batch_size):
        places, rows = zip(*windows[at : at + batch_size], strict=True)
        length = max(map(len, rows))
        ids = torch.tensor([[*row, *[start] * (length - len(row))] for row in rows])
        mask = torch.arange(length) < torch.tensor([len(row) for row in rows])[:, None]
        ids, mask = ids.to(model.device), mask.to(model.device)
        with torch.no_grad():
            logits = model(input_ids=ids, attention_mask=mask.long()).logits[:, :-1]
        losses = cross_entropy(logits.float().transpose(1, 2), ids[:, 1:], reduction="none")
        sums = (losses.double() * mask[:, 1:]).sum(1).tolist()
        for place, value in zip(places, sums, strict=True):
            nll[place] += value
    return nll, [len(text.encode()) for text in texts]
