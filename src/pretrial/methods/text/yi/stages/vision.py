"""Training on images (section 7.2): the language model reads their patches before their texts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from pretrial.corrupt.masks import IGNORE
from pretrial.data.media.image import open_image
from pretrial.data.media.image_tiles import tiles
from pretrial.methods.text.yi.data import Pair
from pretrial.methods.text.yi.network.vision import VisionTower
from pretrial.models.architectures.language_model import CausalLM
from pretrial.train.stage import Batch, Trainable


class ImageToText(Trainable):
    """Learns to write the texts of images.

    Args:
        language_model: reads the patches before the text.
        tower: makes them.
        size: side of the images in pixels; positions of CLIP are interpolated to it.
    """

    def __init__(self, language_model: CausalLM, tower: VisionTower, size: int) -> None:
        super().__init__()
        self.language_model = language_model
        self.tower = tower
        self.size = size

    def batch(self, examples: Sequence[Pair], generator: torch.Generator) -> Batch:
        """Pixels, and texts with an end token before them and behind."""
        end = self.language_model.end
        windows = [[end, *pair.ids, end] for pair in examples]
        batch = self.language_model.batch(windows, generator)
        batch["pixels"] = torch.cat([tiles(open_image(p.image), self.size, 0) for p in examples])
        return batch

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Mean cross-entropy of the texts' tokens."""
        network = self.language_model.network
        seen = self.tower(batch["pixels"])  # [B, P, d]
        vectors = torch.cat([seen, network.get_input_embeddings()(batch["input_ids"])], dim=1)
        length, number = batch["input_ids"].shape[1], seen.shape[1]
        places = batch["positions"]
        moved = {
            **batch,
            "labels": F.pad(batch["labels"], (number, 0), value=IGNORE),
            "positions": places + (places // length + 1) * number,
        }
        return self.language_model.losses(moved, vectors)

    @torch.no_grad()
    def write(self, image: Any, ids: list[int], max_new_tokens: int, **how: Any) -> list[int]:
        """Continues a text about an image.

        Args:
            image: as `open_image` takes it.
            ids: of the text so far.
            max_new_tokens: longest continuation.
            how: options of transformers' `generate`.
        """
        network, end = self.language_model.network, self.language_model.end
        pixels = tiles(open_image(image), self.size, 0).to(network.device)
        given = torch.tensor([[end, *ids]], device=network.device)
        vectors = torch.cat([self.tower(pixels), network.get_input_embeddings()(given)], dim=1)
        rows = network.generate(
            inputs_embeds=vectors, max_new_tokens=max_new_tokens, pad_token_id=end, **how
        )
        return rows[0].tolist()
