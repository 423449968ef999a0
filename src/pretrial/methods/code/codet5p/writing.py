"""Completion by the decoder alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from pretrial.methods.code.codet5p.network import CLM, task_ids
from pretrial.models.sample import sample


@torch.no_grad()
def completions(
    network: Any,
    tokenizer: Any,
    codes: Sequence[str],
    *,
    max_prefix: int,
    max_new_tokens: int,
    num_samples: int = 1,
    temperature: float = 0.0,
    top_p: float = 0.95,
    seed: int = 0,
) -> list[list[str]]:
    """Continuations of each code; the encoder reads nothing but [CLM].

    Args:
        network: the network.
        tokenizer: its tokenizer.
        codes: what is gone on from.
        max_prefix: of a longer code the last so many tokens are seen.
        max_new_tokens: longest continuation, in tokens.
        num_samples: continuations a code.
        temperature: of sampling; 0 takes the most probable token each time.
        top_p: of nucleus sampling.
        seed: of sampling.

    Returns:
        `num_samples` continuations a code, without the code.
    """
    ids = tokenizer(list(codes), add_special_tokens=False)["input_ids"]
    prefixes = [row[-max_prefix:] for row in ids]
    clm_id = task_ids(tokenizer)[CLM]
    rows = sample(
        network,
        [[clm_id]] * len(prefixes),
        num_samples=num_samples,
        max_new_tokens=max(map(len, prefixes)) + max_new_tokens,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        temperature=temperature or 1.0,
        top_p=top_p,
        greedy=not temperature,
        prefixes=[[prefix] * num_samples for prefix in prefixes],
        generator=torch.Generator().manual_seed(seed),
    )
    return [
        [
            tokenizer.decode(
                row[len(prefix) : len(prefix) + max_new_tokens], skip_special_tokens=True
            )
            for row in group
        ]
        for prefix, group in zip(prefixes, rows, strict=True)
    ]
