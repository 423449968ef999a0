"""How long a model takes to its first token, how fast it goes on, and what its caches hold."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pretrial.errors import UserError
from pretrial.models.decoding.cache import DecoderOnly, EncoderDecoder


@dataclass
class Speed:
    """Of one model, one value a round.

    Attributes:
        first_token: seconds from the input to the first token.
        whole: seconds from the input to the last token.
        num_tokens: written in a round.
        cache_bytes: of all keys and values after the last token.
    """

    num_tokens: int
    first_token: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    cache_bytes: int = 0

    @property
    def rates(self) -> list[float]:
        """Tokens a second, the first one and its input included."""
        return [self.num_tokens / seconds for seconds in self.whole]

    @property
    def later_rates(self) -> list[float]:
        """Tokens a second after the first."""
        pairs = zip(self.whole, self.first_token, strict=True)
        return [(self.num_tokens - 1) / (whole - first) for whole, first in pairs]

    @property
    def median_first(self) -> float:
        """Median seconds to the first token."""
        return statistics.median(self.first_token)


@torch.no_grad()
def decoding_speed(
    models: Mapping[str, Any],
    *,
    num_input: int,
    num_output: int,
    rounds: int = 5,
    batch_size: int = 1,
    seed: int = 0,
) -> dict[str, Speed]:
    """Times greedy decoding; models take turns on the same inputs, after a round of warm-up.

    Times are those of this thread, so that other work on the machine does not count: set one thread
    before. All tokens are written; none ends a text.

    Args:
        models: of transformers, decoder-only or with an encoder, in eval mode on the CPU.
        num_input: tokens read.
        num_output: tokens written, two at least.
        rounds: timed.
        batch_size: inputs at once.
        seed: of the inputs.

    Raises:
        UserError: there is nothing to time.
    """
    if num_input < 1 or num_output < 2 or rounds < 1:
        raise UserError("speed takes an input, two tokens of output and a round, at least")
    generator = torch.Generator().manual_seed(seed)
    vocab_size = min(model.config.vocab_size for model in models.values())
    found = {name: Speed(num_output) for name in models}
    for number in range(rounds + 1):
        prompts = torch.randint(vocab_size, (batch_size, num_input), generator=generator).tolist()
        for name, model in models.items():
            first, whole, num_bytes = _one(model, prompts, num_output)
            if number:
                found[name].first_token.append(first)
                found[name].whole.append(whole)
            found[name].cache_bytes = num_bytes
    return found


def _one(model: Any, prompts: list[list[int]], num_output: int) -> tuple[float, float, int]:
    """Seconds to the first token and to the last, and bytes of the caches."""
    kind = EncoderDecoder if model.config.is_encoder_decoder else DecoderOnly
    began = time.thread_time()
    state = kind(model, [*prompts], 0, num_output)
    tokens = state.logits.argmax(-1, keepdim=True)
    first = time.thread_time() - began
    for _ in range(num_output - 1):
        tokens = state.feed(tokens).argmax(-1, keepdim=True)
    return first, time.thread_time() - began, cache_bytes(state.cache)


def cache_bytes(cache: Any) -> int:
    """Bytes of the keys and values that a cache of transformers holds."""
    parts = [
        getattr(cache, name, None) for name in ("self_attention_cache", "cross_attention_cache")
    ]
    caches = [part for part in parts if part is not None] or [cache]
    tensors = [t for each in caches for layer in each.layers for t in (layer.keys, layer.values)]
    return sum(t.numel() * t.element_size() for t in tensors if isinstance(t, Tensor))
