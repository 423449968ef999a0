"""Prefix language modelling: the beginning of a sequence is read, the rest is written."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pretrial.errors import UserError


def prefix_split(
    ids: Sequence[int], low: float = 0.1, high: float = 0.9, *, generator: torch.Generator
) -> tuple[list[int], list[int]]:
    """Parts a sequence at a pivot that is uniform between two shares of its length.

    Args:
        ids: token ids [T], two or more, without special tokens and padding.
        low: least share that is read.
        high: largest share that is read.
        generator: the only source of randomness.

    Returns:
        What is read and what is written, neither of them empty.

    Raises:
        UserError: fewer than two tokens, or shares that are none.
    """
    if len(ids) < 2:
        raise UserError(f"{len(ids)} token(s) cannot be parted: leave texts that short out")
    if not 0 <= low <= high <= 1:
        raise UserError(f"the pivot needs shares with 0 <= low <= high <= 1, not {low} and {high}")
    share = low + (high - low) * float(torch.rand((), generator=generator))
    pivot = min(max(1, round(share * len(ids))), len(ids) - 1)
    return list(ids[:pivot]), list(ids[pivot:])
