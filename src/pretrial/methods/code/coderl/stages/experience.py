"""What CodeRL learns from: reference pairs, sampled programs with outcomes, and their weights."""

from __future__ import annotations

import json
import math
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

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
from pretrial.methods.code.coderl.stages.weights import check, imitated, replayed, weigh
from pretrial.sandbox import AnyRunner
from pretrial.train.budget import Spent
from pretrial.train.run import Run

Pair = tuple[list[int], list[int]]
_CHUNK = 256  # problems sampled and judged at a time: what a stopped run does again at most
_ROWS = 1024  # programs that one process samples at a time
_PROGRAMS_EACH = (2, 48)  # of a problem, where `round_programs` shares them out


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
        check(self.config)
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

    def collect(self, kept_as: str, chosen: list[Problem]) -> list[Sample]:
        """Samples from the actor between two stages, kept on disk piece by piece."""
        chosen = chosen[: self._at_most(self.config.sample_problems, len(chosen))]
        num_samples = self._num_samples(len(chosen))
        found: list[Sample] = []
        before = self._busy()
        for start in range(0, len(chosen), _CHUNK):
            problems = chosen[start : start + _CHUNK]
            name = f"{kept_as}-{start // _CHUNK:03d}"
            make, num_pieces = self._sampling(problems, name, num_samples)
            found += _read_pieces(self.run.once_in_pieces(name, num_pieces, make))
        counts = outcome_counts(s for s in found if not s.greedy)
        told = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in counts.items())
        self.run.say(f"sampled: {told}")
        if found and not any(s.passed for s in found):
            self.run.say(
                "no program of this sampling passes its tests, so there is nothing right to learn"
                " from: warm up longer (--warmup-epochs) or on more references, sample more"
                " (--num-samples, --round-programs), or begin with easier problems; --reward share"
                " --returns group counts single tests"
            )
        self._log(found, found, self._busy() - before)
        return found

    def resample(self, round_: int, book: bool, known: Sequence[Sample] = ()) -> list[Sample]:
        """Samples of further problems from the actor as it is, within the last phase.

        Kept on disk, so that a run that goes on finds what it had sampled.

        Args:
            round_: 1, 2, ...
            book: add what it cost to what the open stage has spent; False where that is known.
            known: what was sampled before; where it solves a problem, `explore="unsolved"` passes
                the problem over.
        """
        candidates = self.candidates(known)
        size = self._at_most(self.config.resample_problems, len(candidates))
        problems = [candidates[(round_ * size + i) % len(candidates)] for i in range(size)]
        folder = self._resampled(round_)

        def seal(partial: Path, spent: Spent) -> None:
            (partial / "spent.json").write_text(json.dumps(spent.by_purpose))

        if not self.run.world.share(folder.exists()):
            make, num_pieces = self._sampling(problems, folder.name, self._num_samples(size))
            with self.run.whole():
                self.run.make_together(folder, num_pieces, make, seal, "sample")
        found = _read_pieces(folder)
        if book:
            before = self._busy()
            self.run.rebook(json.loads((folder / "spent.json").read_text()))
            said = self._log(found, [*known, *found], self._busy() - before)
            self.run.say(
                f"sampled anew: {said['share_passed']:.0%} of {said['programs']} pass; of"
                f" {said['with_tests_only']} problems with tests only {said['solved_by_tests']}"
                " are solved"
            )
        return found

    def affords(self, round_: int) -> bool:
        """Whether a sampling is there already, or what is left of the time is enough for it.

        A run with a budget in seconds would overrun it by a sampling that begins at its end, and
        would not learn from it.
        """
        limit, cost = self.run.limit, self._busy() / max(round_, 1)
        if limit is None or limit.unit != "seconds" or self._resampled(round_).exists():
            return True
        return not round_ or limit.amount - self.run.spent.total("seconds") > 2 * cost

    def _resampled(self, round_: int) -> Path:
        """Where the samples of a round of the last phase are kept."""
        return self.run.folder / "artefacts" / f"resampled-{round_:04d}"

    def candidates(self, known: Sequence[Sample]) -> list[Problem]:
        """The problems to sample for, in turn: all, or those that nothing solves yet, if any."""
        if self.config.explore == "all":
            return self.in_turn
        solved = {s.problem for s in known if s.passed}
        return [p for p in self.in_turn if not p.solutions and p.id not in solved] or self.in_turn

    def _at_most(self, wanted: int, available: int) -> int:
        """How many problems one sampling takes, so that `round_programs` is enough for them."""
        enough = self.config.round_programs // _PROGRAMS_EACH[0]
        return min(n for n in (wanted, enough, available) if n)

    def _num_samples(self, num_problems: int) -> int:
        """Programs of each problem in one sampling."""
        least, most = _PROGRAMS_EACH
        wanted = self.config.round_programs
        return min(most, max(least, wanted // num_problems)) if wanted else self.config.num_samples

    def _busy(self) -> float:
        """Seconds of the run so far in which programs were written or run."""
        rows = [self.run.spent.by_purpose.get(name, {}) for name in ("sample", "execute")]
        return sum(row.get("seconds", 0.0) for row in rows)

    def _log(
        self, found: Sequence[Sample], known: Sequence[Sample], seconds: float
    ) -> dict[str, float]:
        """A row of metrics: what was written, and which problems without reference it solves."""
        without = {p.id for p in self.problems if not p.solutions}
        solved = {s.problem for s in known if s.passed} & without
        drawn = [s for s in found if not s.greedy]
        row: dict[str, float] = {
            "programs": len(drawn),
            "seconds": seconds,
            "share_passed": sum(s.passed for s in drawn) / max(len(drawn), 1),
            "solved_by_tests": len(solved),
            "with_tests_only": len(without),
        }
        self.run.log(row)
        return row

    def _sampling(
        self, problems: Sequence[Problem], name: str, num_samples: int
    ) -> tuple[Callable[[int, Path], None], int]:
        """What samples and judges one piece of the problems, and the number of pieces."""
        size = max(1, _ROWS // (num_samples + 1))

        def make(piece: int, folder: Path) -> None:
            own = problems[piece * size : (piece + 1) * size]
            samples = self._sample(own, f"{name}/{piece}", num_samples)
            write_samples(folder / f"{piece:05d}.jsonl", samples)

        return make, math.ceil(len(problems) / size)

    def runner(self) -> AnyRunner:
        """A program runner with this process's share of the machine's cores."""
        return self.method.runner(self.run.world.local_size)

    def _sample(self, problems: Sequence[Problem], name: str, num_samples: int) -> list[Sample]:
        c, actor, began = self.config, self.method.actor, time.monotonic()
        greedy = c.returns == "relative"  # the baseline's program
        groups = actor.draw(
            problems,
            self.run.generator(name),
            num_samples=num_samples,
            temperature=c.temperature,
            top_p=c.top_p,
            greedy=greedy,
        )
        drawn = time.monotonic()
        tokens = float(sum(len(ids) for group in groups for ids in group))
        self.run.book("sample", seconds=drawn - began, tokens=tokens)
        with self.runner() as runner:
            programs = actor.programs(problems, groups)
            limits = self.method.limits
            samples = execute(problems, groups, programs, runner, limits, greedy=greedy)
        self.run.book("execute", seconds=time.monotonic() - drawn)
        if c.clip:
            rows = actor.token_log_probs([(self.sources[s.problem], s.ids) for s in samples])
            samples = [
                replace(s, log_probs=tuple(row.tolist()))
                for s, row in zip(samples, rows, strict=True)
            ]
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
        judged += [Judged(source, target, passed) for source, target in self.pairs]
        if binary and self.config.checker_balanced:
            return self._balanced(judged)
        return judged

    def _balanced(self, judged: Sequence[Judged]) -> list[Judged]:
        """As many of each class, drawn at random; all where there is one class only."""
        classes = [[j for j in judged if j.label == label] for label in (0, 1)]
        size = min(map(len, classes)) or max(map(len, classes))
        generator = self.run.generator("balanced")
        kept = [torch.randperm(len(own), generator=generator)[:size].tolist() for own in classes]
        return [own[i] for own, places in zip(classes, kept, strict=True) for i in places]

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
        """Programs with the weights of their tokens, as the config says; see `stages.weights`."""
        drawn = [s for s in samples if not s.greedy and s.outcome >= 0]
        if self.config.objective == "rejection":
            scored = imitated(drawn)
        else:
            scored = weigh(drawn, self.config, self._critic_scores)
            if self.config.replay:
                scored = replayed(scored, self.run.generator(f"replayed/{len(drawn)}"))
        return [
            Weighted(self.sources[s.problem], s.ids, weights, s.log_probs) for s, weights in scored
        ]

    def imitated(self) -> list[Weighted]:
        """All references with weights 1: the further programs of the cross-entropy control."""
        return [Weighted(source, target, [1.0] * len(target)) for source, target in self.pairs]

    def _critic_scores(self, samples: Sequence[Sample]) -> list[torch.Tensor]:
        """q(w_t) of every sample."""
        critic = self.method.critic
        assert critic is not None, "the critic's stage comes first"
        return critic.token_scores(
            [Judged(self.sources[s.problem], s.ids, s.outcome) for s in samples]
        )


def _read_pieces(folder: Path) -> list[Sample]:
    return [sample for path in sorted(folder.glob("*.jsonl")) for sample in read_samples(path)]
