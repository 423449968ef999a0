"""Settings of Arctic-SnowCoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

from pretrial.bases.config import TransformerSizes, published_size
from pretrial.errors import UserError
from pretrial.methods.code.snowcoder.data import Basic, Packing
from pretrial.methods.code.snowcoder.network import Settings, Windows
from pretrial.train.stage import Optim


@dataclass(frozen=True)
class Config(TransformerSizes):
    """Settings, by default the paper's; "assumed" marks what it does not say.

    Attributes:
        vocab_size: of a tokenizer that is learned.
        num_kv_heads: key and value heads.
        max_length: tokens of a window.
        batch_size: windows a step.
        micro_batch_size: windows a forward pass; 0 takes the batch at once.
        phase_ratios: shares of the budget of general, selected and synthetic training; a phase
            with 0, or the third without synthetic files, is left out. All 0 trains the annotator
            alone.
        lr: peak learning rate.
        weight_decay: of Adam.
        phase1_warmup: steps, or a share below 1.
        phase1_final_ratio: learning rate at the end of the first phase over its peak.
        rewarm: how the later phases begin: "rewarm" (from 0 to the peak, then linear to 0),
            "linear" (from where the first phase ended, to 0) or "constant" (stays there).
        rewarm_steps: steps of the new warm-up, or a share below 1.
        packing: which files are joined: "language", "repo" or "file"; see `data.order`.
        max_line: files with a longer line are left out; 0 sets no bound.
        max_mean_line: files with longer lines on average are left out.
        min_letter_ratio: files with a smaller share of letters and digits are left out.
        dedup_threshold: similarity of near duplicates; 1 leaves out equal files only, 0 none.
        decontaminate: sources of evaluation texts that no file may share 10 words in a row with.
        selection: which files the second phase takes: the "annotator"'s best, or "random" ones.
        repeats: passes over the selected files.
        keep_ratio: share of the tokens that is selected; 0 takes what the budget and `repeats` ask
            for.
        annotator: folder of a trained annotator, or a sequence classifier with one output; without
            one it is trained.
        embedder: see `Settings`.
        annotator_length: tokens of the windows that the annotator reads.
        windows: windows of a file that are scored: "three" or "top".
        regress: learn grades, the field `score` of `positives`, instead of good against random.
        tune_embedder: train the embedder with the head.
        positives: sources of good texts, or of graded ones.
        max_positives: the most good texts that are learned from, drawn at random; with as many
            random ones.
        annotator_epochs: passes over good and random texts.
        annotator_lr: peak learning rate of the annotator.
        annotator_batch_size: texts a step.
        targets: sources of texts on which, against files of the corpus, the annotator's ROC-AUC is
            reported besides that on good texts held out.
        synthetic: sources of files for the third phase.
        python_ratio: share of Python that the third phase is raised to.
    """

    vocab_size: int = 64_000  # Table 1
    width: int = 2048  # Table 1
    feed_forward: int = 5632  # Table 1
    num_layers: int = 24  # Table 1
    num_heads: int = 16  # Table 1
    num_kv_heads: int = 16  # Table 1
    max_length: int = 8192  # section 2.2
    batch_size: int = 512  # section 2.2
    micro_batch_size: int = 0
    phase_ratios: tuple[float, float, float] = (500, 50, 5)  # abstract, billions of tokens
    lr: float = 5.3e-4  # section 2.2
    weight_decay: float = 0.0  # assumed
    phase1_warmup: float = 0.1  # of its budget; paper() has its steps
    phase1_final_ratio: float = 0.1  # section 2.2, to 5.3e-5
    rewarm: Literal["rewarm", "linear", "constant"] = "rewarm"  # section 2.3
    rewarm_steps: float = 0.1  # the same
    packing: Packing = "language"  # section 2.2
    max_line: int = 1000  # assumed, as in The Stack
    max_mean_line: float = 100.0  # assumed, as in The Stack
    min_letter_ratio: float = 0.25  # assumed, as in The Stack
    dedup_threshold: float = 0.8  # assumed
    decontaminate: tuple[str, ...] = ("builtin:human-eval",)  # assumed: which sets
    selection: Literal["annotator", "random"] = "annotator"  # section 2.3
    repeats: int = 4  # section 2.3
    keep_ratio: float = 0.0
    annotator: str = ""
    embedder: str = "minilm"  # section 2.3 has Snowflake-arctic-embed-m
    annotator_length: int = 512  # section 2.3
    windows: Windows = "three"  # section 2.3
    regress: bool = False  # section 3.4: ANN-EDU does
    tune_embedder: bool = False  # assumed
    positives: tuple[str, ...] = ("builtin:stdlib-code?documented=1",)  # ours
    max_positives: int = 300_000  # section 2.3
    annotator_epochs: int = 20  # assumed
    annotator_lr: float = 0.03  # assumed; for a linear head on vectors of length 1
    annotator_batch_size: int = 64  # assumed
    targets: tuple[str, ...] = ()
    synthetic: tuple[str, ...] = ()
    python_ratio: float = 0.5  # section 2.4

    published: ClassVar[dict[str, float]] = {"1.3b": 1.3e9}

    def __post_init__(self) -> None:
        if min(self.phase_ratios) < 0:
            raise UserError(f"phase_ratios are shares, 0 or more, not {self.phase_ratios}")
        if self.repeats < 1:
            raise UserError(f"repeats must be 1 or more, not {self.repeats}")
        if not 0 <= self.keep_ratio <= 1:
            raise UserError(f"keep_ratio is a share of the tokens, not {self.keep_ratio}")
        if not 0 <= self.python_ratio < 1:
            raise UserError(f"python_ratio must be 0 or more and below 1, not {self.python_ratio}")
        if self.annotator_length < 8 or self.max_length < 2:
            raise UserError("annotator_length must be 8 or more, and max_length 2 or more")
        if not self.positives and not self.annotator and self.selection == "annotator":
            raise UserError("an annotator learns from good texts: name a source as --positives")

    @classmethod
    def tiny(cls) -> Self:
        """Small enough for a test; needs no package beyond the core."""
        return cls(
            vocab_size=320,
            width=32,
            feed_forward=64,
            num_layers=2,
            num_heads=2,
            num_kv_heads=2,
            max_length=24,
            batch_size=4,
            phase_ratios=(2, 1, 1),
            lr=3e-3,
            phase1_warmup=2,
            rewarm_steps=2,
            decontaminate=(),
            keep_ratio=0.5,
            embedder="bytes",
            annotator_length=16,
            positives=("builtin:mini-apps?num_train=24&num_test=1&solved=24",),
            annotator_epochs=3,
            annotator_batch_size=8,
        )

    @classmethod
    def small(cls) -> Self:
        """0.4 M parameters, for a few megabytes of code: minutes on two cores."""
        return cls(
            vocab_size=1024,
            width=96,
            feed_forward=256,
            num_layers=3,
            num_heads=4,
            num_kv_heads=4,
            max_length=128,
            batch_size=16,
            phase_ratios=(2, 1, 0),
            lr=3e-3,
            phase1_warmup=0.05,
            rewarm_steps=0.05,
            max_line=0,
            max_mean_line=0,
            min_letter_ratio=0,
            annotator_length=64,
            max_positives=200,
        )

    @classmethod
    def paper(cls, name: str = "1.3b") -> Self:
        """The published size."""
        published = cls(phase1_warmup=600, rewarm_steps=1000)  # sections 2.2 and 2.3
        return published_size(name, {"1.3b": published})

    def annotator_settings(self) -> Settings:
        """The annotator that is trained."""
        return Settings(
            self.embedder, self.annotator_length, self.windows, self.regress, self.tune_embedder
        )

    def basic(self) -> Basic:
        """The bounds that files must keep."""
        return Basic(self.max_line, self.max_mean_line, self.min_letter_ratio)

    def optim(self, phase: int) -> Optim:
        """Optimiser and schedule of a phase, 1 to 3; the third goes as the second (assumed)."""
        common: dict[str, Any] = {"kind": "adam", "weight_decay": self.weight_decay}
        if phase == 1:
            return Optim(
                self.lr,
                schedule="cosine",
                warmup=self.phase1_warmup,
                final_ratio=self.phase1_final_ratio,
                **common,
            )
        if self.rewarm == "rewarm":
            return Optim(self.lr, schedule="linear", warmup=self.rewarm_steps, **common)
        return Optim(self.lr * self.phase1_final_ratio, schedule=self.rewarm, **common)
