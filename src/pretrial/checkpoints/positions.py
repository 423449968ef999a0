"""How many tokens a network of transformers can read."""

from __future__ import annotations

from typing import Any


def num_positions(model: Any) -> int | None:
    """Tokens that a model has positions for; None where it has no table of them.

    Args:
        model: of transformers, or any module.
    """
    positions = getattr(getattr(model, "config", None), "max_position_embeddings", None)
    if not positions:
        return None
    # RoBERTa and its like begin to count behind the padding token
    table = getattr(getattr(model.base_model, "embeddings", None), "position_embeddings", None)
    padding = getattr(table, "padding_idx", None)
    return int(positions) - (0 if padding is None else int(padding) + 1)
