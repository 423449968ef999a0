"""A masked autoencoder of images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor
from transformers import (
    ViTConfig,
    ViTForImageClassification,
    ViTMAEConfig,
    ViTMAEForPreTraining,
    ViTMAEModel,
    ViTModel,
)

from pretrial.checkpoints.keys import load_pretrained
from pretrial.corrupt.draws import row_seeds, row_uniform
from pretrial.errors import UserError
from pretrial.methods.adapt.further_pretraining.config import Config
from pretrial.methods.adapt.further_pretraining.inputs import Example, check_input, pixels_of
from pretrial.methods.adapt.further_pretraining.network import Network
from pretrial.models.architectures.patch_encoder import glorot_init
from pretrial.models.layers.positions import sine_positions
from pretrial.train.stage import Batch

_STREAM = 300  # of the numbers that choose the hidden patches


class ImageNetwork(Network):
    """A masked autoencoder: `ViTMAEForPreTraining`."""

    input = "image"
    counted = "hidden"

    @classmethod
    def fresh(cls, config: Config, examples: Sequence[Example] | None) -> Self:
        if examples is not None:
            check_input(examples, "image")
        return cls(config, _untrained(_mae_config(config)))

    @classmethod
    def load(cls, config: Config, source: str | Path) -> Self:
        """Takes checkpoints with a decoder or without, which then begins at random."""
        try:
            model: Any = load_pretrained(ViTMAEForPreTraining, source)
        except UserError:
            # without a decoder; whatever else is wrong with it is told by this
            encoder: Any = load_pretrained(ViTMAEModel, source)
            sizes = ViTMAEConfig(**{**encoder.config.to_dict(), **_decoder_sizes(config)})
            model = _untrained(sizes)
            model.vit.load_state_dict(encoder.state_dict())
        model.config.mask_ratio = config.hidden_ratio
        model.config.norm_pix_loss = config.normalised
        return cls(_sized_as_images(config, model.config), model)

    def batch(self, examples: Sequence[Example], generator: torch.Generator) -> Batch:
        seeds = row_seeds(len(examples), generator)
        num_patches = (self.config.image_size // self.config.patch_size) ** 2
        num_kept = int(num_patches * (1 - self.config.hidden_ratio))
        noise = row_uniform(seeds, num_patches, _STREAM).astype(np.float32)
        num = float(len(examples))
        return {
            "pixels": pixels_of(examples, self.config),
            "noise": torch.from_numpy(noise),
            "counts": {
                "examples": num,
                "tokens": num * num_patches,
                "hidden": num * (num_patches - num_kept),
            },
        }

    def inputs(self, examples: Sequence[Example]) -> Batch:
        return {"pixels": pixels_of(examples, self.config)}

    def ssl_loss(self, batch: Batch) -> Tensor:
        """Mean squared error of the hidden patches' pixels."""
        output = self.model(batch["pixels"], noise=batch["noise"])
        # transformers divides by the patches of this forward pass, the loop wants those of the step
        return output.loss * output.mask.sum() / batch["counts"]["hidden"]

    def features(self, batch: Batch) -> Tensor:
        return self.states(batch["pixels"])[:, 0]

    def states(self, pixels: Tensor) -> Tensor:
        """Normalised last states [B, 1 + n, d] of whole images, patches in their own order.

        `ViTMAEModel` would shuffle the patches even where it hides none.
        """
        vit = self.model.vit
        parts, places = vit.embeddings, vit.embeddings.position_embeddings
        patches = parts.patch_embeddings(pixels) + places[:, 1:]
        first = (parts.cls_token + places[:, :1]).expand(len(pixels), -1, -1)
        states = torch.cat([first, patches], dim=1)
        for layer in vit.layers:
            states = layer(states, None)
        return vit.layernorm(states)

    def classifier(self, num_labels: int) -> Any:
        config = _vit_config(self.model.config)
        config.hidden_dropout_prob = self.config.finetune_dropout_prob
        config.num_labels = num_labels
        with self.model.device:
            model: Any = ViTForImageClassification(config)
        model.vit.load_state_dict(self.model.vit.state_dict())
        return model

    def exported(self) -> Any:
        """A `ViTModel`."""
        with self.model.device:
            model: Any = ViTModel(_vit_config(self.model.config), add_pooling_layer=False)
        model.load_state_dict(self.model.vit.state_dict())
        return model


def _untrained(config: ViTMAEConfig) -> Any:
    """Weights as MAE's begin: positions that tell places, and layers drawn in their width."""
    model: Any = ViTMAEForPreTraining(config)
    glorot_init(model)
    side = model.vit.embeddings.patch_embeddings.image_size[0] // config.patch_size
    with torch.no_grad():
        for places in (model.vit.embeddings.position_embeddings, model.decoder.decoder_pos_embed):
            places.copy_(sine_positions((side, side), places.shape[-1]))
    return model


def _mae_config(config: Config) -> ViTMAEConfig:
    return ViTMAEConfig(
        hidden_size=config.width,
        num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_heads,
        intermediate_size=config.feed_forward,
        image_size=config.image_size,
        patch_size=config.patch_size,
        num_channels=config.num_channels,
        mask_ratio=config.hidden_ratio,
        norm_pix_loss=config.normalised,
        **_decoder_sizes(config),
    )


def _decoder_sizes(config: Config) -> dict[str, Any]:
    return {
        "decoder_hidden_size": config.decoder_width,
        "decoder_num_hidden_layers": config.decoder_layers,
        "decoder_num_attention_heads": config.decoder_heads,
        "decoder_intermediate_size": 4 * config.decoder_width,
    }


def _vit_config(config: Any) -> ViTConfig:
    """The same encoder as a plain ViT; pixels are hidden nowhere."""
    shared = ViTConfig().to_dict().keys() - {"model_type", "architectures", "transformers_version"}
    known = config.to_dict()
    return ViTConfig(**{name: known[name] for name in shared if name in known})


def _sized_as_images(config: Config, model: Any) -> Config:
    """The same settings with the sizes of a model of images."""
    channels = model.num_channels
    fits = len(config.pixel_mean) in (1, channels) and len(config.pixel_std) in (1, channels)
    return replace(
        config,
        input="image",
        image_size=model.image_size,
        patch_size=model.patch_size,
        num_channels=channels,
        pixel_mean=config.pixel_mean if fits else (0.5,),
        pixel_std=config.pixel_std if fits else (0.5,),
        width=model.hidden_size,
        num_layers=model.num_hidden_layers,
        num_heads=model.num_attention_heads,
        feed_forward=model.intermediate_size,
        decoder_width=model.decoder_hidden_size,
        decoder_layers=model.decoder_num_hidden_layers,
        decoder_heads=model.decoder_num_attention_heads,
    )
