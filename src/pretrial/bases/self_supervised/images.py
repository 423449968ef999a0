"""A masked autoencoder of images, as transformers has it, and a classifier that starts from it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor
from transformers import (
    ViTForImageClassification,
    ViTMAEConfig,
    ViTMAEForPreTraining,
    ViTMAEModel,
    ViTModel,
)

from pretrial.bases.examples import Example, check_field
from pretrial.bases.patch_encoder.config import ImageInputs
from pretrial.bases.patch_encoder.data import image_pixels, image_processor
from pretrial.checkpoints.keys import load_pretrained
from pretrial.corrupt.draws import row_seeds, row_uniform
from pretrial.errors import UserError
from pretrial.models.architectures.classifier import Classifier
from pretrial.models.architectures.patch_encoder import PatchEncoder, glorot_init, plain_config
from pretrial.models.layers.positions import sine_positions
from pretrial.train.in_batches import in_batches
from pretrial.train.method import Method
from pretrial.train.stage import Batch

if TYPE_CHECKING:
    from pretrial.train.run import Run

_STREAM = 300  # of the numbers that choose the hidden patches


class MaskedAutoencoder(Method):
    """A `ViTMAEForPreTraining`.

    Args:
        config: the settings.
        network: is trained in place.
    """

    field = "image"

    def __init__(self, config: Any, network: Any) -> None:
        super().__init__(config)
        self.network = network

    @classmethod
    def build(
        cls, config: Any, source: str | Path | None = None, data: Sequence[Example] | None = None
    ) -> Self:
        """Takes checkpoints with a decoder or without, which is then randomly initialised."""
        sizes = config.mae_config(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
        if source is None:
            check_field(data or (), cls.field)
            return cls(config, _untrained(sizes))
        try:
            model: Any = load_pretrained(ViTMAEForPreTraining, source)
        except UserError:
            # without a decoder; whatever else is wrong with it is told by this
            encoder: Any = load_pretrained(ViTMAEModel, source)
            decoder = {k: v for k, v in sizes.to_dict().items() if k.startswith("decoder_")}
            model = _untrained(ViTMAEConfig(**{**encoder.config.to_dict(), **decoder}))
            model.vit.load_state_dict(encoder.state_dict())
        model.config.mask_ratio = config.hidden_ratio
        model.config.norm_pix_loss = config.normalised
        return cls(config.sized_as(model.config), model)

    @property
    def num_patches(self) -> int:
        """Patches of an image."""
        return (self.config.image_size // self.config.patch_size) ** 2

    def prepared(self, run: Run) -> tuple[Sequence[Example], Sequence[Example]]:
        """The examples of a run and what was held out, as they are."""
        for part in (run.data, run.held_out):
            check_field(part, self.field)
        return run.data, run.held_out

    def batch(self, examples: Sequence[Example], generator: torch.Generator) -> Batch:
        """Whole images `pixels` [B, C, H, W], and `noise` [B, n]; the least of it is not hidden."""
        num, num_kept = len(examples), int(self.num_patches * (1 - self.config.hidden_ratio))
        noise = row_uniform(row_seeds(num, generator), self.num_patches, _STREAM)
        return {
            "pixels": self.pixels(examples),
            "noise": torch.from_numpy(noise.astype(np.float32)),
            "counts": {
                "examples": float(num),
                "tokens": float(num * self.num_patches),
                "hidden": float(num * (self.num_patches - num_kept)),
            },
        }

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Mean squared error of the hidden patches' pixels."""
        output = self.network(batch["pixels"], noise=batch["noise"])
        # transformers divides by the patches of this forward pass, the loop wants those of the step
        return {"loss": output.loss * output.mask.sum() / batch["counts"]["hidden"]}

    def features(self, batch: Batch) -> Tensor:
        """The last state of the class token [B, d], of whole images."""
        return self.states(batch["pixels"])[:, 0]

    def pixels(self, contents: Sequence[Any]) -> Tensor:
        """Examples, or bare images, as the encoder reads them [B, C, H, W]."""
        return image_pixels(contents, self.config)

    def states(self, pixels: Tensor) -> Tensor:
        """Normalised last states [B, 1 + n, d] of whole images, patches in their own order.

        `ViTMAEModel` would shuffle the patches even where it hides none.
        """
        parts, encoder = self.network.vit.embeddings, PatchEncoder(self.network.vit)
        places = parts.position_embeddings
        first = (parts.cls_token + places[:, :1]).expand(len(pixels), -1, -1)
        return encoder.states(torch.cat([first, encoder.tokens(pixels) + places[:, 1:]], dim=1))

    def encode(self, examples: Sequence[Any], *, batch_size: int = 64) -> Tensor:
        """The features of examples, or of bare images [N, d]."""
        return in_batches(
            self,
            examples,
            lambda some: self.states(self.pixels(some).to(self.network.device))[:, 0],
            batch_size,
        )

    def classifier(self, num_labels: int) -> ImageClassifier:
        """A `ViTForImageClassification` with a new head on a copy of the encoder."""
        config = plain_config(self.network.config)
        config.hidden_dropout_prob = self.config.finetune_dropout_prob
        config.num_labels = num_labels
        with self.network.device:
            model: Any = ViTForImageClassification(config)
        model.vit.load_state_dict(self.network.vit.state_dict())
        return ImageClassifier(model, self.config)

    @property
    def processor(self) -> Any:
        """How transformers prepares images for what `export` gives."""
        return image_processor(self.config)

    def export(self) -> ViTModel:
        """The encoder."""
        parts = self.network.vit.embeddings
        encoder = PatchEncoder(self.network.vit)
        return encoder.to_vit(parts.position_embeddings, parts.cls_token)

    def save(self, folder: Path) -> None:
        """Encoder and decoder, in the layout of transformers."""
        self.network.save_pretrained(folder)


class ImageClassifier(Classifier):
    """A classifier of transformers that reads crops and mirror images in training.

    Args:
        model: such as `ViTForImageClassification`.
        config: how images are prepared.
    """

    def __init__(self, model: Any, config: ImageInputs) -> None:
        super().__init__()
        self.model = model
        self.config = config

    def inputs(
        self, contents: Sequence[Any], generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Pixels [B, C, H, W]."""
        seeds = None if generator is None else row_seeds(len(contents), generator)
        return {"pixels": image_pixels(contents, self.config, seeds)}

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits [B, num_labels] of images [B, C, H, W]."""
        return self.model(pixel_values=pixels).logits

    def num_tokens(self, inputs: dict[str, Tensor]) -> int:
        """Patches of all images."""
        return len(inputs["pixels"]) * (self.config.image_size // self.config.patch_size) ** 2


def _untrained(config: ViTMAEConfig) -> Any:
    """Weights as MAE's begin: positions that tell places, and layers drawn in their width."""
    model: Any = ViTMAEForPreTraining(config)
    glorot_init(model)
    side = model.vit.embeddings.patch_embeddings.image_size[0] // config.patch_size
    with torch.no_grad():
        for places in (model.vit.embeddings.position_embeddings, model.decoder.decoder_pos_embed):
            places.copy_(sine_positions((side, side), places.shape[-1]))
    return model
