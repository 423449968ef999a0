"""Settings: six pairs of architecture and objective, the paper's sizes, and smaller ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

from pretrial.bases.config import published_size
from pretrial.bases.language_model.config import PromptedConfig
from pretrial.corrupt.denoisers import Denoiser, raw_length
from pretrial.errors import UserError
from pretrial.models.architectures.layouts import Architecture

Objective = Literal["full_lm", "prefix_lm", "masked_lm"]

#: The objectives that each architecture is trained with: the paper's six pairs (section 2).
PAIRS: Mapping[Architecture, tuple[Objective, ...]] = {
    "causal_decoder": ("full_lm", "masked_lm"),
    "prefix_decoder": ("prefix_lm", "masked_lm"),
    "encoder_decoder": ("prefix_lm", "masked_lm"),
}
#: As the paper writes them.
SHORT: Mapping[str, str] = {
    "causal_decoder": "CD",
    "prefix_decoder": "ND",
    "encoder_decoder": "ED",
    "full_lm": "FLM",
    "prefix_lm": "PLM",
    "masked_lm": "MLM",
}
PUBLISHED_ARCHITECTURES: Mapping[str, Architecture] = {
    "cd": "causal_decoder",
    "nd": "prefix_decoder",
    "ed": "encoder_decoder",
}


@dataclass(frozen=True)
class Config(PromptedConfig):
    """Settings, by default those of the paper; "assumed" marks what we did not find.

    Files are those of bigscience-workshop/architecture-objective.

    Attributes:
        task: "pretrain" learns from `text` by the objective; "multitask" learns to write `target`
            for `input`, many tasks mixed; "both" does one after the other.
        multitask_ratio: share of the budget of "both" for its second stage.
        architecture: "causal_decoder" (CD), "prefix_decoder" (ND: its inputs see each other) or
            "encoder_decoder" (ED).
        objective: "full_lm" (FLM: every token is predicted), "prefix_lm" (PLM: those behind a
            random point) or "masked_lm" (MLM: spans that were hidden).
        adapt: a checkpoint of another architecture or objective may be taken over; without it, it
            is refused.
        positions: of a decoder from scratch: "relative" (T5's) or "rotary" (Llama's layout, which
            other tools load).
        separator: a token of its own stands between the inputs and the targets of a decoder.
        loss_on: "all" asks a decoder for its inputs too.
        mask_ratio: share of the tokens that MLM hides.
        mean_length: of a hidden span.
        most_per_task: size that a task of "multitask" counts as at most.
        max_inputs: tokens that MLM reads, end token included.
        max_targets: tokens that MLM writes, end token included; the sum of both is the length of
            every other example.
        vocab_size: most entries of a vocabulary that is learned.
        num_layers: of a decoder; an encoder-decoder has as many twice.
        head_size: of each head; 0 shares the width among them.
        feed_forward: inner width of the gated feed-forward layers (GEGLU).
        dropout_prob: of pre-training, where the network has dropout.
        multitask_dropout_prob: of "multitask".
        schedule: shape after the warm-up.
    """

    task: Literal["pretrain", "multitask", "both"] = "pretrain"
    multitask_ratio: float = 0.07  # 13 B tokens (section 3.3) after 168 B (section 3.2)
    architecture: Architecture = "causal_decoder"
    objective: Objective = "full_lm"
    adapt: bool = False
    positions: Literal["relative", "rotary"] = "relative"
    separator: bool = False  # nc_dec_c4_prefix_lm.gin; the other file has one
    loss_on: Literal["targets", "all"] = "targets"  # bigscience/gins/task.py
    mask_ratio: float = 0.15
    mean_length: float = 3.0
    most_per_task: int = 500_000  # bigscience/gins/task.py
    max_inputs: int = 512  # the comment in c_dec_c4_lm_adapt.gin
    max_targets: int = 114
    vocab_size: int = 32128  # Table 1
    width: int = 4096  # Table 1
    num_layers: int = 24  # Table 1
    num_heads: int = 64  # Table 1
    head_size: int = 64
    feed_forward: int = 10240  # Table 1
    dropout_prob: float = 0.0  # Table 2
    multitask_dropout_prob: float = 0.1  # Table 2
    lr: float = 1e-4  # assumed: the paper's Adafactor scales its steps by itself
    schedule: Literal["constant", "linear", "cosine"] = "linear"
    warmup: float = 0.1  # of the budget; paper() has its steps
    weight_decay: float = 0.0
    batch_size: int = 2048  # section 3.2

    #: Published parameters of what `export` gives: Table 1.
    published: ClassVar[dict[str, float]] = {"cd": 4.8e9, "nd": 4.8e9, "ed": 11.0e9}

    def __post_init__(self) -> None:
        if self.task != "multitask" and self.objective not in PAIRS[self.architecture]:
            raise UserError(
                f"a {self.architecture} is not trained with {self.objective}: its objectives are"
                f" {' and '.join(PAIRS[self.architecture])}"
            )
        if not 0 < self.multitask_ratio < 1:
            raise UserError(
                f"multitask_ratio is a share between 0 and 1, not {self.multitask_ratio}"
            )

    @property
    def member(self) -> Denoiser:
        """The objective as a denoiser."""
        if self.objective == "masked_lm":
            return Denoiser(self.mask_ratio, self.mean_length)
        return Denoiser(1.0 if self.objective == "full_lm" else 0.5)

    @property
    def max_spans(self) -> int:
        """The most spans that MLM hides in the longest text that it takes."""
        member = Denoiser(self.mask_ratio, self.mean_length)
        room = self.max_inputs + self.max_targets
        length = raw_length(member, room, room, room, joined=True, t5_spans=True)
        return member.longest(length, True)[2]

    @property
    def label(self) -> str:
        """Such as CD:FLM."""
        return f"{SHORT[self.architecture]}:{SHORT[self.objective]}"

    @classmethod
    def tiny(cls) -> Self:
        """Small enough for a test."""
        own = super().tiny()
        return replace(own, positions="rotary", max_targets=16, multitask_dropout_prob=0.0)

    @classmethod
    def small(cls) -> Self:
        """0.5 M parameters, for a megabyte of text."""
        return replace(
            super().small(),
            positions="rotary",
            max_targets=24,
            multitask_dropout_prob=0.0,
            schedule="constant",
            warmup=0.05,
        )

    @classmethod
    def paper(cls, name: str = "cd") -> Self:
        """The published sizes: "cd" and "nd" (4.8 B parameters), "ed" (11.0 B)."""
        architecture = published_size(name, PUBLISHED_ARCHITECTURES)
        published = cls(warmup=10_000)  # Table 2
        return replace(published, architecture=architecture, objective=PAIRS[architecture][0])
