"""What CodeRL learns from: reference pairs, sampled programs with outcomes, and their weights."""

from __future__ import annotations

import json
import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pretrial.data.problems.layouts import with_own_ids
from pretrial.data.problems.problem import Problem
from pretrial.errors import UserError
from pretrial.evaluate.self_test import fault_of
from pretrial.methods.code.coderl.data.prompt import answer, reindent_with_tabs
from pretrial.methods.code.coderl.data.samples import (
    Sample,
    execute,
    judge,
    outcome_counts,
    read_samples,
    write_samples,
)
from pretrial.methods.code.coderl.network.critic import Judged
from pretrial.methods.code.coderl.network.parts import Parts
from pretrial.methods.code.coderl.stages.reinforce import Weighted
from pretrial.objectives.reinforce import advantage, linear_weights
from pretrial.sandbox import AnyRunner
from pretrial.train.batches import Order
from pretrial.train.budget import Spent
from pretrial.train.run import Run
from pretrial.train.seeds import seed_of

Pair = tuple[list[int], list[int]]
_CHUNK = 256  # problems sampled and judged at a time: what a stopped run does again at most
_ROWS = 256  # programs that one process samples at a time


class Experience:
    """The problems of a run as tokens, and everything that is drawn from them.

    Attributes:
        problems: the training problems.
        in_turn: the same in the random order in which they are sampled for.
        sources: prompt tokens by problem.
        references: tokens of the reference programs by problem.
        pairs: all (prompt, reference) pairs.
    """

    def __init__(self, method: Parts, run: Run) -> None:
        self.method = method
        self.run = run
        self.config = method.config
        self.problems = self._with_right_references(with_own_ids(run.data))
        # Data often comes sorted, the solved problems first, which warm-up has learned by heart
        order = torch.randperm(len(self.problems), generator=run.generator("problems"))
        self.in_turn = [self.problems[i] for i in order.tolist()]
        actor, c = method.actor, self.config
        self.sources = {p.id: actor.problem_ids(p) for p in self.problems}
        self.references: dict[str, list[list[int]]] = {
            p.id: [
                actor.program_ids(answer(p, reindent_with_tabs(s) if c.tabs else s))
                for s in p.solutions
            ]
            for p in self.problems
        }
        self.pairs: list[Pair] = [
            (self.sources[p.id], target) for p in self.problems for target in self.references[p.id]
        ]

    def _with_right_references(self, problems: list[Problem]) -> list[Problem]:
        """Problems without the references that fail their tests, and without those that keep none.

        Where every reference fails, the tests are wrong, and nothing is learned from them.
        """

        def make(piece: int, folder: Path) -> None:
            own = problems[piece * _CHUNK : (piece + 1) * _CHUNK]
            groups = [[p.program(s) for s in p.solutions] for p in own]
            with self.runner() as runner:
                verdicts = judge(own, groups, runner, self.method.limits, visible=False)
            faults = [[fault_of(verdict) for verdict in group] for group in verdicts]
            (folder / f"faults-{piece:05d}.json").write_text(json.dumps(faults))

        folder = self.run.once_in_pieces("references", math.ceil(len(problems) / _CHUNK), make)
        files = sorted(folder.glob("faults-*.json"))
        faults = [row for path in files for row in json.loads(path.read_text())]
        kept, hopeless = [], []
        wrong: Counter[str] = Counter()
        for p, own in zip(problems, faults, strict=True):
            wrong.update(filter(None, own))
            if own and all(own):
                hopeless.append(p.id)
            elif not any(own):
                kept.append(p)
            else:
                good = tuple(s for s, fault in zip(p.solutions, own, strict=True) if not fault)
                kept.append(replace(p, solutions=good))
        kinds = "; ".join(f"{count} {fault}" for fault, count in wrong.most_common(5))
        if wrong:
            self.run.say(
                f"left out {wrong.total()} reference solutions that fail their tests ({kinds}), and"
                f" with them {len(hopeless)} problems all of whose references fail:"
                f" {', '.join(hopeless[:5])}"
            )
        if not kept:
            raise UserError(
                f"every problem's references fail its tests ({kinds}): look at the tests"
            )
        return kept

    # Sampling and execution

    def collect(self) -> list[Sample]:
        """Samples from the warm actor, kept on disk piece by piece."""
        chosen = self.in_turn[: self.config.sample_problems or len(self.in_turn)]
        found: list[Sample] = []
        for start in range(0, len(chosen), _CHUNK):
            problems = chosen[start : start + _CHUNK]
            name = f"samples-{start // _CHUNK:03d}"

            make, num_pieces = self._sampling(problems, name)
            found += _read_pieces(self.run.once_in_pieces(name, num_pieces, make))
        counts = outcome_counts(s for s in found if not s.greedy)
        told = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in counts.items())
        self.run.say(f"sampled: {told}")
        return found

    def resample(self, round_: int, book: bool) -> list[Sample]:
        """Samples of the next problems in turn from the actor as it is, within the last phase.

        Kept on disk, so that a run that goes on finds what it had sampled.

        Args:
            round_: 1, 2, ...
            book: add what it cost to what the open stage has spent; False where that is known.
        """
        size, name = self.config.resample_problems, f"resampled-{round_:04d}"
        problems = [
            self.in_turn[(round_ * size + i) % len(self.in_turn)]
            for i in range(min(size, len(self.in_turn)))
        ]
        folder = self.run.folder / "artefacts" / name

        def seal(partial: Path, spent: Spent) -> None:
            (partial / "spent.json").write_text(json.dumps(spent.by_purpose))

        if not self.run.world.share(folder.exists()):
            make, num_pieces = self._sampling(problems, name)
            with self.run.whole():
                self.run.make_together(folder, num_pieces, make, seal, "sample")
        if book:
            self.run.rebook(json.loads((folder / "spent.json").read_text()))
        return _read_pieces(folder)

    def _sampling(
        self, problems: Sequence[Problem], name: str
    ) -> tuple[Callable[[int, Path], None], int]:
        """What samples and judges one piece of the problems, and the number of pieces."""
        size = max(1, _ROWS // (self.config.num_samples + 1))

        def make(piece: int, folder: Path) -> None:
            own = problems[piece * size : (piece + 1) * size]
            write_samples(folder / f"{piece:05d}.jsonl", self._sample(own, f"{name}/{piece}"))

        return make, math.ceil(len(problems) / size)

    def runner(self) -> AnyRunner:
        """A program runner with this process's share of the machine's cores."""
        return self.method.runner(self.run.world.local_size)

    def _sample(self, problems: Sequence[Problem], name: str) -> list[Sample]:
        c, actor, began = self.config, self.method.actor, time.monotonic()
        how: dict[str, Any] = {"temperature": c.temperature, "top_p": c.top_p}
        groups = actor.draw(problems, self.run.generator(name), num_samples=c.num_samples, **how)
        drawn = time.monotonic()
        tokens = float(sum(len(ids) for group in groups for ids in group))
        self.run.book("sample", seconds=drawn - began, tokens=tokens)
        with self.runner() as runner:
            programs = actor.programs(problems, groups)
            samples = execute(problems, groups, programs, runner, self.method.limits)
        self.run.book("execute", seconds=time.monotonic() - drawn)
        return samples

    # For the critics and the repair model

    def judged(self, samples: Sequence[Sample], binary: bool) -> list[Judged]:
        """Distinct programs with their classes, and the references labelled passed."""
        rows = {
            (s.problem, tuple(s.ids)): int(s.passed) if binary else s.outcome
            for s in samples
            if s.outcome >= 0
        }
        judged = [Judged(self.sources[p], list(ids), label) for (p, ids), label in rows.items()]
        passed = 1 if binary else 3
        return judged + [Judged(source, target, passed) for source, target in self.pairs]

    def repairs(self, samples: Sequence[Sample]) -> list[Pair]:
        """A failed program in, a correct one of the same problem out."""
        problems = {p.id: p for p in self.problems}
        correct: dict[str, list[list[int]]] = defaultdict(list)
        for problem, targets in self.references.items():
            correct[problem] += targets
        for s in samples:
            if s.passed and not self.references[s.problem]:
                correct[s.problem].append(s.ids)
        failed = {(s.problem, s.program): s for s in samples if s.outcome >= 0 and not s.passed}
        generator = self.run.generator("repairs")
        pairs = []
        for s in failed.values():
            targets = correct[s.problem]
            if targets:
                pick = int(torch.randint(len(targets), (), generator=generator))
                source = self.method.actor.repair_ids(problems[s.problem], s.program, s.verdict)
                pairs.append((source, targets[pick]))
        return pairs

    # For the policy gradient

    def weighted(self, samples: Sequence[Sample]) -> list[Weighted]:
        """Programs with token weights: (r(W) - r(W_b)) * q(w_t), or 1 for rejection fine-tuning."""
        drawn = [s for s in samples if not s.greedy and s.outcome >= 0]
        if self.config.objective == "rejection":
            distinct = {(s.problem, tuple(s.ids)): s for s in drawn if s.passed}
            return [
                Weighted(self.sources[s.problem], s.ids, [1.0] * len(s.ids))
                for s in distinct.values()
            ]
        # section 3.2: (r(W) - r(W_b)) * q(w_t), exactly 0 where the outcome is the baseline's
        relative = self.config.returns == "relative"
        gains = [advantage(s.outcome, s.baseline if relative else None) for s in drawn]
        kept = [(s, gain) for s, gain in zip(drawn, gains, strict=True) if gain]
        weights = self._token_weights([s for s, _ in kept])
        return [
            Weighted(self.sources[s.problem], s.ids, (gain * q).tolist())
            for (s, gain), q in zip(kept, weights, strict=True)
        ]

    def imitated(self) -> list[Weighted]:
        """All references with weights 1: the further programs of the cross-entropy control."""
        return [Weighted(source, target, [1.0] * len(target)) for source, target in self.pairs]

    def _token_weights(self, samples: Sequence[Sample]) -> list[torch.Tensor]:
        """q(w_t) of every sample."""
        kind = self.config.token_weights
        if kind == "ones":
            return [torch.ones(len(s.ids)) for s in samples]
        if kind == "linear":
            return [linear_weights(len(s.ids)) for s in samples]
        critic = self.method.critic
        assert critic is not None, "the critic's stage comes first"
        judged = [Judged(self.sources[s.problem], s.ids, s.outcome) for s in samples]
        return critic.token_scores(judged)


def _read_pieces(folder: Path) -> list[Sample]:
    return [sample for path in sorted(folder.glob("*.jsonl")) for sample in read_samples(path)]


class Drawn(Sequence[Weighted]):
    """The programs of the last phase, position by position of its stream.

    Those sampled from the warm actor serve the first `round_length` positions; then each
    `round_length` positions are served by programs sampled anew (`Config.resample_every`). A round
    with fewer programs than positions goes round them again, in another random order.

    Args:
        experience: samples and weighs.
        first: the programs of the first round.
        batch_size: positions a step.
        num_steps: of the stage, as far as they are known; positions beyond begin anew.
    """

    def __init__(
        self, experience: Experience, first: list[Weighted], batch_size: int, num_steps: int
    ) -> None:
        self.experience = experience
        self.first = first
        self.batch_size = batch_size
        self.length = batch_size * num_steps
        self.round_length = batch_size * (experience.config.resample_every or num_steps)
        self._turn_to(0, begins=False)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, position: Any) -> Any:
        round_, place = divmod(position, self.round_length)
        if round_ != self._round:
            self._turn_to(round_, begins=place < self.batch_size)
        return self._programs[self._order.take(place, 1)[0]]

    def _turn_to(self, round_: int, begins: bool) -> None:
        experience, programs = self.experience, self.first
        if round_:
            samples = experience.resample(round_, book=begins)
            programs = experience.weighted(samples) or self._nothing()
        seed = seed_of(experience.run.seed, "drawn", round_)
        self._round, self._programs = round_, programs
        self._order = Order(len(programs), seed, shuffle=True)

    def _nothing(self) -> list[Weighted]:
        """One program without weight, for a round in which none had an outcome of its own."""
        program = self.first[0]
        return [Weighted(program.source, program.target, [0.0] * len(program.target))]
