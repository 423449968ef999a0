"""The vision tower (section 7.2): CLIP's patches, projected into token vectors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pretrial.checkpoints.parts import has_part, load_parts, load_value, save_parts
from pretrial.models.layers.vision import freeze_unread, load_clip, patches, projector

_PROJECTOR, _NORMS = "projector", "projector_norms"
#: Whose patches are read, counted from the end; assumed.
LAYER = -2


class VisionTower(nn.Module):
    """A vision model and a projector of two layers.

    Args:
        vision: a `CLIPVisionModel`.
        width: of the language model.
        norms: a LayerNorm behind each layer of the projector.
    """

    def __init__(self, vision: Any, width: int, norms: bool) -> None:
        super().__init__()
        self.vision = vision
        self.norms = norms
        self.projector = projector(vision.config.hidden_size, width, norms)
        freeze_unread(vision, LAYER)

    @classmethod
    def load(cls, source: str | Path, width: int, norms: bool) -> VisionTower:
        """From a CLIP checkpoint, with a new projector, or from a folder written by `save`.

        Args:
            source: name or folder.
            width: of the language model.
            norms: of a new projector; one that is read has what it has.
        """
        ours = has_part(source, _PROJECTOR)
        if ours:
            norms = load_value(source, _NORMS)
        with torch.device("cpu"):  # also where the language model has shapes alone
            made = cls(load_clip(source), width, norms)
            if ours:
                load_parts(source, {_PROJECTOR: made.projector})
        return made

    def save(self, folder: Path) -> None:
        """Vision model and projector."""
        self.vision.save_pretrained(folder)
        save_parts(folder, {_PROJECTOR: self.projector, _NORMS: self.norms})

    def forward(self, pixels: Tensor) -> Tensor:
        """Token vectors [B, patches, d] of images [B, 3, h, w]."""
        return self.projector(patches(self.vision, pixels, LAYER))
