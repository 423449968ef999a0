"""How long each stage of CodeRL is trained, with what, and how it is measured.

A run can be stopped anywhere: what lies between the stages is kept on disk by `Run.once`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from pretrial.data.problems.problem import Problem
from pretrial.methods.code.coderl.data.samples import Sample, execute
from pretrial.methods.code.coderl.network.parts import Parts
from pretrial.methods.code.coderl.stages.drawn import Drawn
from pretrial.methods.code.coderl.stages.experience import Experience
from pretrial.methods.code.coderl.stages.pretrain import MaskedSpans, NextTokens, code_sequences
from pretrial.methods.code.coderl.stages.reinforce import Reinforce, Weighted
from pretrial.train.batches import fitting
from pretrial.train.budget import Budget
from pretrial.train.run import Run
from pretrial.train.stage import EarlyStop, Optim, Stage, Trainable

# How a budget in time, tokens, examples or FLOPs is parted among the kinds of stages
_SHARES = {
    "pretrain": 0.3,
    "warmup": 0.35,
    "critic": 0.1,
    "reinforce": 0.25,
    "checker": 0.05,
    "repair": 0.1,
}
_SAMPLING_SHARE = 0.15
_UNKNOWN_STEPS = 10_000  # more than a budget in time or tokens is likely to give the last phase
_AT_ONCE = 64  # held-out problems that one process evaluates at a time
_WEIGHT_DECAY = 0.05  # release
# What the steps of a stage are booked under; those of the actor after its warm-up are "train"
_PURPOSES = {"reinforce": "train", "checker": "critic"}


class Plan:
    """One training of CodeRL; each method gives a stage, or what lies between two.

    Attributes:
        experience: what is learned from.
    """

    def __init__(self, method: Parts, run: Run) -> None:
        self.method = method
        self.run = run
        self.config = method.config
        self.experience = Experience(method, run)
        self._left = self._planned()  # shares of what is still to come

    def pretrain(self) -> Iterator[Stage]:
        """Masked spans, which need an encoder, then next tokens at half the learning rate."""
        from pretrial.data.reading.sources import load

        c, actor = self.config, self.method.actor
        texts = [row.get("code") or row.get("text") or "" for row in load(c.pretrain_data)]
        sequences, size = code_sequences(actor, texts), c.warmup_batch_size
        if c.span_epochs and actor.encoder_decoder:
            spans = MaskedSpans(actor), sequences, c.span_epochs, c.pretrain_lr, size
            yield self._stage("pretrain-spans", *spans)
        if c.next_token_epochs:
            rate = c.pretrain_lr / 2
            nexts = NextTokens(actor), sequences, c.next_token_epochs, rate, size
            yield self._stage("pretrain-next", *nexts)

    def warm_up(self) -> Stage:
        """Imitation: cross-entropy of every reference."""
        c, pairs = self.config, self.experience.pairs
        how = self.method.actor, pairs, c.warmup_epochs, c.warmup_lr, c.warmup_batch_size
        stage = self._stage("warmup", *how)
        if c.evaluate_every:
            stage.evaluate = self._evaluate()
        return stage

    def sample_at_the_end(self) -> list[Sample]:
        """Programs of the trained actor for all problems, for the parts of critic sampling."""
        return self.experience.collect("final", self.experience.in_turn)

    def sample(self) -> list[Sample]:
        """Programs of the warm actor and what became of them."""
        samples = self.experience.collect("samples", self.experience.candidates(()))
        self._left -= _SAMPLING_SHARE
        return samples

    def train_critic(self, name: str, samples: Sequence[Sample]) -> Stage:
        """The training of the critic, or of the binary critic (`checker`)."""
        c, binary = self.config, name == "checker"
        critic = self.method.begin_critic(name, self.run.generator(name).initial_seed())
        judged = self.experience.judged(samples, binary)
        epochs = c.checker_epochs if binary else c.critic_epochs
        return self._stage(name, critic, judged, epochs, c.critic_lr, c.critic_batch_size)

    def reinforce(self, samples: Sequence[Sample]) -> Iterator[Stage]:
        """The last phase on sampled programs, if any of them has something to teach."""
        first = self.experience.weighted(samples)
        if first:
            yield self.last_phase(first, samples)
        else:
            self.run.say(
                "nothing to reinforce: no program did better than the others of its problem; warm"
                " up longer or sample more (--num-samples)"
            )

    def last_phase(self, programs: list[Weighted], samples: Sequence[Sample] = ()) -> Stage:
        """The last phase on these programs, and with `resample_every` on such of the actor then.

        `samples` are what the programs are made of.

        With held-out problems it stops when their pass@1 falls below that of the warm start.
        """
        c = self.config
        module = Reinforce(self.method.actor, self.experience.pairs, c)
        how = module, programs, c.rl_epochs, c.rl_lr, c.rl_batch_size
        stage = self._stage("reinforce", *how, steps=c.rl_steps)
        if c.resample_every and c.objective != "cross-entropy":
            steps = stage.budget.amount if stage.budget.unit == "steps" else _UNKNOWN_STEPS
            stage.batch_size = c.rl_batch_size
            stage.micro_batch_size = c.micro_batch_size or None
            stage.data = Drawn(
                self.experience, programs, samples, c.rl_batch_size, math.ceil(steps)
            )
            stage.shuffle = False
        stage.evaluate = self._evaluate()
        if stage.evaluate and c.evaluate_every:
            warm = self._warm_score()
            stage.early_stop = EarlyStop("pass@1", patience=3, better="higher", floor=warm)
        return stage

    def train_repairer(self, samples: Sequence[Sample]) -> Iterator[Stage]:
        """The repair model, where there is a right program for a wrong one."""
        c, pairs = self.config, self.experience.repairs(samples)
        if pairs:
            repairer = self.method.begin_repairer()
            how = repairer, pairs, c.repair_epochs, c.repair_lr, c.warmup_batch_size
            yield self._stage("repair", *how)
        else:
            self.run.say(
                "nothing to learn repairing from: no problem has both a wrong and a right program"
            )

    # What the stages share

    def _stage(
        self,
        name: str,
        module: Trainable,
        data: Sequence[Any],
        epochs: float,
        lr: float,
        batch_size: int,
        *,
        steps: int = 0,
    ) -> Stage:
        c = self.config
        kind = name.split("-")[0]
        size, micro = fitting(batch_size, c.micro_batch_size, len(data), self.run.world.size)
        return Stage.of(
            name,
            module,
            data,
            c,
            budget=self._budget(kind, max(size, epochs * len(data)), steps),
            optim=Optim(lr, _WEIGHT_DECAY, schedule=c.schedule, warmup=c.warmup),
            batch_size=size,
            micro_batch_size=micro,
            purpose=_PURPOSES.get(kind, kind),
        )

    def _budget(self, kind: str, examples: float, steps: int) -> Budget:
        """Of the stage of a kind.

        A budget of the run in steps is that of the last phase, since steps of different modules are
        not alike. Of any other, each stage gets its share of what is left when it begins, so that
        sampling and execution count too. Without one, the config decides.
        """
        limit = self.run.limit
        if limit is not None and limit.unit == "steps":
            if kind == "reinforce":
                return limit
        elif limit is not None:
            remaining = max(limit.amount - self.run.spent.total(limit.unit), 0.0)
            amount = remaining * _SHARES[kind] / self._left
            self._left = max(self._left - _SHARES[kind], _SHARES[kind])
            return Budget(max(amount, 1e-9), limit.unit)
        return Budget(steps) if steps else Budget(examples, "examples")

    def _planned(self) -> float:
        """Sum of the shares of everything that the config plans."""
        c = self.config
        planned = {
            "pretrain": bool(c.pretrain_data),
            "warmup": bool(c.warmup_epochs),
            "critic": c.trains_critic,
            "reinforce": c.has_last_phase,
            "checker": c.trains_checker,
            "repair": c.trains_repairer,
        }
        sampling = _SAMPLING_SHARE if c.objective != "cross-entropy" else 0.0
        return sampling + sum(_SHARES[kind] for kind, on in planned.items() if on)

    def _evaluate(self) -> Callable[[], dict[str, float]] | None:
        """Held-out pass@1 of the greedy program, where there are held-out problems."""
        problems, world = list(self.run.held_out), self.run.world
        if not problems:
            return None

        def evaluate() -> dict[str, float]:
            own = [problems[i] for i in world.own(len(problems))]
            (passed,) = world.sum([self._num_passed(own)])
            return {"pass@1": passed / len(problems)}

        return evaluate

    def _num_passed(self, problems: Sequence[Problem]) -> int:
        """How many problems the greedy program solves."""
        if not problems:
            return 0
        actor = self.method.actor
        how: dict[str, Any] = {"num_samples": 0, "temperature": 1.0, "top_p": 1.0}
        groups = actor.draw(problems, torch.Generator(), **how)
        programs = actor.programs(problems, groups)
        with self.experience.runner() as runner:
            samples = execute(problems, groups, programs, runner, self.method.limits)
        return sum(s.passed for s in samples)

    def _warm_score(self) -> float:
        """Held-out pass@1 before the last phase, below which it stops."""
        problems = list(self.run.held_out)

        def make(piece: int, folder: Path) -> None:
            own = problems[piece * _AT_ONCE : (piece + 1) * _AT_ONCE]
            (folder / f"passed-{piece}.json").write_text(json.dumps(self._num_passed(own)))

        num_pieces = math.ceil(len(problems) / _AT_ONCE)
        folder = self.run.once_in_pieces("warm-score", num_pieces, make)
        passed = sum(json.loads(path.read_text()) for path in folder.glob("passed-*.json"))
        return float(passed / len(problems))
