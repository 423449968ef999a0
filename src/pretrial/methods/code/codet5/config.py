"""Settings of CodeT5: the paper's defaults with their sources, and smaller ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

from pretrial.bases.config import Optimisation, TransformerSizes, published_size
from pretrial.errors import UserError


@dataclass(frozen=True)
class Config(TransformerSizes, Optimisation):
    """Settings of CodeT5.

    Files are those of salesforce/CodeT5; "assumed" marks what neither the paper's text, as known
    to us, nor the release says.

    Attributes:
        task: "pretrain" learns from code and comments; "generate" to write `target` for `source`,
            whatever the two are; "classify" the `label` of a piece of code; "compare" the `label`
            of two pieces.
        spans: masked span prediction is among the objectives of the first stage.
        tagging: identifier tagging is.
        identifiers: masked identifier prediction is.
        dual_ratio: share of the budget for the second stage, which writes code from comments and
            comments from code; 0 leaves it out.
        corruption_ratio: share of the words that masked span prediction hides.
        mean_length: of a hidden span, in words; lengths are uniform from 1 to 2 * mean - 1.
        whole_words: spans are drawn over whole words; without it over pieces of words.
        num_layers: of the encoder, and of the decoder.
        vocab_size: entries of the vocabulary that is learned from the data, from scratch.
        min_frequency: pairs met less often are not merged in it.
        max_source: tokens that the encoder reads.
        max_target: tokens that the decoder writes.
        alpha: tasks of the field `task` are drawn in proportion to their sizes to this power.
        patience: measurements without a better held-out loss before training for a task ends; 0
            trains on. The best weights are then kept.
    """

    published: ClassVar[dict[str, int]] = {
        "small": 60_492_288,
        "base": 222_882_048,
        "large": 737_639_424,
    }

    task: Literal["pretrain", "generate", "classify", "compare"] = "pretrain"
    spans: bool = True
    tagging: bool = True
    identifiers: bool = True
    dual_ratio: float = 1 / 3  # 100 epochs before it, then 50 (unverified)
    corruption_ratio: float = 0.15  # section 3.2
    mean_length: float = 3.0  # section 3.2: lengths 1 to 5
    whole_words: bool = True  # section 3.2
    width: int = 768
    num_layers: int = 12
    num_heads: int = 12
    feed_forward: int = 3072
    dropout_prob: float = 0.1  # of T5
    vocab_size: int = 32100  # tokenizer/train_tokenizer.py, and 100 sentinels
    min_frequency: int = 3  # tokenizer/train_tokenizer.py
    max_source: int = 512  # (unverified)
    max_target: int = 256  # (unverified)
    lr: float = 2e-4  # section 4: peak, with linear decay
    warmup: float = 0.02  # assumed
    weight_decay: float = 0.05  # assumed: that of CodeRL's pre-training
    batch_size: int = 1024  # section 4
    alpha: float = 0.7  # run_multi_gen.py
    patience: int = 0

    def __post_init__(self) -> None:
        if not (self.spans or self.identifiers):
            raise UserError(
                "the decoder needs an objective: set spans or identifiers, tagging trains the"
                " encoder alone"
            )
        if not 0 <= self.dual_ratio < 1:
            raise UserError(f"dual_ratio must be at least 0 and below 1, not {self.dual_ratio}")
        if self.task == "pretrain" and self.tagging and self.batch_size < 8:
            raise UserError(
                f"the objectives share the examples of a step: set batch_size to 8 or more, not"
                f" {self.batch_size} (micro_batch_size lowers the memory)"
            )
        if self.patience and not self.evaluate_every:
            raise UserError("patience counts measurements: set evaluate_every as well")

    @property
    def learns_classes(self) -> bool:
        """Whether the task is to tell the label."""
        return self.task in ("classify", "compare")

    @classmethod
    def tiny(cls) -> Self:
        """Small enough for a test."""
        return cls(
            width=32,
            num_layers=1,
            num_heads=2,
            feed_forward=64,
            dropout_prob=0.0,
            vocab_size=480,
            min_frequency=0,
            max_source=64,
            max_target=32,
            lr=3e-3,
            batch_size=8,
        )

    @classmethod
    def small(cls) -> Self:
        """0.7 M parameters, for some megabytes of short functions: a minute on one core."""
        return cls(
            width=96,
            num_layers=2,
            num_heads=4,
            feed_forward=384,
            dropout_prob=0.0,
            vocab_size=2048,
            max_source=96,
            max_target=64,
            lr=2e-3,
            warmup=0.05,
            batch_size=8,
        )

    @classmethod
    def paper(cls, name: str = "base") -> Self:
        """The published sizes: "small" (60 M parameters), "base" (223 M), "large" (738 M)."""
        base = cls()
        sizes = {
            "small": replace(base, width=512, num_layers=6, num_heads=8, feed_forward=2048),
            "base": base,
            "large": replace(base, width=1024, num_layers=24, num_heads=16, feed_forward=4096),
        }
        return published_size(name, sizes)
