"""Settings of public networks that learn without labels, of images or of texts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal, Self

from pretrial.bases.finetuning import Finetuning
from pretrial.bases.patch_encoder.config import ImageInputs, PixelDecoder
from pretrial.bases.text_encoder import EncoderConfig
from pretrial.errors import UserError

Input = Literal["image", "text"]


@dataclass(frozen=True)
class SelfSupervised(ImageInputs, PixelDecoder, Finetuning, EncoderConfig):
    """Settings of a ViT-MAE or of a masked language model; a checkpoint decides input and sizes.

    Attributes:
        input: what the field is that is read: "image" (a masked autoencoder) or "text" (a masked
            language model).
        dropout_prob: of hidden states and attention in a network for texts, from scratch.
        hidden_ratio: share of the patches that is hidden, in images.
        finetune_dropout_prob: of hidden states in fine-tuning.
    """

    input: Input = "image"
    resize: bool = True
    pixel_mean: tuple[float, ...] = (0.485, 0.456, 0.406)  # preprocessor_config.json of vit-mae
    pixel_std: tuple[float, ...] = (0.229, 0.224, 0.225)  # preprocessor_config.json of vit-mae
    vocab_size: int = 50_265  # config.json of roberta-base
    hidden_ratio: float = 0.75  # section 4.1 of MAE (2111.06377)
    finetune_dropout_prob: float = 0.1  # config.json of roberta-base

    def __post_init__(self) -> None:
        ImageInputs.__post_init__(self)
        Finetuning.__post_init__(self)
        if not 0 < self.hidden_ratio < 1:
            raise UserError(f"hidden_ratio must be between 0 and 1, not {self.hidden_ratio}")

    @classmethod
    def tiny(cls) -> Self:
        """Small enough for a test."""
        return replace(
            cls.small(),
            width=32,
            num_layers=2,
            num_heads=2,
            feed_forward=64,
            decoder_width=16,
            decoder_heads=2,
            vocab_size=300,
            num_positions=32,
            max_length=24,
            hidden_ratio=0.5,
            lr=3e-3,
            batch_size=8,
            finetune_ratio=0.25,
            finetune_lr=3e-3,
            finetune_batch_size=8,
        )

    @classmethod
    def small(cls) -> Self:
        """0.2 M parameters, for images of 8x8 pixels or a megabyte of text."""
        return cls(
            image_size=8,
            patch_size=2,
            num_channels=1,
            resize=False,
            pixel_mean=(0.5,),
            pixel_std=(0.5,),
            width=64,
            num_layers=4,
            num_heads=4,
            feed_forward=256,
            decoder_width=32,
            decoder_layers=1,
            decoder_heads=4,
            normalised=False,  # four pixels leave little of a patch once it is normalised
            vocab_size=1024,
            num_positions=64,
            max_length=64,
            dropout_prob=0.0,
            lr=1e-3,
            batch_size=32,
            finetune_ratio=0.0,
            finetune_lr=1e-3,
            finetune_warmup=0.1,
            finetune_batch_size=25,
            finetune_dropout_prob=0.0,
            min_crop=1.0,
            flip_prob=0.0,
        )

    def sized_as(self, network: Any) -> Self:
        """The same settings with the sizes of a model of images or texts that was loaded."""
        if network.model_type == "vit_mae":
            own, channels = replace(self, input="image"), network.num_channels
            if not {len(own.pixel_mean), len(own.pixel_std)} <= {1, channels}:
                own = replace(own, pixel_mean=(0.5,), pixel_std=(0.5,))
            return EncoderConfig.sized_as(own, network)
        own = EncoderConfig.sized_as(replace(self, input="text"), network)
        if network.model_type not in ("roberta", "xlm-roberta", "camembert"):
            return own
        # whose table of positions begins behind padding
        longest = own.num_positions - int(network.pad_token_id) - 1
        return replace(own, num_positions=longest, max_length=min(own.max_length, longest))
