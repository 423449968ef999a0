"""Settings of CodeT5+."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

from pretrial.bases.config import Optimisation, TransformerSizes, published_size
from pretrial.errors import UserError

Objective = Literal["span", "prefix", "decoder"]


@dataclass(frozen=True)
class Config(TransformerSizes, Optimisation):
    """Settings of CodeT5+, by default those of the 220 M model.

    Sections are those of arXiv 2305.07922; "release" is github.com/salesforce/CodeT5, "CodeT5+".
    The paper does not give the momentum, the temperature and the size of the queue; those of ALBEF
    (arXiv 2107.07651), whose form of the losses it follows, are assumed.

    Attributes:
        vocab_size: most entries of the vocabulary that is learned when there is no checkpoint.
        num_sentinels: sentinel tokens in a vocabulary that is learned.
        num_layers: of the encoder, and of the decoder.
        embed_width: numbers of an embedding.
        max_code: tokens of a code, special tokens included; longer ones are cut.
        max_text: tokens of a text, likewise.
        stages: which of the stages are trained: "unimodal" (code), "bimodal" (pairs of text and
            code), "instruct" (instructions). Those without data are left out.
        objectives: of the unimodal stage: "span" (denoising), "prefix" (a beginning is read, the
            rest is written), "decoder" (all is written).
        warm_ratio: share of the unimodal budget in which only spans are denoised.
        unimodal_ratio: share of the run's budget for the unimodal stage, where both are trained.
        corruption_ratio: share of the tokens that are hidden.
        mean_length: words of a hidden span, on average.
        contrastive: the bimodal stage aligns embeddings of texts and codes.
        matching: it tells pairs that belong together from pairs that do not.
        generation: it writes the code for the text, and the text for the code.
        queue_size: past embeddings that serve as negatives; 0 takes the batch alone, and no
            momentum encoder.
        momentum: decay of the momentum encoder.
        temperature: of the contrastive scores.
        hard_negatives: draw negatives of the matching by their similarity; otherwise uniformly.
        mining_temperature: of that drawing; the smaller, the harder are the negatives.
        freeze_encoder: leave the encoder and the cross-attention as they are in the unimodal stage,
            to tune a checkpoint as a decoder alone.
        decoder: a frozen causal language model, by name or folder, takes the decoder's place; ""
            for none.
        cross_layers: layers of that decoder, from the top, that read the encoder.
        half_decoder: keep the frozen weights in bfloat16.
        cut_docstrings: where a text is the docstring of its code, take it out of the code.
        lr: peak learning rate of the unimodal stage.
        pair_lr: of the bimodal stage.
        instruct_lr: of the tuning on instructions.
        embedding_lr_ratio: learning rate of the token embeddings over that of the other weights;
            T5's begin at ten and more times the others' size, and Adam's steps are all of one size.
        batch_size: codes a step in the unimodal stage.
        pair_batch_size: pairs or instructions a step.
        micro_batch_size: codes or instructions a forward pass; 0 takes the whole batch. Pairs are
            compared with one another and always take the whole.
    """

    published: ClassVar[dict[str, float]] = {"220m": 222.9e6, "770m": 737.6e6}

    vocab_size: int = 32_100  # release, CodeT5's vocabulary
    num_sentinels: int = 100  # release
    width: int = 768  # T5-base
    num_layers: int = 12  # T5-base
    num_heads: int = 12  # T5-base
    feed_forward: int = 3072  # T5-base
    dropout_prob: float = 0.1  # T5
    embed_width: int = 256  # section 3.2
    max_code: int = 420  # bimodal stage, section 4
    max_text: int = 128  # bimodal stage, section 4
    stages: tuple[Literal["unimodal", "bimodal", "instruct"], ...] = (
        "unimodal",
        "bimodal",
        "instruct",
    )
    objectives: tuple[Objective, ...] = ("span", "prefix", "decoder")  # section 3.1
    warm_ratio: float = 1 / 11  # 10k steps alone, then 100k, section 4
    unimodal_ratio: float = 0.5  # ours: a budget is shared, not steps
    corruption_ratio: float = 0.15  # section 3.1
    mean_length: float = 3.0  # section 3.1
    contrastive: bool = True  # section 3.2
    matching: bool = True  # section 3.2
    generation: bool = True  # section 3.2
    queue_size: int = 65_536  # assumed, as ALBEF
    momentum: float = 0.995  # assumed, as ALBEF
    temperature: float = 0.07  # assumed, as ALBEF's start
    hard_negatives: bool = True  # section 3.2
    mining_temperature: float = 0.07  # assumed, as ALBEF: that of the scores
    freeze_encoder: bool = False
    decoder: str = ""
    cross_layers: int = 1  # section 3.3
    half_decoder: bool = True  # section 4, there fp16
    cut_docstrings: bool = True
    lr: float = 2e-4  # section 4
    pair_lr: float = 1e-4  # section 4
    instruct_lr: float = 2e-5  # release, instruct_tune_codet5p.py
    embedding_lr_ratio: float = 1.0
    weight_decay: float = 0.1  # section 4
    batch_size: int = 2048  # section 4, denoising
    pair_batch_size: int = 256  # section 4

    def __post_init__(self) -> None:
        if not self.objectives or not (self.contrastive or self.matching or self.generation):
            raise UserError(
                "each stage needs an objective: name one of span, prefix and decoder in objectives,"
                " and leave contrastive, matching or generation on"
            )
        if self.queue_size < 0 or not 0 <= self.momentum < 1 or self.temperature <= 0:
            raise UserError(
                "queue_size is at least 0, momentum at least 0 and below 1, temperature above 0"
            )

    @classmethod
    def tiny(cls) -> Self:
        """Small enough for a test."""
        return cls(
            vocab_size=400,
            num_sentinels=20,
            width=32,
            num_layers=2,
            num_heads=2,
            feed_forward=64,
            dropout_prob=0.0,
            embed_width=16,
            max_code=48,
            max_text=16,
            queue_size=12,
            momentum=0.9,
            lr=3e-3,
            pair_lr=3e-3,
            instruct_lr=3e-3,
            batch_size=8,
            pair_batch_size=8,
        )

    @classmethod
    def small(cls) -> Self:
        """0.8 M parameters, for the functions of a standard library: minutes on two cores."""
        return cls(
            vocab_size=4096,
            num_sentinels=40,
            width=96,
            num_layers=2,
            num_heads=4,
            feed_forward=256,
            dropout_prob=0.0,
            embed_width=96,
            max_code=40,
            max_text=16,
            queue_size=512,
            momentum=0.95,
            mining_temperature=0.5,
            lr=1e-3,
            pair_lr=1e-3,
            embedding_lr_ratio=20.0,
            warmup=0.1,
            weight_decay=0.01,
            batch_size=32,
            pair_batch_size=32,
        )

    @classmethod
    def paper(cls, name: str = "220m") -> Self:
        """The published sizes: "220m" and "770m"; larger ones have a frozen `decoder`."""
        large = replace(cls(), width=1024, num_layers=24, num_heads=16, feed_forward=4096)
        return published_size(name, {"220m": cls(), "770m": large})
