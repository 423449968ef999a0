"""Settings of UniXcoder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Self

from pretrial.bases.config import published_size
from pretrial.bases.text_encoder import EncoderConfig
from pretrial.errors import UserError

Objective = Literal["masked", "left_to_right", "denoise", "contrast", "align", "generate"]
Task = Literal["pretrain", "search", "summarise", "complete"]

#: What is learned for a task, by a model that was pre-trained.
TASKS: dict[Task, Objective] = {
    "search": "align",
    "summarise": "generate",
    "complete": "left_to_right",
}
LEAST_LENGTH = 24  # a shorter sequence could hold nothing


@dataclass(frozen=True)
class Config(EncoderConfig):
    """Settings of UniXcoder, by default those of the paper (arXiv 2203.03850).

    Sections and appendices are those of the paper.

    Attributes:
        num_positions: rows of the table of positions; the first two stand for padding, as RoBERTa
            has it, so a sequence has two tokens less.
        num_types: rows of the table of token types, of which the first is used.
        max_length: tokens of a training sequence, special ones included.
        dropout_prob: of hidden states and attention; it makes the two views of `contrast` differ.
        ast: how the syntax tree is written: "mapping" (can be inverted), "dfs" (the order in which
            a depth-first walk meets the nodes) or "none".
        drop_prob: probability that a sequence is without the marks of the tree.
        comments: put comments before the code and learn from generating them; False hides them.
        contrastive: learn from telling two views of a fragment from other fragments.
        cross_generation: learn from generating comments from code, and code from comments.
        swap_prob: probability that code and comment are exchanged: the code is then generated from
            the comment, or the vector of the comment told from others.
        temperature: what cosines are divided by.
        mask_ratio: share of the content that is masked.
        span_ratio: share of the content that spans hide.
        span_length: mean length of a span.
        language_alpha: exponent of the languages' numbers of examples; 0 takes all alike often.
        text_ratio: share of the budget for rows of plain text, if there are any.
        code_ratio: share of the budget for code alone.
        pair_ratio: share of the budget for code with comments, if there is any.
        warmup: steps of warm-up, or a share of a stage when below 1.
        task: what is trained: "pretrain", or a model that was pre-trained for "search" (a comment's
            vector is near its code's, and no other's), "summarise" (the comment is generated) or
            "complete" (code is continued). Tasks read code without the marks of its tree.
        task_lr: peak learning rate of a task.
    """

    vocab_size: int = 51_416  # appendix B: 50K sub-words and 1,416 marks
    width: int = 768  # appendix B
    num_layers: int = 12  # appendix B
    num_heads: int = 12  # appendix B
    feed_forward: int = 3072  # assumed, as in RoBERTa
    num_positions: int = 1026  # assumed: those of RoBERTa for 1,024 tokens
    num_types: int = 10  # assumed; with it the parameters are 125.9 M
    max_length: int = 1024  # appendix B
    dropout_prob: float = 0.1  # assumed, as in RoBERTa
    ast: Literal["mapping", "dfs", "none"] = "mapping"  # section 3.1
    drop_prob: float = 0.5  # section 3.3
    comments: bool = True
    contrastive: bool = True
    cross_generation: bool = True
    swap_prob: float = 0.5  # section 3.3
    temperature: float = 0.05  # code-search/run.py of the release; assumed in pre-training
    mask_ratio: float = 0.15  # section 3.3
    mask_prob: float = 0.8  # section 3.3
    random_prob: float = 0.1  # section 3.3
    span_ratio: float = 0.15  # section 3.3
    span_length: int = 5  # section 3.3
    language_alpha: float = 0.7  # appendix B
    text_ratio: float = 5 / 8  # 500k of 800k steps, appendix B
    code_ratio: float = 2 / 8  # 200k steps
    pair_ratio: float = 1 / 8  # 100k steps
    lr: float = 2e-4  # appendix B
    warmup: float = 0.01  # assumed
    weight_decay: float = 0.01  # assumed
    batch_size: int = 1024  # appendix B
    task: Task = "pretrain"
    task_lr: float = 2e-5  # appendix C.2, search; C.3 has 5e-5 and C.5 2e-4 for the others

    #: Published parameters of what `export` gives, for each name that `paper` knows.
    published: ClassVar[dict[str, float]] = {"base": 126e6}
    num_reserved_positions: ClassVar[int] = 2

    def __post_init__(self) -> None:
        if self.max_length < LEAST_LENGTH:
            raise UserError(f"max_length is at least {LEAST_LENGTH}, not {self.max_length}")
        if self.max_length > self.num_positions - 2:
            raise UserError(
                f"max_length {self.max_length} does not fit: num_positions {self.num_positions}"
                f" allow {self.num_positions - 2}"
            )
        if self.cross_generation and not self.comments:
            raise UserError("without comments there are none to generate: set cross_generation=no")
        if min(self.text_ratio, self.code_ratio) < 0 or self.pair_ratio <= 0:
            raise UserError("shares of the budget are at least 0, and pair_ratio above 0")

    @classmethod
    def tiny(cls) -> Self:
        """Small enough for a test."""
        return cls(
            vocab_size=700,
            width=32,
            num_layers=2,
            num_heads=2,
            feed_forward=64,
            num_positions=98,
            max_length=96,
            dropout_prob=0.0,
            lr=3e-3,
            task_lr=3e-3,
            warmup=2,
            batch_size=8,
        )

    @classmethod
    def small(cls) -> Self:
        """0.2 M parameters, for a megabyte of code: minutes on two cores."""
        return cls(
            vocab_size=1500,
            width=64,
            num_layers=2,
            num_heads=4,
            feed_forward=256,
            num_positions=258,
            max_length=96,
            text_ratio=0.0,
            code_ratio=0.5,
            pair_ratio=0.5,
            lr=2e-3,
            task_lr=1e-3,
            warmup=0.05,
            batch_size=16,
        )

    @classmethod
    def paper(cls, name: str = "base") -> Self:
        """The published size: "base" (126 M parameters)."""
        return published_size(name, {"base": cls()})

    @property
    def peak_lr(self) -> float:
        """The learning rate of what is trained."""
        return self.lr if self.task == "pretrain" else self.task_lr

    @property
    def unimodal(self) -> tuple[Objective, ...]:
        """Objectives that need no comments, in the order of the steps."""
        return ("masked", "left_to_right", "denoise")

    @property
    def multimodal(self) -> tuple[Objective, ...]:
        """Objectives of code with comments."""
        more: list[Objective] = ["contrast"] if self.contrastive else []
        more += ["generate"] if self.cross_generation else []
        return (*self.unimodal, *more)
