"""Settings of MultiMend: the paper's defaults with their sources, and smaller ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, Self

from pretrial.bases.config import Optimisation, TransformerSizes, published_size
from pretrial.errors import UserError

#: What is added to the context at repair: lines near in meaning, random ones (the control), none.
Retrieval = Literal["embedding", "random", "none"]
#: How several hunks are searched, see `abilities.search.Search.run`.
Strategy = Literal["progressive", "cross", "same"]


@dataclass(frozen=True)
class Config(TransformerSizes, Optimisation):
    """Settings of MultiMend; sources are files of h4iku/MultiMend.

    Attributes:
        num_layers: of the encoder, and of the decoder.
        vocab_size: entries of the vocabulary that is learned from the data.
        max_source: tokens of a source; longer ones lose their end, which is context.
        max_target: tokens of a patch.
        epochs: passes over the data, where no budget is given.
        position_lr: learning rate of T5's relative positions, 0 for `lr`. They are single numbers,
            which a rate for matrices moves too slowly for a model from scratch to learn copying.
        schedule: of the learning rate.
        checkpoints_per_epoch: checkpoints that the ensemble is taken from.
        num_checkpoints: the last of them are the ensemble; the last one is the exported model.
        retrieval: lines added to the context at repair: by embeddings, at random, or none.
        num_retrieved: most lines added.
        max_distance: of an added line from the wrong ones, 1 - cosine.
        embedder: sentence encoder of the lines: "minilm", a folder, or a name.
        num_beams: beams of the search for candidates.
        num_candidates: candidates of each checkpoint for each hunk.
        multi_hunk: how several hunks are searched: hunk by hunk, in all combinations, or with the
            same text everywhere only.
    """

    published: ClassVar[dict[str, int]] = {"codet5-small": 60_492_288}

    width: int = 512  # CodeT5-small
    num_layers: int = 6
    num_heads: int = 8
    feed_forward: int = 2048
    dropout_prob: float = 0.1
    vocab_size: int = 32100
    max_source: int = 512  # train_model.py
    max_target: int = 256  # train_model.py
    epochs: float = 2.0  # train_model.py
    batch_size: int = 8  # train_model.py
    lr: float = 1e-4  # train_model.py
    position_lr: float = 0.0
    schedule: Literal["constant", "linear", "cosine"] = "constant"  # train_model.py
    checkpoints_per_epoch: int = 5  # train_model.py
    num_checkpoints: int = 5  # generate_primary_candidates.py
    retrieval: Retrieval = "embedding"
    num_retrieved: int = 5  # generate_primary_candidates.py
    max_distance: float = 0.5  # generate_primary_candidates.py
    embedder: str = "minilm"  # all-MiniLM-L6-v2: rag_utils.py
    num_beams: int = 100  # generate_primary_candidates.py
    num_candidates: int = 100  # generate_primary_candidates.py
    multi_hunk: Strategy = "progressive"

    def __post_init__(self) -> None:
        if not 1 <= self.num_candidates <= self.num_beams:
            raise UserError(
                f"num_candidates must be from 1 to num_beams ({self.num_beams}), not"
                f" {self.num_candidates}"
            )
        if not 1 <= self.num_checkpoints <= self.num_parts:
            raise UserError(
                f"num_checkpoints must be from 1 to the {self.num_parts} checkpoints of"
                f" {self.epochs:g} epochs, not {self.num_checkpoints}"
            )

    @property
    def num_parts(self) -> int:
        """Parts of the training, each of which ends with a checkpoint."""
        return max(1, round(self.epochs * self.checkpoints_per_epoch))

    @classmethod
    def tiny(cls) -> Self:
        """Small enough for a test: seconds from scratch on one core."""
        return cls(
            width=32,
            num_layers=2,
            num_heads=2,
            feed_forward=64,
            dropout_prob=0.0,
            vocab_size=400,
            max_source=128,
            max_target=64,
            lr=3e-3,
            checkpoints_per_epoch=1,
            num_checkpoints=2,
            num_beams=4,
            num_candidates=4,
        )

    @classmethod
    def small(cls) -> Self:
        """For the trial: bugs of the standard library, minutes on one core."""
        return cls(
            width=64,
            num_layers=2,
            num_heads=4,
            feed_forward=256,
            dropout_prob=0.0,
            vocab_size=1024,
            max_source=160,
            max_target=40,
            batch_size=32,
            lr=3e-3,
            position_lr=0.12,
            schedule="linear",
            warmup=0.04,
            num_checkpoints=2,
            num_beams=10,
            num_candidates=10,
        )

    @classmethod
    def paper(cls, name: str = "codet5-small") -> Self:
        """The published size, that of CodeT5-small."""
        return published_size(name, {"codet5-small": cls()})
