"""Images before the text: CLIP's patches, projected into token vectors."""

from __future__ import annotations

import random
from array import array
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPVisionModel

from pretrial.checkpoints.keys import load_pretrained, load_strict, read_weights
from pretrial.corrupt.masks import IGNORE
from pretrial.data.media.image import open_image
from pretrial.data.media.image_tiles import tiles
from pretrial.data.rows import Row, chosen
from pretrial.models.architectures.language_model import CausalLM
from pretrial.models.layers.vision import patches, projector
from pretrial.train.stage import Batch, Trainable

#: Weights in a CLIP checkpoint that are not of its vision model.
_BESIDE = ("text_model.", "text_projection.", "visual_projection.", "logit_scale")
_PROJECTOR = "projector.safetensors"
#: Whose patches are read, counted from the end; assumed.
LAYER = -2


class Sight(nn.Module):
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
        # what lies behind the layer that is read gets no gradient
        inner = getattr(vision, "vision_model", vision)
        inner.encoder.layers[LAYER + 1 :].requires_grad_(False)
        inner.post_layernorm.requires_grad_(False)

    @classmethod
    def load(cls, source: str | Path, width: int, norms: bool) -> Sight:
        """From a CLIP checkpoint, with a new projector, or from a folder written by `save`.

        Args:
            source: name or folder.
            width: of the language model.
            norms: of a new projector; one that is read has what it has.
        """
        own = Path(source) / _PROJECTOR
        state = read_weights(own) if own.is_file() else None
        if state is not None:
            norms = "4.weight" in state
        with torch.device("cpu"):  # also where the language model has shapes alone
            made = cls(load_pretrained(CLIPVisionModel, source, beside=_BESIDE), width, norms)
            if state is not None:
                load_strict(made.projector, state, source)
        return made

    def save(self, folder: Path) -> None:
        """Vision model and projector."""
        self.vision.save_pretrained(folder)
        save_file(self.projector.state_dict(), folder / _PROJECTOR)

    def forward(self, pixels: Tensor) -> Tensor:
        """Token vectors [B, patches, d] of images [B, 3, h, w]."""
        return self.projector(patches(self.vision, pixels, LAYER))


@dataclass(frozen=True)
class Pair:
    """An image, as `open_image` takes it, and the token ids of its text."""

    image: Any
    ids: list[int]


class Seer(Trainable):
    """Learns to write the texts of images.

    Args:
        language_model: reads the patches before the text.
        sight: makes them.
        size: side of the images in pixels; positions of CLIP are interpolated to it.
    """

    def __init__(self, language_model: CausalLM, sight: Sight, size: int) -> None:
        super().__init__()
        self.language_model = language_model
        self.sight = sight
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
        seen = self.sight(batch["pixels"])  # [B, P, d]
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
        vectors = torch.cat([self.sight(pixels), network.get_input_embeddings()(given)], dim=1)
        rows = network.generate(
            inputs_embeds=vectors, max_new_tokens=max_new_tokens, pad_token_id=end, **how
        )
        return rows[0].tolist()


def capped(rows: Sequence[Row], most: int, rng: random.Random) -> Sequence[Row]:
    """At most so many rows of each `source`, drawn; those without one count as one source."""
    order = array("q", range(len(rows)))
    rng.shuffle(order)
    seen: Counter[str] = Counter()
    kept = array("q")
    for place in order:
        source = str(rows[place].get("source") or "")
        seen[source] += 1
        if seen[source] <= most:
            kept.append(place)
    return chosen(rows, kept)
