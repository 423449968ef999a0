"""MP3: a Transformer learns which place of an image each of its patches comes from.

An image is cut into patches, or a recording into groups of spectrogram frames, and the encoder
reads them without any position embedding: a bag of patches. From each state a linear head names
the place of its patch, a classification among all places. To make that hard, most patches are
hidden from attention: all of them ask, but keys and values come from a random few, the context,
which is the same in all layers. So what is learned is how contents stand to one another in space or
time. Nothing is reconstructed and there is no decoder. Afterwards the head is dropped; fine-tuning
lets every patch be seen and adds fresh positions, or none.

Deviations from the paper:
1. Where the text of the paper was not at hand, settings are assumed and said to be so in `Config`:
   the recipe of ViT-B, the front end for sound, and the form of the smoothed targets.
2. No augmentation beyond crops and mirror images; neither pads, since a border tells a place.
3. A recording shorter than the crop is refused, for the same reason.
4. Relative positions are a bias for each head and offset, shared by all layers.

| field | content |
| --- | --- |
| image | path, array or picture; see `data.media.image` |
| audio | instead of an image, with `input=audio`: path or samples; see `data.media.audio` |
| label | class of it, for fine-tuning; rows may lack it |
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from pretrial.bases.examples import Example
from pretrial.bases.patch_encoder.data import pixels
from pretrial.bases.patch_encoder.method import PatchEncoderMethod
from pretrial.card import Card, Claim, Field
from pretrial.corrupt.draws import choose, row_seeds
from pretrial.methods.vision.mp3.config import Config
from pretrial.methods.vision.mp3.network import context_states, near_targets, position_loss
from pretrial.models.architectures.patch_encoder import PatchEncoder
from pretrial.train.stage import Batch, Stage

if TYPE_CHECKING:
    from pretrial.train.run import Run

__all__ = ["CARD", "MP3", "Config"]

CARD = Card(
    slug="mp3",
    title="Position Prediction as an Effective Pretraining Strategy",
    authors="Zhai and others",
    year=2022,
    arxiv="2207.07611",
    summary="A Transformer without positions learns where in an image or a sound a piece stood",
    baseline="mae",
    abilities=("encode", "classify"),
    fields=(
        Field("image", "path, array or picture"),
        Field("audio", "instead of an image: path, or samples with their rate", required=False),
        Field("label", "class, for fine-tuning", required=False),
    ),
    claims=(
        Claim(
            "CIFAR-100, ViT-S: 84.0 with absolute positions, 84.2 relative, 82.6 with none, against"
            " 73.4, 75.0 and 64.6 from scratch; MAE 84.5, MoCo v3 83.3",
            "(secondary) section on images",
        ),
        Claim(
            "Tiny ImageNet, ViT-S: 72.8, 73.2 and 68.2 against 57.6, 59.4 and 60.0 from scratch",
            "(secondary) section on images",
        ),
        Claim(
            "Transformers without position embeddings come out above those with them", "abstract"
        ),
    ),
)


class MP3(PatchEncoderMethod):
    """An encoder without positions and the head that names places.

    Args:
        config: the settings.
        encoder: is trained in place.
        classes: names of the classes that fine-tuning tells apart.

    Attributes:
        steps_done: optimiser steps of pre-training, which the smoothing of targets depends on.
    """

    Config: ClassVar[type] = Config
    steps_done: Tensor

    def __init__(self, config: Any, encoder: PatchEncoder, classes: Sequence[Any] = ()) -> None:
        super().__init__(config, encoder, classes)
        self.position_head = nn.Linear(config.width, config.num_tokens)
        self.register_buffer("steps_done", torch.zeros(()))

    def batch(self, examples: Sequence[Example], generator: torch.Generator) -> Batch:
        """Pixels [B, C, H, W], and `context` [L, B, m], places of the tokens that are seen.

        L is 1, or the number of layers where each has a context of its own.
        """
        config, num = self.config, len(examples)
        seeds = row_seeds(num, generator)
        sizes, kept = np.full(num, config.num_tokens), np.full(num, config.num_visible)
        draws = config.num_layers if config.context == "layer" else 1
        chosen = [choose(seeds, sizes, kept, stream) for stream in range(100, 100 + draws)]
        places = [each.nonzero()[1].reshape(num, config.num_visible) for each in chosen]
        return {
            "pixels": pixels(examples, config, seeds if self.training else None),
            "context": torch.from_numpy(np.stack(places)),
            "counts": {
                "examples": float(num),
                "tokens": float(num * config.num_tokens),
                "context": float(num * config.num_visible),
                "hidden": float(num * (config.num_tokens - config.num_visible)),
            },
        }

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Mean cross-entropy over all tokens, and how many places are named rightly."""
        context, counts = batch["context"], batch["counts"]
        logits = self.position_logits(
            batch["pixels"], list(context) if len(context) > 1 else context[0]
        )
        found = {"loss": position_loss(logits, counts["tokens"], self._targets(logits))}
        right = logits.argmax(-1) == torch.arange(logits.shape[1], device=logits.device)  # [B, n]
        seen = right.gather(1, context[0])
        found["context_right_ratio"] = seen.sum() / counts["context"]
        if counts["hidden"]:
            found["hidden_right_ratio"] = (right.sum() - seen.sum()) / counts["hidden"]
        return found

    def position_logits(
        self, images: Tensor, context: Tensor | Sequence[Tensor] | None = None
    ) -> Tensor:
        """Logits of the places [B, n, n] for every token of images [B, C, H, W]."""
        states = context_states(self.encoder, self.encoder.tokens(images), context)
        return self.position_head(states)

    def _targets(self, logits: Tensor) -> Tensor | None:
        """Smoothed targets [n, n] while they are; they narrow linearly with the steps."""
        config = self.config
        if not config.smoothing or not self.training:
            return None
        left = (1 - self.steps_done / config.smoothing_steps).clamp(min=0)
        return near_targets(self.encoder.grid, (config.smoothing * left).clamp(min=1e-3))

    def after_step(self) -> None:
        self.steps_done += 1

    def stages(self, run: Run) -> Iterator[Stage]:
        """Says how many tokens are hidden; then see `PatchEncoderMethod.stages`."""
        config = self.config
        run.say(
            f"{config.num_visible} of {config.num_tokens} tokens are context,"
            f" {config.num_tokens - config.num_visible} are hidden"
        )
        yield from super().stages(run)
