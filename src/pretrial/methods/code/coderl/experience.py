"""What CodeRL learns from: reference pairs, sampled programs with outcomes, and their weights."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file

from pretrial.data.problems import Problem
from pretrial.methods.code.coderl.critic import Judged
from pretrial.methods.code.coderl.model import reindent_with_tabs
from pretrial.methods.code.coderl.prompt import prompt, repair_prompt
from pretrial.methods.code.coderl.reinforce import Weighted
from pretrial.methods.code.coderl.samples import (
    Sample,
    outcome_counts,
    read_samples,
    sample_and_judge,
    write_samples,
)
from pretrial.objectives.reinforce import advantage, linear_weights
from pretrial.train.run import Run

if TYPE_CHECKING:
    from pretrial.methods.code.coderl import CodeRL

Pair = tuple[list[int], list[int]]
_CHUNK = 256  # problems sampled and judged in one piece: what a stopped run does again at most


class Experience:
    """The problems of a run as tokens, and everything that is drawn from them.

    Attributes:
        problems: the training problems.
        sources: prompt tokens by problem.
        references: tokens of the reference programs by problem.
        pairs: all (prompt, reference) pairs.
    """

    def __init__(self, method: CodeRL, run: Run) -> None:
        self.method = method
        self.run = run
        self.config = method.config
        self.problems: list[Problem] = list(run.data)
        actor, c = method.actor, self.config
        self.sources = {p.id: actor.prompt_ids(prompt(p, c.layout)) for p in self.problems}
        self.references: dict[str, list[list[int]]] = {
            p.id: [actor.program_ids(reindent_with_tabs(s) if c.tabs else s) for s in p.solutions]
            for p in self.problems
        }
        self.pairs: list[Pair] = [
            (self.sources[p.id], target) for p in self.problems for target in self.references[p.id]
        ]

    # Sampling and execution

    def collect(self, round_: int) -> list[Sample]:
        """Samples of the round's problems from the current actor, kept on disk piece by piece."""
        size = self.config.round_problems or len(self.problems)
        order = [(round_ * size + i) % len(self.problems) for i in range(size)]
        found: list[Sample] = []
        for start in range(0, size, _CHUNK):
            problems = [self.problems[i] for i in order[start : start + _CHUNK]]
            name = f"samples-{round_}-{start // _CHUNK:03d}"

            def make(folder: Path, problems: list[Problem] = problems, name: str = name) -> None:
                write_samples(folder / "samples.jsonl", self._sample(problems, name))

            found += read_samples(self.run.once(name, make) / "samples.jsonl")
        counts = outcome_counts(s for s in found if not s.greedy)
        told = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in counts.items())
        self.run.say(f"round {round_}: {told}")
        return found

    def _sample(self, problems: Sequence[Problem], name: str) -> list[Sample]:
        c, began = self.config, time.monotonic()
        with self.method.runner() as runner:
            samples = sample_and_judge(
                self.method.actor,
                problems,
                [self.sources[p.id] for p in problems],
                runner,
                self.method.limits,
                self.run.generator(name),
                num_samples=c.num_samples,
                temperature=c.temperature,
                top_p=c.top_p,
            )
        self.run.book(
            "sample",
            seconds=time.monotonic() - began,
            tokens=float(sum(len(s.ids) for s in samples)),
        )
        self.run.book("execute", process_seconds=sum(s.verdict.wall_seconds for s in samples))
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
        """A failed program in, a correct one of the same problem out (mechanism 11)."""
        model = self.method.actor
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
                text = repair_prompt(problems[s.problem], s.program, s.verdict, self.config.layout)
                pairs.append((model.prompt_ids(text), targets[pick]))
        return pairs

    # For the policy gradient

    def weighted(self, round_: int, samples: Sequence[Sample]) -> list[Weighted]:
        """Programs with token weights: (r(W) - r(W_b)) * q(w_t), or 1 for the controls."""
        c = self.config
        if c.objective == "cross-entropy":
            return [Weighted(source, target, [1.0] * len(target)) for source, target in self.pairs]
        drawn = [s for s in samples if not s.greedy and s.outcome >= 0]
        if c.objective == "rejection":
            distinct = {(s.problem, tuple(s.ids)): s for s in drawn if s.passed}
            return [
                Weighted(self.sources[s.problem], s.ids, [1.0] * len(s.ids))
                for s in distinct.values()
            ]
        relative = c.returns == "relative"
        gains = [advantage(s.outcome, s.baseline if relative else None) for s in drawn]
        kept = [(s, gain) for s, gain in zip(drawn, gains, strict=True) if gain]
        weights = self._token_weights(round_, [s for s, _ in kept]) if kept else []
        return [
            Weighted(self.sources[s.problem], s.ids, (gain * q).tolist())
            for (s, gain), q in zip(kept, weights, strict=True)
        ]

    def _token_weights(self, round_: int, samples: Sequence[Sample]) -> list[torch.Tensor]:
        """q(w_t) of every sample; the critic's are computed once and kept."""
        kind = self.config.token_weights
        if kind == "ones":
            return [torch.ones(len(s.ids)) for s in samples]
        if kind == "linear":
            return [linear_weights(len(s.ids)) for s in samples]
        critic = self.method.critic
        assert critic is not None, "the critic's stage comes first"

        def make(folder: Path) -> None:
            judged = [Judged(self.sources[s.problem], s.ids, s.outcome) for s in samples]
            scores = critic.token_scores(judged)
            save_file({"scores": torch.cat(scores)}, folder / "scores.safetensors")

        folder = self.run.once(f"critic-scores-{round_}", make)
        scores = load_file(folder / "scores.safetensors")["scores"]
        return list(scores.split([len(s.ids) for s in samples]))
