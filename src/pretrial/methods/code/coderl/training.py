"""The stages of CodeRL: one command does sample, run, score and train, and can be stopped anywhere."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file, save_file

from pretrial.data.problems import Problem
from pretrial.methods.code.coderl import parts, pretrain
from pretrial.methods.code.coderl.critic import Critic, Judged
from pretrial.methods.code.coderl.model import Imitation, reindent_with_tabs
from pretrial.methods.code.coderl.prompt import prompt, repair_prompt
from pretrial.methods.code.coderl.reinforce import Reinforce, Weighted
from pretrial.methods.code.coderl.samples import (
    Sample,
    outcome_counts,
    read_samples,
    sample_and_judge,
    write_samples,
)
from pretrial.objectives.reinforce import advantage, linear_weights
from pretrial.sandbox import Outcome
from pretrial.train.budget import Budget
from pretrial.train.run import Run
from pretrial.train.stage import EarlyStop, Optim, Stage

if TYPE_CHECKING:
    from pretrial.methods.code.coderl import CodeRL

Pair = tuple[list[int], list[int]]
_CHUNK = 256  # problems sampled and judged in one piece: what a stopped run does again at most
# How a budget for the whole run is parted where one is given
_SHARES = {
    "pretrain": 0.3,
    "warmup": 0.4,
    "critic": 0.1,
    "reinforce": 0.3,
    "checker": 0.1,
    "repair": 0.1,
}


def stages(method: CodeRL, run: Run) -> Iterator[Stage]:
    """Yields the stages in order; what lies between them is kept on disk by `run.once`."""
    return Course(method, run).stages()


class Course:
    """One training of CodeRL: its method, its run, and the tokens of its problems."""

    def __init__(self, method: CodeRL, run: Run) -> None:
        self.method = method
        self.run = run
        self.config = method.config
        self.problems = list(run.data)
        actor = method.actor
        self.sources = {
            p.id: actor.prompt_ids(prompt(p, self.config.layout)) for p in self.problems
        }
        self.references: dict[str, list[list[int]]] = {
            p.id: [actor.program_ids(self._reference(s)) for s in p.solutions]
            for p in self.problems
        }
        self.pairs: list[Pair] = [
            (self.sources[p.id], target) for p in self.problems for target in self.references[p.id]
        ]

    def _reference(self, solution: str) -> str:
        return reindent_with_tabs(solution) if self.config.tabs else solution

    def stages(self) -> Iterator[Stage]:
        """See `stages`."""
        c, method = self.config, self.method
        if c.pretrain_data:
            yield from self._pretrain()
        if c.warmup_epochs and self.pairs:
            yield self._stage(
                "warmup",
                Imitation(method.actor),
                self.pairs,
                c.warmup_epochs,
                c.warmup_lr,
                c.warmup_batch,
                evaluate=self._evaluate() if c.evaluate_every else None,
            )
        collected: list[Sample] = []
        for round_ in range(c.num_rounds if self._has_last_phase() else 0):
            if c.objective != "cross-entropy":
                samples = self._collect(round_)
                collected += samples
            if c.objective == "coderl" and c.token_weights == "critic":
                yield self._critic_stage("critic", round_, collected)
            stage = self._reinforce(
                round_, collected if c.objective == "cross-entropy" else samples
            )
            if stage is not None:
                yield stage
        if c.objective == "coderl":
            yield from self._for_inference(collected or self._collect(0))

    def _has_last_phase(self) -> bool:
        return bool(self.config.rl_steps or self.config.rl_epochs)

    def _stage(
        self,
        name: str,
        module: torch.nn.Module,
        data: Sequence[object],
        epochs: float,
        lr: float,
        batch_size: int,
        *,
        steps: int = 0,
        parts_of_it: int = 1,
        evaluate: Callable[[], dict[str, float]] | None = None,
        early_stop: EarlyStop | None = None,
    ) -> Stage:
        """A stage whose budget is its share of the run's, or `steps`, or `epochs` over its data."""
        c = self.config
        if self.run.limit is not None:
            share = _SHARES[name.split("-")[0]] / parts_of_it
            budget = Budget(self.run.limit.amount * share, self.run.limit.unit)
        elif steps:
            budget = Budget(steps / parts_of_it)
        else:
            budget = Budget(max(batch_size, epochs * len(data) / parts_of_it), "examples")
        batch_size = min(batch_size, len(data))
        return Stage(
            name,
            module,  # type: ignore[arg-type]
            data,
            budget,
            optim=Optim(lr=lr, weight_decay=0.05, schedule=c.schedule, warmup=c.warmup_ratio),
            batch_size=batch_size,
            micro_batch_size=min(c.micro_batch or batch_size, batch_size),
            evaluate=evaluate,
            evaluate_every=c.evaluate_every,
            early_stop=early_stop,
        )

    def _pretrain(self) -> Iterator[Stage]:
        from pretrial.data.sources import load

        c, actor = self.config, self.method.actor
        rows = load(c.pretrain_data)
        texts = [row.get("code") or row.get("text") or "" for row in rows]
        sequences = pretrain.code_sequences(actor, texts)
        if c.span_epochs and actor.encoder_decoder:
            module: pretrain.MaskedSpans = pretrain.MaskedSpans(actor)
            yield self._stage(
                "pretrain-spans", module, sequences, c.span_epochs, c.pretrain_lr, c.warmup_batch
            )
        if c.next_token_epochs:
            module = pretrain.NextTokens(actor)
            lr = c.pretrain_lr / 2
            yield self._stage(
                "pretrain-next", module, sequences, c.next_token_epochs, lr, c.warmup_batch
            )

    # Sampling and execution

    def _collect(self, round_: int) -> list[Sample]:
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
        self.run.say(f"round {round_}: " + ", ".join(f"{k} {v}" for k, v in counts.items()))
        return found

    def _sample(self, problems: Sequence[Problem], name: str) -> list[Sample]:
        c, began = self.config, time.perf_counter()
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
        executing = sum(s.verdict.wall_seconds for s in samples)
        self.run.book(
            "sample",
            seconds=time.perf_counter() - began,
            tokens=float(sum(len(s.ids) for s in samples)),
            programs=float(len(samples)),
        )
        self.run.book("execute", process_seconds=executing)
        return samples

    # Critics

    def _judged(self, samples: Sequence[Sample], passed: int, binary: bool) -> list[Judged]:
        """Distinct programs with their classes, and the references labelled passed."""
        rows = {
            (s.problem, tuple(s.ids)): int(s.passed) if binary else s.outcome
            for s in samples
            if s.outcome >= 0
        }
        judged = [Judged(self.sources[p], list(ids), label) for (p, ids), label in rows.items()]
        return judged + [Judged(source, target, passed) for source, target in self.pairs]

    def _critic_stage(self, name: str, round_: int, samples: Sequence[Sample]) -> Stage:
        c, method = self.config, self.method
        binary = name == "checker"
        critic: Critic | None = getattr(method, name)
        if critic is None:
            seed = self.run.generator(name).initial_seed()
            critic = parts.new_critic(c, method.actor, 2 if binary else 4, seed)
            setattr(method, name, critic)
        judged = self._judged(samples, passed=1 if binary else 3, binary=binary)
        epochs = c.checker_epochs if binary else c.critic_epochs
        rounds = 1 if binary else c.num_rounds
        return self._stage(
            f"{name}-{round_}",
            critic,
            judged,
            epochs,
            c.critic_lr,
            c.critic_batch,
            parts_of_it=rounds,
        )

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

    # The last phase

    def _weighted(self, round_: int, samples: Sequence[Sample]) -> list[Weighted]:
        """What the policy gradient is taken over, by objective."""
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
        weights = self._token_weights(round_, [s for s, _ in kept])
        return [
            Weighted(self.sources[s.problem], s.ids, (gain * q).tolist())
            for (s, gain), q in zip(kept, weights, strict=True)
        ]

    def _reinforce(self, round_: int, samples: Sequence[Sample]) -> Stage | None:
        c = self.config
        weighted = self._weighted(round_, samples)
        if not weighted:
            self.run.say(
                f"round {round_}: nothing to learn from, since every program did as its problem's"
                " greedy program did; warm up longer or sample more (--num-samples)"
            )
            return None
        module = Reinforce(
            self.method.actor,
            self.pairs,
            ce_weight=c.ce_weight,
            rl_weight=c.rl_weight,
            reduction=c.reduction,
            negative_floor=c.negative_floor,
            rl_head=c.rl_head,
        )
        stop = None
        evaluate = self._evaluate()
        if evaluate is not None and c.evaluate_every:
            stop = EarlyStop("pass@1", patience=1000, better="higher", floor=self._warm_score())
        return self._stage(
            f"reinforce-{round_}",
            module,
            weighted,
            c.rl_epochs,
            c.rl_lr,
            c.rl_batch,
            steps=c.rl_steps,
            parts_of_it=c.num_rounds,
            evaluate=evaluate,
            early_stop=stop,
        )

    def _evaluate(self) -> Callable[[], dict[str, float]] | None:
        """Held-out pass@1 of the greedy program, where there are held-out problems."""
        problems = list(self.run.held_out)
        if not problems:
            return None
        actor = self.method.actor
        prompts = [actor.prompt_ids(prompt(p, self.config.layout)) for p in problems]

        def evaluate() -> dict[str, float]:
            with self.method.runner() as runner:
                samples = sample_and_judge(
                    actor,
                    problems,
                    prompts,
                    runner,
                    self.method.limits,
                    torch.Generator(),
                    num_samples=0,
                    temperature=1.0,
                    top_p=1.0,
                )
            return {"pass@1": sum(s.passed for s in samples) / len(samples)}

        return evaluate

    def _warm_score(self) -> float:
        evaluate = self._evaluate()
        assert evaluate is not None

        def make(folder: Path) -> None:
            (folder / "score.json").write_text(json.dumps(evaluate()))

        return float(
            json.loads((self.run.once("warm-score", make) / "score.json").read_text())["pass@1"]
        )

    # For critic sampling

    def _for_inference(self, samples: Sequence[Sample]) -> Iterator[Stage]:
        """The binary critic and the repair model, from all programs sampled so far."""
        c, method = self.config, self.method
        if c.checker_epochs:
            yield self._critic_stage("checker", 0, samples)
        repairs = self._repairs(samples)
        if c.repair_epochs and repairs:
            if method.repairer is None:
                method.repairer = parts.new_repairer(c, method.actor)
            yield self._stage(
                "repair",
                Imitation(method.repairer),
                repairs,
                c.repair_epochs,
                c.repair_lr,
                c.warmup_batch,
            )

    def _repairs(self, samples: Sequence[Sample]) -> list[Pair]:
        """A failed program in, a correct one of the same problem out (mechanism 11)."""
        model = self.method.actor
        problems = {p.id: p for p in self.problems}
        correct: dict[str, list[list[int]]] = defaultdict(list)
        correct.update({p: list(targets) for p, targets in self.references.items() if targets})
        for s in samples:
            if s.passed and not self.references[s.problem]:
                correct[s.problem].append(s.ids)
        failed = {
            (s.problem, s.program): s
            for s in samples
            if s.outcome > Outcome.UNTESTED and not s.passed
        }
        generator = self.run.generator("repairs")
        pairs = []
        for s in failed.values():
            targets = correct.get(s.problem)
            if targets:
                pick = int(torch.randint(len(targets), (), generator=generator))
                text = repair_prompt(problems[s.problem], s.program, s.verdict, self.config.layout)
                pairs.append((model.prompt_ids(text), targets[pick]))
        return pairs
