"""Images for a language model: the patches of a CLIP model, and a projector into token vectors."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn


def patches(vision: Any, pixels: Tensor, layer: int = -2) -> Tensor:
    """Patch states of tiles, without the class token.

    Args:
        vision: a `CLIPVisionModel`.
        pixels: normalised tiles [N, 3, h, w]; where they are of another size than those that it was
            trained on, its positions are interpolated.
        layer: whose states, counted as in `hidden_states`; -2 is the last but one.

    Returns:
        [N, patches, width]
    """
    kind = next(vision.parameters()).dtype
    other = (
        {"interpolate_pos_encoding": True} if pixels.shape[-1] != vision.config.image_size else {}
    )
    states = vision(pixels.to(kind), output_hidden_states=True, **other).hidden_states
    return states[layer][:, 1:]


def projector(width: int, target: int, norms: bool = False) -> nn.Sequential:
    """Two linear layers with a GELU between them.

    Args:
        width: of the patches.
        target: of the token vectors.
        norms: a LayerNorm behind each linear layer.
    """
    layers: list[nn.Module] = [nn.Linear(width, target)]
    layers += [nn.LayerNorm(target)] if norms else []
    layers += [nn.GELU(), nn.Linear(target, target)]
    layers += [nn.LayerNorm(target)] if norms else []
    return nn.Sequential(*layers)
