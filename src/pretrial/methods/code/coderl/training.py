"""The stages of CodeRL: one command samples, runs, scores, trains, and can be stopped anywhere."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from pretrial.data.problems.problem import Problem
from pretrial.methods.code.coderl import parts, pretrain
from pretrial.methods.code.coderl.critic import Critic
from pretrial.methods.code.coderl.experience import Drawn, Experience
from pretrial.methods.code.coderl.model import Imitation
from pretrial.methods.code.coderl.prompt import prompt
from pretrial.methods.code.coderl.reinforce import Reinforce, Weighted
from pretrial.methods.code.coderl.samples import Sample, draw, execute
from pretrial.train.batches import fitting
from pretrial.train.budget import Budget
from pretrial.train.run import Run
from pretrial.train.stage import EarlyStop, Optim, Stage, Trainable

if TYPE_CHECKING:
    from pretrial.methods.code.coderl import CodeRL

Evaluate = Callable[[], dict[str, float]]

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
# What the steps of a stage are booked under; those of the actor after its warm-up are "train"
_PURPOSES = {"reinforce": "train", "checker": "critic"}


def stages(method: CodeRL, run: Run) -> Iterator[Stage]:
    """Yields the stages in order; what lies between them is kept on disk by `run.once`."""
    return Course(method, run).stages()


class Course:
    """One training of CodeRL."""

    def __init__(self, method: CodeRL, run: Run) -> None:
        self.method = method
        self.run = run
        self.config = method.config
        self.experience = Experience(method, run)
        self._left = self._planned()  # shares of what is still to come

    def stages(self) -> Iterator[Stage]:
        """See `stages`."""
        c, experience = self.config, self.experience
        if c.pretrain_data:
            yield from self._pretrain()
        if c.warmup_epochs and experience.pairs:
            yield self._warmup()
        if c.objective == "cross-entropy":
            if self._has_last_phase():
                yield self._last_phase(experience.imitated())
            return
        inference = c.objective == "coderl" and (c.checker_epochs or c.repair_epochs)
        if not (self._has_last_phase() or inference):
            return
        samples = self._collect()
        if self._has_last_phase():
            if c.objective == "coderl" and c.token_weights == "critic":
                yield self._critic("critic", samples)
            yield from self._reinforce(samples)
        if c.objective == "coderl" and c.checker_epochs:
            yield self._critic("checker", samples)
        if c.objective == "coderl" and c.repair_epochs:
            yield from self._repair(samples)

    def _has_last_phase(self) -> bool:
        return bool(self.config.rl_steps or self.config.rl_epochs)

    def _collect(self) -> list[Sample]:
        samples = self.experience.collect()
        self._left -= _SAMPLING_SHARE
        return samples

    # One stage each

    def _pretrain(self) -> Iterator[Stage]:
        from pretrial.data.reading.sources import load

        c, actor = self.config, self.method.actor
        texts = [row.get("code") or row.get("text") or "" for row in load(c.pretrain_data)]
        sequences = pretrain.code_sequences(actor, texts)
        if c.span_epochs and actor.encoder_decoder:
            module: Trainable = pretrain.MaskedSpans(actor)
            yield self._stage(
                "pretrain-spans",
                module,
                sequences,
                c.span_epochs,
                c.pretrain_lr,
                c.warmup_batch_size,
            )
        if c.next_token_epochs:
            module, lr = pretrain.NextTokens(actor), c.pretrain_lr / 2
            yield self._stage(
                "pretrain-next", module, sequences, c.next_token_epochs, lr, c.warmup_batch_size
            )

    def _warmup(self) -> Stage:
        c = self.config
        stage = self._stage(
            "warmup",
            Imitation(self.method.actor),
            self.experience.pairs,
            c.warmup_epochs,
            c.warmup_lr,
            c.warmup_batch_size,
        )
        if c.evaluate_every:
            stage.evaluate = self._evaluate()
        return stage

    def _critic(self, name: str, samples: Sequence[Sample]) -> Stage:
        """The training of the critic, or of the binary critic (`checker`)."""
        c, method = self.config, self.method
        binary = name == "checker"
        critic: Critic | None = getattr(method, name)
        if critic is None:
            seed = self.run.generator(name).initial_seed()
            critic = parts.new_critic(c, method.actor, 2 if binary else 4, seed)
            setattr(method, name, critic)
        judged = self.experience.judged(samples, binary)
        epochs = c.checker_epochs if binary else c.critic_epochs
        return self._stage(name, critic, judged, epochs, c.critic_lr, c.critic_batch_size)

    def _reinforce(self, samples: Sequence[Sample]) -> Iterator[Stage]:
        first = self.experience.weighted(samples)
        if first:
            yield self._last_phase(first)
        else:
            self.run.say(
                "nothing to reinforce: every program did as its problem's greedy program did; warm"
                " up longer or sample more (--num-samples)"
            )

    def _last_phase(self, programs: list[Weighted]) -> Stage:
        c = self.config
        module = Reinforce(
            self.method.actor,
            self.experience.pairs,
            ce_weight=c.ce_weight,
            rl_weight=c.rl_weight,
            reduction=c.reduction,
            negative_floor=c.negative_floor,
            rl_head=c.rl_head,
        )
        stage = self._stage(
            "reinforce", module, programs, c.rl_epochs, c.rl_lr, c.rl_batch_size, steps=c.rl_steps
        )
        if c.resample_every and c.objective != "cross-entropy":
            steps = stage.budget.amount if stage.budget.unit == "steps" else _UNKNOWN_STEPS
            stage.batch_size = c.rl_batch_size
            stage.micro_batch_size = c.micro_batch_size or None
            stage.data = Drawn(self.experience, programs, c.rl_batch_size, math.ceil(steps))
            stage.shuffle = False
        stage.evaluate = self._evaluate()
        if stage.evaluate and c.evaluate_every:
            warm = self._warm_score()
            stage.early_stop = EarlyStop("pass@1", patience=3, better="higher", floor=warm)
        return stage

    def _repair(self, samples: Sequence[Sample]) -> Iterator[Stage]:
        c, method = self.config, self.method
        pairs = self.experience.repairs(samples)
        if not pairs:
            self.run.say(
                "nothing to learn repairing from: no problem has both a wrong and a right program"
            )
            return
        if method.repairer is None:
            method.repairer = parts.new_repairer(c, method.actor)
        module = Imitation(method.repairer)
        yield self._stage(
            "repair", module, pairs, c.repair_epochs, c.repair_lr, c.warmup_batch_size
        )

    # What they share

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
        return Stage(
            name,
            module,
            data,
            self._budget(kind, max(size, epochs * len(data)), steps),
            optim=Optim(lr=lr, weight_decay=0.05, schedule=c.schedule, warmup=c.warmup),
            batch_size=size,
            micro_batch_size=micro,
            evaluate_every=c.evaluate_every,
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
        last = self._has_last_phase()
        coderl = c.objective == "coderl"
        planned = {
            "pretrain": bool(c.pretrain_data),
            "warmup": bool(c.warmup_epochs),
            "critic": coderl and last and c.token_weights == "critic",
            "reinforce": last,
            "checker": coderl and bool(c.checker_epochs),
            "repair": coderl and bool(c.repair_epochs),
        }
        sampling = _SAMPLING_SHARE if c.objective != "cross-entropy" else 0.0
        return sampling + sum(_SHARES[kind] for kind, on in planned.items() if on)

    def _evaluate(self) -> Evaluate | None:
        """Held-out pass@1 of the greedy program, where there are held-out problems."""
        problems = list(self.run.held_out)
        if not problems:
            return None
        world = self.run.world

        def evaluate() -> dict[str, float]:
            own = [problems[i] for i in world.own(len(problems))]
            (passed,) = world.sum([self._num_passed(own)])
            return {"pass@1": passed / len(problems)}

        return evaluate

    def _num_passed(self, problems: Sequence[Problem]) -> int:
        """How many problems the greedy program solves."""
        actor, greedy = self.method.actor, torch.Generator()
        if not problems:
            return 0
        prompts = [actor.prompt_ids(prompt(p, self.config.layout)) for p in problems]
        groups = draw(actor, problems, prompts, greedy, num_samples=0, temperature=1.0, top_p=1.0)
        with self.experience.runner() as runner:
            samples = execute(actor, problems, groups, runner, self.method.limits)
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
