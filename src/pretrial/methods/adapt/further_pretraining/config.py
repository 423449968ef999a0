"""Settings of further pre-training with self-distillation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

from pretrial.errors import UserError

Input = Literal["image", "text"]


@dataclass(frozen=True)
class Config:
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
        image_size: height and width of an image in pixels, from scratch.
        patch_size: height and width of a patch, from scratch.
        num_channels: of an image, from scratch: 1 for grey values, 3 for colours.
        resize: scale images of another size instead of refusing them.
        pixel_mean: is taken off the pixels, which are 0 to 1; one number a channel, or one for all.
        pixel_std: what they are then divided by.
        width: hidden size of the encoder, from scratch.
        num_layers: of the encoder, from scratch.
        num_heads: of the encoder, from scratch.
        feed_forward: inner width of the encoder's feed-forward layers, from scratch.
        decoder_width: hidden size of the autoencoder's decoder, where a checkpoint has none.
        decoder_layers: of the decoder.
        decoder_heads: of the decoder.
        normalised: predict pixels less their patch's mean, over its deviation.
        vocab_size: most entries of the vocabulary that is learned when there is no checkpoint.
        num_positions: longest text that the encoder can read, from scratch.
        max_length: tokens of a text, the two special ones included.
        dropout_prob: of hidden states and attention in a network for texts, from scratch.
        hidden_ratio: share of the patches that is hidden, in images.
        mask_ratio: share of the tokens that is chosen, in texts.
        mask_prob: share of the chosen tokens that becomes the mask token.
        random_prob: share of the chosen tokens that becomes a random token; the rest stays.
        lr: peak learning rate.
        warmup: steps of warm-up, or a share of a stage when below 1.
        weight_decay: of the weights.
        batch_size: examples a step.
        micro_batch_size: examples a forward pass; 0 takes the whole batch.
        evaluate_every: steps between evaluations on held-out data; 0 is at the end only.
        finetune_ratio: share of the budget for fine-tuning with the labels in the data; 0 has no
            such stage. The stages before share the rest equally.
        finetune_lr: peak learning rate of fine-tuning.
        finetune_warmup: steps of its warm-up, or a share of the stage when below 1.
        finetune_batch_size: examples a step of fine-tuning.
        finetune_dropout_prob: of hidden states in fine-tuning.
        min_crop: least share of an image's area that a crop takes in fine-tuning; 1 takes all.
        flip_prob: probability that an image is mirrored in fine-tuning.
    """

    input: Input = "image"
    rounds: int = 1  # section 3
    start: Literal["initial", "teacher"] = "initial"  # section 3
    distill_weight: float = 1.0  # trainer.py
    l2_weight: float = 0.0
    image_size: int = 224  # config.json of facebook/vit-mae-base
    patch_size: int = 16  # config.json of facebook/vit-mae-base
    num_channels: int = 3  # config.json of facebook/vit-mae-base
    resize: bool = True  # dataloader.py
    pixel_mean: tuple[float, ...] = (0.485, 0.456, 0.406)  # preprocessor_config.json of the same
    pixel_std: tuple[float, ...] = (0.229, 0.224, 0.225)  # preprocessor_config.json of the same
    width: int = 768  # config.json of facebook/vit-mae-base
    num_layers: int = 12  # config.json of facebook/vit-mae-base
    num_heads: int = 12  # config.json of facebook/vit-mae-base
    feed_forward: int = 3072  # config.json of facebook/vit-mae-base
    decoder_width: int = 512  # config.json of facebook/vit-mae-base
    decoder_layers: int = 8  # config.json of facebook/vit-mae-base
    decoder_heads: int = 16  # config.json of facebook/vit-mae-base
    normalised: bool = True  # run_pretrain.sh
    vocab_size: int = 50_265  # config.json of roberta-base
    num_positions: int = 512  # config.json of roberta-base
    max_length: int = 256  # assumed
    dropout_prob: float = 0.1  # config.json of roberta-base
    hidden_ratio: float = 0.75  # train.py
    mask_ratio: float = 0.15  # assumed: BERT's
    mask_prob: float = 0.8  # assumed: BERT's
    random_prob: float = 0.1  # assumed: BERT's
    lr: float = 1.5e-4  # run_pretrain.sh
    warmup: float = 0.0  # run_pretrain.sh
    weight_decay: float = 0.01  # run_pretrain.sh
    batch_size: int = 64  # run_pretrain.sh
    micro_batch_size: int = 0
    evaluate_every: int = 0
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
        if self.rounds < 0:
            raise UserError(f"rounds must be 0 or more, not {self.rounds}")
        if not 0 <= self.finetune_ratio < 1:
            raise UserError(
                f"finetune_ratio must be at least 0 and below 1, not {self.finetune_ratio}"
            )
        if not 0 < self.hidden_ratio < 1:
            raise UserError(f"hidden_ratio must be between 0 and 1, not {self.hidden_ratio}")
        if not 0 < self.min_crop <= 1:
            raise UserError(f"min_crop must be above 0 and at most 1, not {self.min_crop}")
        if self.image_size % self.patch_size:
            raise UserError(
                f"images of {self.image_size} pixels cannot be cut into patches of"
                f" {self.patch_size}: set image_size to a multiple of patch_size"
            )
        for name in ("pixel_mean", "pixel_std"):
            if len(getattr(self, name)) not in (1, self.num_channels):
                raise UserError(f"{name} must hold 1 or {self.num_channels} numbers, as channels")

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
        sizes = {"vit-mae-base": cls(), "roberta-base": cls(input="text")}
        if name not in sizes:
            raise UserError(f"published sizes are {', '.join(sizes)}, not {name!r}")
        return sizes[name]
