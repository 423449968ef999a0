"""Settings of UL2: the paper's defaults with their sources, and smaller ones."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

from pretrial.bases.config import published_size
from pretrial.bases.language_model.config import PromptedConfig
from pretrial.corrupt.denoisers import Denoiser, Paradigm, raw_length
from pretrial.errors import UserError
from pretrial.models.architectures.layouts import Architecture

#: A mode by its name; "" is none.
Mode = Literal["", "NLU", "NLG", "S2S"]
#: What is done with a model that was not fine-tuned for it.
Aim = Literal["continue", "summarise", "answer", "choose", "classify", "fill", "fill-long"]

#: The mode that a paradigm's inputs begin with; R, X and S are those of section 3.1.2.
MODES: Mapping[Paradigm, Mode] = {"R": "NLU", "X": "NLG", "S": "S2S"}
#: The mode that an aim is served by: a text goes on as in S, short gaps are filled as in R, long
#: ones as in X; what is classified is understood, as in R.
AIMS: Mapping[Aim, Mode] = {
    "continue": "S2S",
    "summarise": "S2S",
    "answer": "S2S",
    "choose": "S2S",
    "classify": "NLU",
    "fill": "NLU",
    "fill-long": "NLG",
}
#: Modes whose targets name the gaps that they fill.
WITH_GAPS: tuple[Mode, ...] = ("NLU", "NLG")


def token_of(mode: Mode) -> str:
    """The text of a mode, as the released checkpoints have it."""
    return f"[{mode}]" if mode else ""


@dataclass(frozen=True)
class Config(PromptedConfig):
    """Settings of UL2, by default those of the 20 B model; "assumed" marks what we did not find.

    Attributes:
        task: "pretrain" learns from `text` by the mixture; "instruct" learns to write `target` for
            `input`, many tasks mixed, as Flan-UL2 does.
        architecture: "encoder_decoder", "prefix_decoder" or, for the control, "causal_decoder". A
            checkpoint decides between the first and the others.
        denoisers: members of the mixture, MEAN:RATIO for spans and S:RATIO for one final span,
            whose length is uniform; S:1 is language modelling.
        weights: share of each denoiser; none for equal ones.
        mode_tokens: inputs begin with the mode of their denoiser.
        t5_spans: draw spans as T5's code does, which makes one final span of all that is hidden
            where the mean length asks for less than one and a half.
        instruct_mode: mode in front of the prompts of "instruct"; Flan-UL2 needs none.
        most_per_task: size that a task of "instruct" counts as at most.
        max_inputs: tokens that are read, mode and end token included.
        max_targets: tokens that are written, end token included.
        num_sentinels: of a vocabulary that is learned; 0 gives as many as the denoisers need. To
            the sentinels of a checkpoint texts are shortened.
        vocab_size: most entries of a vocabulary that is learned.
        num_layers: of the encoder and of the decoder, or of the one decoder.
        head_size: of each head; 0 shares the width among them.
        feed_forward: inner width of the gated feed-forward layers (SwiGLU).
        dropout_prob: of an encoder-decoder.
        embedding_lr_ratio: learning rate of an encoder-decoder's token embeddings over that of the
            other weights; T5's begin at many times the size of the others, and Adam's steps are all
            of one size.
    """

    task: Literal["pretrain", "instruct"] = "pretrain"
    architecture: Architecture = "encoder_decoder"  # of the 20 B model; section 3.2
    denoisers: tuple[str, ...] = (  # Table 1, section 3.1.2
        "3:0.15",
        "8:0.15",
        "S:0.25",
        "3:0.5",
        "8:0.5",
        "64:0.15",
        "64:0.5",
    )
    weights: tuple[float, ...] = ()  # uniform; section 4.5 varies the share of S
    mode_tokens: bool = True
    t5_spans: bool = False
    instruct_mode: Mode = ""  # Flan-UL2
    most_per_task: int = 30_000  # of FLAN's first mixture; assumed for Flan-UL2
    max_inputs: int = 512
    max_targets: int = 512
    num_sentinels: int = 0
    vocab_size: int = 32128  # config.json of google/ul2
    width: int = 4096
    num_layers: int = 32
    num_heads: int = 16
    head_size: int = 256
    feed_forward: int = 16384
    lr: float = 1e-4  # assumed: the paper's Adafactor scales its steps by itself
    warmup: float = 0.1  # of the budget; paper() has its steps
    embedding_lr_ratio: float = 1.0
    weight_decay: float = 0.0
    batch_size: int = 1024

    #: Published parameters of what `export` gives: google/ul2's layout, counted.
    published: ClassVar[dict[str, float]] = {"20b": 19.46e9}

    def __post_init__(self) -> None:
        if not self.denoisers:
            raise UserError("a mixture needs a denoiser: give denoisers such as 3:0.15 and S:0.25")
        self.members()

    def members(self) -> list[Denoiser]:
        """The denoisers."""
        return [Denoiser.parse(text) for text in self.denoisers]

    def needed_sentinels(self) -> int:
        """The most spans that a denoiser makes of the longest text that it takes."""
        spans = [0]
        for member in self.members():
            length = raw_length(
                member,
                self.max_inputs - self.mode_tokens,
                self.max_targets,
                self.max_inputs + self.max_targets,
                joined=self.architecture != "encoder_decoder",
                t5_spans=self.t5_spans,
            )
            spans.append(member.longest(length, self.t5_spans)[2])
        return max(spans)

    @classmethod
    def tiny(cls) -> Self:
        """Small enough for a test."""
        return replace(super().tiny(), denoisers=("3:0.15", "S:0.25", "3:0.5", "12:0.5"))

    @classmethod
    def small(cls) -> Self:
        """0.6 M parameters, for a megabyte of text; long spans are as long for its windows."""
        own = ("3:0.15", "8:0.15", "S:0.25", "3:0.5", "8:0.5", "12:0.15", "12:0.5")
        return replace(super().small(), denoisers=own, embedding_lr_ratio=20.0)

    @classmethod
    def paper(cls, name: str = "20b") -> Self:
        """The published size, "20b" (google/ul2)."""
        # the warm-up is assumed, T5's
        return published_size(name, {"20b": cls(warmup=10_000)})
