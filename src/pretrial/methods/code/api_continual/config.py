"""Settings of continual learning of APIs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

from pretrial.bases.config import Optimisation, TransformerSizes, published_size
from pretrial.errors import UserError

Strategy = Literal["naive", "cumulative", "replay", "ewc", "si", "rwalk"]


@dataclass(frozen=True)
class Config(Optimisation, TransformerSizes):
    """Settings, by default those of the paper's decoder; files are martin-wey/cl-code-apis'.

    Attributes:
        architecture: "decoder" (GPT-2) or "encoder" (RoBERTa); a checkpoint decides it itself.
        strategy: how forgetting is fought: "naive" (not at all), "cumulative" (all data so far),
            "replay" (some of the past in each batch), or a penalty: "ewc", "si" (synaptic
            intelligence), "rwalk" (Riemannian walk).
        vocab_size: most entries of the vocabulary that is learned when there is no checkpoint.
        feed_forward: inner width of the feed-forward layers; 0 is four times the width.
        num_positions: longest sequence that the network can read.
        max_length: tokens of a training sequence and of a context.
        dropout_prob: of hidden states and attention.
        inverse_layer_scaling: the decoder's attention is divided by the layer's number too.
        mask_ratio: share of tokens that the encoder has to name.
        order: names of the domains in the order to learn; by default that of the data.
        lr: learning rate on a domain, constant.
        weight_decay: on a domain.
        batch_size: sequences a step on a domain, replayed ones included.
        epochs: of each domain, where the run has no budget.
        patience: epochs without a better loss on call names of the domain's validation data, after
            which it ends and the best weights come back; 0 goes on to the end.
        valid_ratio: share of each domain's examples that is validation data, with patience only.
        memory_size: sequences that replay remembers.
        replay_per_new: remembered sequences for each new one in a batch, from the second domain on.
        ewc_weight: of the penalty (lambda).
        ewc_online: one penalty with fading importances, instead of one for each past domain.
        ewc_decay: what importances fade by at each domain, with `ewc_online`.
        ewc_examples: sequences that importances are measured on; 0 takes all of a domain.
        si_weight: of the penalty (lambda).
        si_eps: added to squared changes.
        si_most: largest strength.
        rwalk_weight: of the penalty (lambda).
        rwalk_alpha: share of the newest gradient in the moving average.
        rwalk_interval: steps between two updates of the score.
        release_importance: importances as the release has them: EWC squares the gradients of
            batches, and synaptic intelligence counts the penalty's gradient too and lets strengths
            fall below zero.
        pretrain_on: the domain that is pre-training data, which comes first and is no task.
        pretrain_ratio: its share of the budget.
        pretrain_epochs: of it, where the run has no budget.
        pretrain_lr: peak learning rate of pre-training.
        pretrain_warmup: steps of its warm-up, or a share of its budget when below 1.
        pretrain_decay: its weight decay.
        pretrain_batch_size: sequences a step of pre-training.
        num_candidates: names that call prediction chooses from: those called most in the data.
        beam_width: beginnings of names followed at once in call prediction.
        max_sites: call sites of each domain for the accuracy matrix; 0 takes all.
        keep_checkpoints: keep the model after each domain, in the run's folder.
    """

    architecture: Literal["decoder", "encoder"] = "decoder"
    strategy: Strategy = "replay"
    vocab_size: int = 32768  # code-gpt2-small_config.json
    width: int = 768  # code-gpt2-small_config.json
    num_layers: int = 12  # code-gpt2-small_config.json
    num_heads: int = 12  # code-gpt2-small_config.json
    feed_forward: int = 0
    num_positions: int = 1024  # code-gpt2-small_config.json
    max_length: int = 1024  # blocks of the tokenizer's model_max_length, finetuning.py
    dropout_prob: float = 0.1  # code-gpt2-small_config.json
    inverse_layer_scaling: bool = True  # code-gpt2-small_config.json
    mask_ratio: float = 0.15  # pretraining.yaml
    order: tuple[str, ...] = ()
    lr: float = 5e-5  # finetuning.yaml
    weight_decay: float = 0.01  # finetuning.py takes torch's default
    batch_size: int = 8  # README.md; 6 in finetuning.yaml
    epochs: int = 10  # finetuning.yaml
    patience: int = 2  # finetuning.yaml
    valid_ratio: float = 0.1  # finetuning.py
    memory_size: int = 200  # finetuning.yaml
    replay_per_new: int = 1  # finetuning.py: 2 new, 2 remembered
    ewc_weight: float = 0.3  # finetuning.yaml
    ewc_online: bool = False  # finetuning.py: separate penalties
    ewc_decay: float = 1.0
    ewc_examples: int = 0  # ewc.py: all
    si_weight: float = 10.0  # finetuning.yaml
    si_eps: float = 0.1  # finetuning.yaml
    si_most: float = 0.001  # fixed in avalanche's synaptic_intelligence.py
    rwalk_weight: float = 0.1  # finetuning.yaml; 1801.10112, equation 8
    rwalk_alpha: float = 0.9  # finetuning.yaml; 1801.10112, equation 6
    rwalk_interval: int = 2  # finetuning.yaml; 1801.10112, equation 7
    release_importance: bool = False
    pretrain_on: str = ""
    pretrain_ratio: float = 0.5
    pretrain_epochs: int = 25  # pretraining.yaml
    pretrain_lr: float = 5e-5  # pretraining.yaml
    pretrain_warmup: float = 0.1  # of its budget; paper() has its steps
    pretrain_decay: float = 0.1  # pretraining.yaml: decoder
    pretrain_batch_size: int = 96  # pretraining.yaml: 12 times 8 accumulated
    num_candidates: int = 2000
    beam_width: int = 32
    max_sites: int = 500
    keep_checkpoints: bool = True

    #: Published parameters of what `export` gives, for each name that `paper` knows.
    published: ClassVar[dict[str, float]] = {"decoder": 111_008_256, "encoder": 124_697_433}

    def __post_init__(self) -> None:
        if not 0 < self.pretrain_ratio < 1:
            raise UserError(f"pretrain_ratio is between 0 and 1, not {self.pretrain_ratio}")
        if self.replay_per_new < 1:
            raise UserError("replay_per_new is at least 1; without replay take another strategy")
        group = 1 + self.replay_per_new
        if self.strategy == "replay" and (self.batch_size % group or self.micro_batch_size % group):
            raise UserError(
                f"replay puts {group} sequences together: make batch_size and micro_batch_size"
                f" multiples of {group}"
            )
        room = self.num_positions - (2 if self.architecture == "encoder" else 0)
        if self.max_length > room:
            raise UserError(f"max_length {self.max_length} is longer than the {room} positions")

    @classmethod
    def tiny(cls) -> Self:
        """Small enough for a test."""
        return cls(
            vocab_size=300,
            width=32,
            num_layers=2,
            num_heads=2,
            num_positions=48,
            max_length=32,
            dropout_prob=0.0,
            lr=3e-3,
            patience=0,
            memory_size=4,
            pretrain_lr=3e-3,
            pretrain_warmup=0.1,
            pretrain_epochs=2,
            pretrain_batch_size=8,
            epochs=2,
            max_sites=8,
            num_candidates=50,
        )

    @classmethod
    def small(cls) -> Self:
        """0.3 M parameters, for a megabyte of code: minutes on two cores."""
        return cls(
            vocab_size=1024,
            width=96,
            num_layers=2,
            num_heads=4,
            num_positions=96,
            max_length=64,
            dropout_prob=0.0,
            lr=2e-3,
            batch_size=8,
            patience=0,
            ewc_weight=300.0,
            ewc_examples=60,
            si_weight=1000.0,
            rwalk_weight=10.0,
            pretrain_lr=3e-3,
            pretrain_warmup=0.1,
            pretrain_batch_size=8,
            num_candidates=1000,
            beam_width=8,
            max_sites=40,
        )

    @classmethod
    def paper(cls, name: str = "decoder") -> Self:
        """The published sizes: "decoder" (111 M parameters), "encoder" (125 M)."""
        decoder = cls(pretrain_warmup=5000)  # pretraining.yaml
        encoder = replace(
            decoder,
            architecture="encoder",
            vocab_size=50265,
            num_positions=514,
            max_length=512,
            inverse_layer_scaling=False,
            pretrain_decay=0.01,
        )
        sizes = {"decoder": decoder, "encoder": encoder}
        return published_size(name, sizes)
