"""Images for a language model: the patches of a CLIP model, and a projector into token vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import CLIPVisionModel

from pretrial.checkpoints.keys import load_pretrained

#: Weights in a CLIP checkpoint that are not of its vision model.
_TEXT_PARTS = ("text_model.", "text_projection.", "visual_projection.", "logit_scale")


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


def load_clip(source: str | Path) -> CLIPVisionModel:
    """The vision model of a CLIP checkpoint, on the CPU.

    Args:
        source: name or folder; what it holds of texts is left out.
    """
    with torch.device("cpu"):  # also where the language model has shapes alone
        return load_pretrained(CLIPVisionModel, source, beside=_TEXT_PARTS)  # type: ignore[return-value]


def freeze_unread(vision: Any, layer: int = -2) -> None:
    """What lies behind the layer whose patches are read gets no gradient; see `patches`."""
    inner = getattr(vision, "vision_model", vision)  # as in earlier versions of transformers
    inner.encoder.layers[layer + 1 :].requires_grad_(False)
    inner.post_layernorm.requires_grad_(False)
