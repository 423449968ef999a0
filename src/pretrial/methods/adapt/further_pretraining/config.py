"""Settings of further pre-training with self-distillation."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

from pretrial.bases.config import published_size
from pretrial.bases.self_supervised.config import SelfSupervised
from pretrial.errors import UserError


@dataclass(frozen=True)
class Config(SelfSupervised):
    """Settings of further pre-training, by default those of ViT-MAE-base.

    Files are those of seanie12/self-distillation, which has the images only; "assumed" stands where
    a value for texts was not at hand. A checkpoint decides the input and the sizes.

    Attributes:
        rounds: students trained one after the other, each with the one before as its teacher; 0 is
            further pre-training alone.
        start: where a student's weights begin: at the "initial" ones, or at those of its
            "teacher", which is an ablation.
        distill_weight: of the squared distance between the features of student and teacher.
        l2_weight: of the squared distance of the weights from the initial ones, another way to keep
            near to them.
        finetune_ratio: share of the budget for fine-tuning with the labels in the data; 0 has no
            such stage. The stages before share the rest equally.
    """

    rounds: int = 1  # section 3
    start: Literal["initial", "teacher"] = "initial"  # section 3
    distill_weight: float = 1.0  # trainer.py
    l2_weight: float = 0.0
    resize: bool = True  # dataloader.py
    max_length: int = 256  # assumed
    dropout_prob: float = 0.1  # config.json of roberta-base
    hidden_ratio: float = 0.75  # train.py
    lr: float = 1.5e-4  # run_pretrain.sh
    warmup: float = 0.0  # run_pretrain.sh
    weight_decay: float = 0.01  # run_pretrain.sh
    batch_size: int = 64  # run_pretrain.sh
    finetune_ratio: float = 0.2  # 10,000 of 50,000 steps
    finetune_lr: float = 1e-4  # run_finetune.sh
    finetune_warmup: float = 0.1  # of the budget; paper() has its steps
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
        super().__post_init__()

    @classmethod
    def tiny(cls) -> Self:
        """Small enough for a test; the first steps of Adam are long for a network of this size."""
        return replace(super().tiny(), distill_weight=0.01)

    @classmethod
    def paper(cls, name: str = "vit-mae-base") -> Self:
        """The published sizes: "vit-mae-base" (86 M without decoder), "roberta-base" (125 M)."""
        images = cls(finetune_warmup=500)  # train.py
        sizes = {"vit-mae-base": images, "roberta-base": replace(images, input="text")}
        return published_size(name, sizes)
