"""A needle in a haystack: does a model find one sentence, however long the text and wherever it is?

The sentence tells a number; behind the text it is begun again, and the model is asked which of ten
numbers is likeliest to follow. Chance is one in ten, and no model needs to follow instructions.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.nn import functional as F

from pretrial.errors import UserError

_NUM_CHOICES = 10
_CITIES = ("Lima", "Oslo", "Cairo", "Delhi", "Perth", "Quito", "Minsk", "Dakar")


def needle_grid(
    network: Any,
    tokenizer: Any,
    filler: Sequence[str],
    *,
    lengths: Sequence[int],
    depths: Sequence[float] = (0.0, 0.25, 0.5, 0.75, 1.0),
    num_trials: int = 10,
    seed: int = 0,
) -> Iterator[dict[str, float]]:
    """The share of needles found, for each length and depth.

    Args:
        network: a causal language model.
        tokenizer: its tokenizer.
        filler: texts that the haystack is made of.
        lengths: tokens of the whole.
        depths: where the needle stands: 0 is the beginning, 1 the end.
        num_trials: needles for each length and depth.
        seed: of the needles, their cities and the filler.

    Raises:
        UserError: there is too little filler, or a length has no room for the needle.
    """
    rng = random.Random(seed)
    hay = tokenizer("\n".join(filler), add_special_tokens=False)["input_ids"]
    for length in lengths:
        if len(hay) < length:
            raise UserError(f"the texts have {len(hay)} tokens, and {length} are needed: give more")
        for depth in depths:
            found = sum(
                _trial(network, tokenizer, hay, length, depth, rng) for _ in range(num_trials)
            )
            yield {"length": length, "depth": depth, "accuracy": found / num_trials}


def _trial(
    network: Any, tokenizer: Any, hay: list[int], length: int, depth: float, rng: random.Random
) -> bool:
    """Whether the number of one needle is the likeliest."""

    def ids(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    city = rng.choice(_CITIES)
    numbers = rng.sample(range(1000, 10_000), _NUM_CHOICES)
    question = ids(f"\nThe secret number of {city} is")
    needle = ids(f"\nThe secret number of {city} is {numbers[0]}.\n")
    answers = [ids(f" {number}") for number in numbers]
    room = length - len(needle) - len(question) - max(map(len, answers))
    if room < 0:
        raise UserError(f"{length} tokens have no room for a needle: give longer lengths")
    start = rng.randrange(len(hay) - room + 1)
    text = hay[start : start + room]
    at = round(depth * room)
    prompt = [*text[:at], *needle, *text[at:], *question]
    scores = endings(network, prompt, answers)
    return scores[0] > max(scores[1:])  # a model to which all are alike finds nothing


@torch.no_grad()
def endings(network: Any, prompt: Sequence[int], answers: Sequence[Sequence[int]]) -> list[float]:
    """The mean log-probability of each answer's tokens behind a prompt that is read once.

    Args:
        network: a causal language model of transformers whose cache can be cropped.
        prompt: token ids, two or more.
        answers: token ids.
    """

    def ids(tokens: Sequence[int]) -> torch.Tensor:
        return torch.tensor([list(tokens)], device=network.device)

    # logits of one place: those of a long prompt would fill the memory
    read = network(input_ids=ids(prompt[:-1]), use_cache=True, logits_to_keep=1)
    cache = read.past_key_values
    scores = []
    for answer in answers:
        given = ids([prompt[-1], *answer[:-1]])
        logits = network(input_ids=given, past_key_values=cache, use_cache=True).logits[0]
        chances = F.log_softmax(logits.float(), dim=-1)
        scores.append(float(chances[range(len(answer)), list(answer)].mean()))
        cache.crop(-len(answer))
    return scores
