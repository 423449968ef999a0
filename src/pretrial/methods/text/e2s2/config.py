"""Settings of E2S2."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

from pretrial.bases.config import Optimisation, TransformerSizes, published_size
from pretrial.errors import UserError


@dataclass(frozen=True)
class Config(Optimisation, TransformerSizes):
    """Settings of E2S2, by default those of BART-large continued.

    Files are those of WHU-ZQH/E2S2. A checkpoint decides the architecture and the sizes.

    Attributes:
        architecture: "bart" writes the whole text from one mask a span; "t5" writes the hidden
            spans from sentinels.
        vocab_size: most entries of the vocabulary that is learned when there is no checkpoint.
        num_layers: of the encoder, and of the decoder.
        num_positions: longest sequence that BART can read.
        max_length: tokens of a source, special ones and the prompt included.
        dropout_prob: of hidden states and attention, and before the head of the encoder.
        init_std: deviation of BART's weights from scratch.
        infill_ratio: share of the words that is hidden.
        mean_length: of a hidden span, in words.
        shuffle_ratio: windows of three neighbours that are shuffled, for each ordinary token.
        replace_ratio: share of the ordinary tokens that stayed in place to be replaced.
        noise: "paper" makes as much as the two ratios say; "release" as much as its code does
            whatever they are, where they are above 0: a window in 18 words, if its middle is a
            word of one token, and 15 % of all tokens replaced, masks too.
        masked_weight: of the text written from the view with masks only.
        noisy_weight: of the text written from the view with masks, shuffles and replacements.
        denoise_weight: of telling moved and replaced tokens from intact ones, in the encoder.
        denoise_mean: what its sum over the tokens of the sources is divided by: these, or the
            tokens of the targets, as in the release, whose sources are shorter.
        contrast_weight: of the contrast between the two views.
        temperature: what cosines are divided by.
        pooling: what stands for a sentence: the mean over its tokens, or the state at the mask of
            'This sentence: "..." means <mask>', in which every source is then wrapped.
        micro_batch_size: windows a forward pass; 0 takes the whole batch, which a contrast needs.
    """

    architecture: Literal["bart", "t5"] = "bart"
    vocab_size: int = 50_265  # config.json of facebook/bart-large
    width: int = 1024  # config.json of facebook/bart-large
    num_layers: int = 12  # config.json of facebook/bart-large
    num_heads: int = 16  # config.json of facebook/bart-large
    feed_forward: int = 4096  # config.json of facebook/bart-large
    num_positions: int = 1024  # train.sh
    max_length: int = 1024  # train.sh
    dropout_prob: float = 0.1  # train.sh
    init_std: float = 0.02  # config.json of facebook/bart-large
    infill_ratio: float = 0.15  # train.sh
    mean_length: float = 3.0  # train.sh
    shuffle_ratio: float = 0.05  # train.sh
    replace_ratio: float = 0.05  # train.sh
    noise: Literal["paper", "release"] = "paper"
    masked_weight: float = 0.5  # criterions/cross_entropy.py
    noisy_weight: float = 0.5  # criterions/cross_entropy.py
    denoise_weight: float = 0.05  # criterions/cross_entropy.py
    denoise_mean: Literal["sources", "targets"] = "sources"  # targets: criterions/cross_entropy.py
    contrast_weight: float = 0.05  # criterions/cross_entropy.py
    temperature: float = 1.0  # criterions/cross_entropy.py
    pooling: Literal["mean", "prompt"] = "mean"  # criterions/cross_entropy.py
    lr: float = 1.5e-6  # train.sh
    warmup: float = 0.1  # of the budget; paper() has its steps
    weight_decay: float = 0.01  # train.sh
    batch_size: int = 12  # train.sh: 4,096 tokens, accumulated 3 times, in windows of 1,024

    #: Published parameters of what `export` gives, for each name that `paper` knows.
    published: ClassVar[dict[str, float]] = {
        "bart-large": 406.3e6,
        "bart-base": 139.4e6,
        "t5-base": 222.9e6,
        "t5-large": 737.7e6,
    }

    def __post_init__(self) -> None:
        if not self.masked_weight and not self.noisy_weight:
            raise UserError("the decoder needs a view to write from: set masked_weight above 0")
        if self.denoise_weight and not self.num_noises:
            raise UserError(
                "there is no noise to tell apart: set shuffle_ratio or replace_ratio above 0, or"
                " denoise_weight to 0"
            )
        if self.contrast_weight and self.micro_batch_size:
            raise UserError(
                "the contrast compares the windows of a batch: set micro_batch_size to 0 and lower"
                " batch_size to save memory"
            )
        if self.contrast_weight and self.batch_size < 2:
            raise UserError("a contrast needs two windows or more: set batch_size to 2 or more")

    @property
    def num_noises(self) -> int:
        """Kinds of noise that lengths survive; the encoder's head has one class more."""
        return (self.shuffle_ratio > 0) + (self.replace_ratio > 0)

    @property
    def views(self) -> tuple[str, ...]:
        """The views that the losses need, of "masked" and "noisy"."""
        noisy = self.noisy_weight or self.denoise_weight or self.contrast_weight
        needed = {"masked": self.masked_weight or self.contrast_weight, "noisy": noisy}
        return tuple(name for name, wanted in needed.items() if wanted)

    def infilling(self) -> Self:
        """The same with text infilling alone, one pass a step."""
        return replace(
            self, masked_weight=1.0, noisy_weight=0.0, denoise_weight=0.0, contrast_weight=0.0
        )

    @classmethod
    def tiny(cls) -> Self:
        """Small enough for a test."""
        return cls(
            vocab_size=384,  # T5's sentinels have room
            width=32,
            num_layers=1,
            num_heads=2,
            feed_forward=64,
            num_positions=32,
            max_length=28,
            dropout_prob=0.0,
            lr=3e-3,
            warmup=2,
            batch_size=8,
        )

    @classmethod
    def small(cls) -> Self:
        """0.3 M parameters, for a megabyte of text: a minute on one core."""
        return cls(
            vocab_size=1024,
            width=64,
            num_layers=2,
            num_heads=4,
            feed_forward=256,
            num_positions=48,
            max_length=48,
            dropout_prob=0.0,
            init_std=0.08,  # 0.02 is for a width of 1,024
            lr=2e-3,
            warmup=0.1,
            batch_size=16,
        )

    @classmethod
    def paper(cls, name: str = "bart-large") -> Self:
        """The published sizes: "bart-large", "bart-base", "t5-base" and "t5-large"."""
        large = cls(warmup=6000)  # train.sh
        base = replace(large, width=768, num_layers=6, num_heads=12, feed_forward=3072)
        t5 = replace(large, architecture="t5", vocab_size=32_128, max_length=512)
        sizes = {
            "bart-large": large,
            "bart-base": base,
            "t5-base": replace(t5, width=768, num_heads=12, feed_forward=3072),
            "t5-large": replace(t5, num_layers=24),
        }
        return published_size(name, sizes)
