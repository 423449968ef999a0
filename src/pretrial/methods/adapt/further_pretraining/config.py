"""Settings of further pre-training with self-distillation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self

from pretrial.bases.config import published_size
from pretrial.bases.finetuning import Finetuning
from pretrial.bases.patch_encoder.config import ImageInputs, PixelDecoder
from pretrial.bases.text_encoder import EncoderConfig
from pretrial.errors import UserError

Input = Literal["image", "text"]


@dataclass(frozen=True)
class Config(ImageInputs, PixelDecoder, Finetuning, EncoderConfig):
    """Settings of further pre-training, by default those of ViT-MAE-base.

    Files are those of seanie12/self-distillation, which has the images only; "assumed" stands where
    a value for texts was not at hand. A checkpoint decides the input and the sizes.

    Attributes:
        input: what the field is that is read: "image" (a masked autoencoder) or "text" (a masked
            language model).
        rounds: students trained one after the other, each with the one before as its teacher; 0 is
            further pre-training alone.
        start: where a student's weights begin: at the "initial" ones, or at those of its
            "teacher", which is an ablation.
        distill_weight: of the squared distance between the features of student and teacher.
        l2_weight: of the squared distance of the weights from the initial ones, another way to keep
            near to them.
        dropout_prob: of hidden states and attention in a network for texts, from scratch.
        hidden_ratio: share of the patches that is hidden, in images.
        finetune_ratio: share of the budget for fine-tuning with the labels in the data; 0 has no
            such stage. The stages before share the rest equally.
        finetune_dropout_prob: of hidden states in fine-tuning.
    """

    input: Input = "image"
    rounds: int = 1  # section 3
    start: Literal["initial", "teacher"] = "initial"  # section 3
    distill_weight: float = 1.0  # trainer.py
    l2_weight: float = 0.0
    resize: bool = True  # dataloader.py
    pixel_mean: tuple[float, ...] = (0.485, 0.456, 0.406)  # preprocessor_config.json of vit-mae
    pixel_std: tuple[float, ...] = (0.229, 0.224, 0.225)  # preprocessor_config.json of vit-mae
    vocab_size: int = 50_265  # config.json of roberta-base
    max_length: int = 256  # assumed
    dropout_prob: float = 0.1  # config.json of roberta-base
    hidden_ratio: float = 0.75  # train.py
    lr: float = 1.5e-4  # run_pretrain.sh
    warmup: float = 0.0  # run_pretrain.sh
    weight_decay: float = 0.01  # run_pretrain.sh
    batch_size: int = 64  # run_pretrain.sh
    finetune_ratio: float = 0.2  # 10,000 of 50,000 steps
    finetune_lr: float = 1e-4  # run_finetune.sh
    finetune_warmup: float = 500  # train.py
    finetune_batch_size: int = 32  # run_finetune.sh
    finetune_dropout_prob: float = 0.1  # train.py
    min_crop: float = 0.5  # assumed: the release crops at random
    flip_prob: float = 0.5  # assumed: the release mirrors at random

    #: Published parameters of what `export` gives, for each name that `paper` knows.
    published: ClassVar[dict[str, float]] = {"vit-mae-base": 85.8e6, "roberta-base": 125e6}

    def __post_init__(self) -> None:
        ImageInputs.__post_init__(self)
        if self.rounds < 0:
            raise UserError(f"rounds must be 0 or more, not {self.rounds}")
        if not 0 <= self.finetune_ratio < 1:
            raise UserError(
                f"finetune_ratio must be at least 0 and below 1, not {self.finetune_ratio}"
            )
        if not 0 < self.hidden_ratio < 1:
            raise UserError(f"hidden_ratio must be between 0 and 1, not {self.hidden_ratio}")

    @classmethod
    def tiny(cls) -> Self:
        """Small enough for a test."""
        return replace(
            cls.small(),
            distill_weight=0.01,  # first steps of Adam are long for a network of this size
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

    @classmethod
    def paper(cls, name: str = "vit-mae-base") -> Self:
        """The published sizes: "vit-mae-base" (86 M without decoder), "roberta-base" (125 M)."""
        return published_size(name, {"vit-mae-base": cls(), "roberta-base": cls(input="text")})

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
