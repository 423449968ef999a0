"""A longer context (section 7.1) for a model with rotary positions: its base raised."""

from __future__ import annotations

from typing import Any

from pretrial.errors import UserError

Values = dict[str, Any]


def context_values(network: Any) -> Values:
    """The three settings that decide how far a model can look."""
    rope = dict(getattr(network.config, "rope_parameters", None) or {})
    return {
        "max_position_embeddings": network.config.max_position_embeddings,
        "rope_theta": rope.get("rope_theta"),
        "rope_type": rope.get("rope_type"),
    }


def extend_context(network: Any, length: int, base: float) -> tuple[Values, Values]:
    """Sets the longest position and the base of the rotary positions, in place.

    Args:
        network: a causal language model of transformers with rotary positions.
        length: tokens that it is to read.
        base: of the rotary positions; the higher, the slower the angles turn.

    Returns:
        `context_values` before and after.

    Raises:
        UserError: it has no rotary positions, or scales them in a way of its own.
    """
    before = context_values(network)
    rotary = getattr(getattr(network, "model", None), "rotary_emb", None)
    if rotary is None or before["rope_theta"] is None:
        raise UserError(f"{type(network).__name__} has no rotary positions to stretch")
    if before["rope_type"] not in (None, "default"):
        raise UserError(
            f"its rotary positions are scaled already ({before['rope_type']}): take a checkpoint"
            " whose rope_type is default"
        )
    config = network.config
    config.max_position_embeddings = length
    config.rope_parameters = {"rope_type": "default", "rope_theta": float(base)}
    network.model.rotary_emb = type(rotary)(config).to(network.device)
    return before, context_values(network)
