"""Settings of CodeRL: the paper's defaults with their sources, and smaller ones."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

from pretrial.bases.config import TransformerSizes, published_size
from pretrial.methods.code.coderl.data.prompt import Layout


@dataclass(frozen=True)
class Config(TransformerSizes):
    """Settings of CodeRL.

    Attributes:
        architecture: of a model from scratch: "t5" or "gpt2".
        num_layers: of the decoder, and of the encoder where there is one, from scratch.
        vocab_size: entries of the vocabulary that is learned from the data, from scratch.
        critic_init: checkpoint of the critics; empty starts them from the actor's lower half.
        repair_init: checkpoint of the repair model; empty starts it from the actor.
        max_source: tokens of a prompt.
        max_target: tokens of a program.
        layout: of the prompt; the release layouts are for checkpoints trained with them.
        tabs: re-indent reference programs with tabs, as the released data.
        pretrain_data: a data source of code for the optional first stage; empty leaves it out.
        span_epochs: of masked span prediction on it.
        next_token_epochs: of next-token prediction on it.
        pretrain_lr: peak learning rate of masked span prediction; next tokens take half.
        objective: of the last phase: CodeRL, or one of its two controls at the same steps.
        warmup_epochs: of imitation, over the reference pairs.
        warmup_lr: learning rate of imitation.
        warmup_batch_size: reference pairs a step.
        num_samples: programs sampled for each training problem and round.
        temperature: of sampling.
        top_p: of nucleus sampling.
        sample_problems: problems that are sampled for, drawn at random; 0 takes all.
        resample_every: steps of the last phase between two samplings from the current actor; 0 is
            the paper's off-line training, which samples once.
        resample_problems: problems that each further sampling takes, in turn of a random order; 0
            takes all.
        explore: what is sampled for: "all" problems, or the "unsolved" ones, which have neither a
            reference nor a passing program yet.
        round_programs: programs of one sampling, spread evenly over its problems, 2 to 48 each; 0
            takes `num_samples` of each.
        replay: every step draws from all programs so far, half as many that are pushed down as are
            pushed up; otherwise from the last sampling.
        critic_epochs: of critic training.
        critic_lr: learning rate of the critics.
        critic_batch_size: programs a step of the critics.
        pooling: what the critic's maximum is taken over: the logits of the positions, as released,
            or the hidden states before the head, as in the paper.
        release_pooling: let padding, up to the longest program, into the critic's maximum, as the
            released code does.
        release_padding: pad sources with the end token and attend to it, and cut long ones at their
            end, as the released code does.
        rl_steps: optimiser steps of the last phase; 0 takes `rl_epochs`.
        rl_epochs: passes over the programs sampled once.
        rl_lr: learning rate of the last phase.
        rl_batch_size: sampled programs a step; as many reference pairs come with them.
        reward: "outcome" is the paper's return by outcome class, "share" that of tests passed.
        returns: what is subtracted: the greedy program's ("relative"), nothing ("absolute"), the
            mean of the problem's programs, divided by their spread ("group", as GRPO), or the mean
            of its others ("leave-one-out", as RLOO).
        token_weights: the critic's scores, or ones, or weights that fall linearly; "prefixes" takes
            the place of the return: 1 for what passed, and for the tokens of a failed program what
            the pass rate of its prefixes lost by them.
        ce_weight: of cross-entropy in the last phase.
        rl_weight: of the policy gradient.
        reduction: the policy gradient is divided by tokens (as released) or programs.
        negative_floor: log-probability below which a token of a bad program is not pushed further.
        clip: of the ratio to the probability at sampling, as in PPO; 0 for none.
        kl_weight: of the distance from the warm start on sampled programs; 0 for none.
        rl_head: use a copy of the output matrix for the policy gradient only, as released.
        evaluate_every: steps between measurements of held-out pass@1; 0 measures at the ends.
        checker_epochs: of the binary critic.
        checker_on: what the binary critic and the repair model learn from: the programs of the
            "first" sampling, or of the "final" actor, sampled for all problems.
        checker_balanced: the binary critic sees as many programs that failed as passed.
        repair_epochs: of the repair model.
        repair_lr: its learning rate.
        schedule: of the learning rates.
        warmup: steps of warm-up of each stage, or a share of it when below 1.
        micro_batch_size: examples a forward pass; 0 takes the whole batch.
        seconds: time limit of a program's tests.
        apps_preamble: give every program the imports that APPS solutions take for granted.
        execute_on: where programs run: local, or ray for all machines of a Ray cluster.
        isolation: of programs: auto, namespaces, rlimits, or none (they run with your rights).
        allow_packages: that programs and tests may import, with what these require.
    """

    published: ClassVar[dict[str, int]] = {
        "codet5-large": 737_639_424,  # published as 770 M
        "codet5-base": 222_882_048,
        "codet5-small": 60_492_288,
    }

    architecture: Literal["t5", "gpt2"] = "t5"
    width: int = 1024  # CodeT5-large: section 4.1
    num_layers: int = 24
    num_heads: int = 16
    feed_forward: int = 4096
    dropout_prob: float = 0.1
    vocab_size: int = 32100
    critic_init: str = ""  # paper: a small CodeT5 (secondary)
    repair_init: str = ""
    max_source: int = 600  # section 4.2 (secondary)
    max_target: int = 512
    layout: Layout = "ours"
    tabs: bool = False
    pretrain_data: str = ""
    span_epochs: float = 10  # (secondary) on GCPY, after 150 on CodeSearchNet
    next_token_epochs: float = 10  # (secondary)
    pretrain_lr: float = 2e-4  # (secondary); next tokens 1e-4
    objective: Literal["coderl", "cross-entropy", "rejection"] = "coderl"
    warmup_epochs: float = 10  # at most 10 epochs (secondary)
    warmup_lr: float = 2e-5  # train_configs.py of the release
    warmup_batch_size: int = 32
    num_samples: int = 20  # about 20 a problem, from the release's examples
    temperature: float = 0.6  # section 4.2
    top_p: float = 0.95
    sample_problems: int = 0
    resample_every: int = 0
    resample_problems: int = 160
    explore: Literal["all", "unsolved"] = "all"
    round_programs: int = 0
    replay: bool = False
    critic_epochs: float = 10  # release
    critic_lr: float = 2e-5  # release
    critic_batch_size: int = 32
    pooling: Literal["logits", "states"] = "logits"
    release_pooling: bool = False
    release_padding: bool = False
    rl_steps: int = 0
    rl_epochs: float = 1
    rl_lr: float = 2e-6  # the author's advice in CodeRL#30: lower than the release's 2e-5
    rl_batch_size: int = 256  # the author's advice in CodeRL#30
    reward: Literal["outcome", "share"] = "outcome"
    returns: Literal["relative", "absolute", "group", "leave-one-out"] = "relative"
    token_weights: Literal["critic", "ones", "linear", "prefixes"] = "critic"
    ce_weight: float = 1.0  # equal weight (release)
    rl_weight: float = 1.0
    reduction: Literal["tokens", "programs"] = "tokens"  # release
    negative_floor: float | None = None
    clip: float = 0.0
    kl_weight: float = 0.0
    rl_head: bool = False
    evaluate_every: int = 0
    checker_epochs: float = 10
    checker_on: Literal["first", "final"] = "first"
    checker_balanced: bool = False
    repair_epochs: float = 10
    repair_lr: float = 2e-5
    schedule: Literal["constant", "linear", "cosine"] = "constant"  # release
    warmup: float = 0.0
    micro_batch_size: int = 8
    seconds: float = 4.0  # testing_util.py of the release
    apps_preamble: bool = False
    execute_on: Literal["local", "ray"] = "local"
    isolation: Literal["auto", "namespaces", "rlimits", "none"] = "auto"
    allow_packages: tuple[str, ...] = ()

    @property
    def has_last_phase(self) -> bool:
        """Whether the actor is trained after its warm-up."""
        return bool(self.rl_steps or self.rl_epochs)

    @property
    def trains_critic(self) -> bool:
        """Whether a critic spreads the returns over the tokens."""
        by_critic = self.objective == "coderl" and self.token_weights == "critic"
        return by_critic and self.has_last_phase

    @property
    def trains_checker(self) -> bool:
        """Whether the binary critic is trained, for critic sampling."""
        return self.objective == "coderl" and bool(self.checker_epochs)

    @property
    def trains_repairer(self) -> bool:
        """Whether the repair model is trained, for critic sampling."""
        return self.objective == "coderl" and bool(self.repair_epochs)

    @property
    def needs_samples(self) -> bool:
        """Whether programs are sampled from the warm actor."""
        used = self.has_last_phase or self.trains_checker or self.trains_repairer
        return self.objective != "cross-entropy" and used

    @classmethod
    def tiny(cls) -> Self:
        """Small enough for a test: seconds from scratch on one core."""
        return cls(
            width=32,
            num_layers=2,
            num_heads=2,
            feed_forward=64,
            vocab_size=400,
            dropout_prob=0.0,
            max_source=160,
            max_target=48,
            warmup_epochs=2,
            warmup_lr=3e-3,
            warmup_batch_size=8,
            num_samples=4,
            temperature=1.0,
            critic_epochs=2,
            critic_lr=1e-3,
            rl_steps=2,
            resample_every=1,
            resample_problems=4,
            rl_lr=1e-3,
            rl_batch_size=8,
            checker_epochs=2,
            repair_epochs=2,
            repair_lr=1e-3,
            micro_batch_size=0,
            seconds=2.0,
        )

    @classmethod
    def small(cls) -> Self:
        """0.26 M parameters, for problems such as "builtin:mini-apps": minutes on two cores.

        Sampled anew from the current actor, for the unsolved problems only, and replayed; see
        `as_published` for the paper's course at this size.
        """
        return cls(
            width=64,
            num_layers=2,
            num_heads=4,
            feed_forward=256,
            vocab_size=512,
            dropout_prob=0.0,
            max_source=256,
            max_target=80,
            warmup_epochs=36,
            warmup_lr=3e-3,
            warmup_batch_size=32,
            temperature=0.8,
            top_p=1.0,
            resample_every=40,
            resample_problems=0,
            explore="unsolved",
            round_programs=1800,
            replay=True,
            critic_epochs=2,
            critic_lr=1e-3,
            critic_batch_size=64,
            rl_steps=300,
            rl_lr=2e-3,
            rl_batch_size=32,
            returns="absolute",
            token_weights="prefixes",
            negative_floor=-3.0,
            checker_epochs=1,
            checker_on="final",
            checker_balanced=True,
            repair_epochs=4,
            repair_lr=1e-3,
            schedule="linear",
            warmup=0.1,
            micro_batch_size=0,
            seconds=2.0,
        )

    def as_published(self) -> Self:
        """The same sizes and budget with the paper's last phase: sampled once, off-line."""
        return replace(
            self,
            temperature=0.6,
            top_p=0.95,
            resample_every=0,
            sample_problems=640,  # times 21 are as many programs as eight rounds of `small`
            explore="all",
            round_programs=0,
            replay=False,
            reward="outcome",
            returns="relative",
            token_weights="critic",
            negative_floor=None,
            clip=0.0,
            kl_weight=0.0,
            checker_on="first",
            checker_balanced=False,
        )

    @classmethod
    def paper(cls, name: str = "codet5-large") -> Self:
        """A published size: "codet5-large" (actor), "codet5-base" (critics) or "codet5-small"."""
        sizes = {
            "codet5-large": cls(),
            "codet5-base": cls(width=768, num_layers=12, num_heads=12, feed_forward=3072),
            "codet5-small": cls(width=512, num_layers=6, num_heads=8, feed_forward=2048),
        }
        return published_size(name, sizes)
