"""CodeRL: a language model learns to write programs from unit tests.

An actor is first taught to imitate reference programs. It then writes programs of its own for every
training problem; all are run on the problem's tests, and the outcome (compile error, runtime error,
failed test, passed) gives each a return. A critic learns to predict the outcome from the program,
position by position, and so spreads the return over the tokens. The actor is trained further with
cross-entropy on references and a policy gradient on its own programs, whose baseline is the return
of its greedy program. Problems without a solution take part: their tests are enough. At inference
the model writes programs, runs the tests that the statement shows, and goes on with the most
promising, by its own likelihood or by a second, binary critic as in the paper: prefixes of programs
that passed are written anew (refining); where none passed, a repair model rewrites the most
promising failure.

There are two courses of the last phase. "CodeRL as published" (`Config()`, `Config.paper()`,
`as_published()`) is the paper's: sampled once, for all problems, weighed by the critic. "CodeRL,
resampled with replay" (`Config.small()`) is ours, which gains more at this size (docs/coderl.md);
numbers 3 to 6 below are its parts, each a switch.

Deviations from the paper and its release:
 1. Every micro-batch holds as many reference pairs as sampled programs; the release alternates the
    two between micro-steps. The gradient is the same sum, and holds at any accumulation.
 2. Samples whose return equals the baseline's have a gradient of exactly zero and are left out.
 3. `resample_every` samples anew from the current actor; the paper samples once.
 4. `explore="unsolved"` samples only for problems that have neither a reference nor a passing
    program yet; the paper samples for all.
 5. `replay` draws every step from all programs so far, what passed and half as many failures.
 6. `token_weights="prefixes"` weighs the tokens of a failed program by what the pass rate of its
    prefixes loses there, counted over the problem's programs, and what passed by 1: a critic
    without a network. `returns` "group" and "leave-one-out", `reward="share"`, `clip` and
    `kl_weight` are parts of other methods (GRPO, RLOO, PPO), for comparison.
 7. The critic's maximum is over the program only; `release_pooling` lets padding in, as released.
 8. Long prompts lose their middle and padding is masked; `release_padding` attends to it, and cuts
    prompts at their end.
 9. A repair target is a reference solution or, where there is none, a program of the model's own
    that passed. The repair prompt's text was never published; ours is in `data.prompt`.
10. A critic without a checkpoint of its own starts from the lower half of the actor.
11. Programs of the first round stay among the candidates of critic sampling; tables say so.
12. A search chooses by the actor's mean log-probability (`--choose critic` is the paper's), and
    `checker_on="final"` trains critic and repair model on what the final actor writes.

Data: programming problems in the layouts of APPS, MBPP, HumanEval or our own; see CARD.fields.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import torch

from pretrial.card import Card, Claim, Field
from pretrial.data.builtin.miniapps import mini_apps
from pretrial.data.problems.problem import Problem
from pretrial.data.reading.problems import read_problems
from pretrial.methods.code.coderl.abilities.choosing import Choose
from pretrial.methods.code.coderl.abilities.search import CriticSampler, Search
from pretrial.methods.code.coderl.config import Config
from pretrial.methods.code.coderl.network import parts
from pretrial.methods.code.coderl.stages.plan import Plan

if TYPE_CHECKING:
    from pretrial.sandbox import AnyRunner
    from pretrial.train.run import Run
    from pretrial.train.stage import Stage

__all__ = ["CARD", "CodeRL", "Config"]

CARD = Card(
    slug="coderl",
    title="CodeRL: Mastering Code Generation through Pretrained Models and Deep Reinforcement"
    " Learning",
    authors="Hung Le and others",
    year=2022,
    arxiv="2207.01780",
    summary="Learns to write programs from unit tests: imitation, critic, policy gradient",
    baseline="imitation and rejection fine-tuning for as many seconds",
    abilities=("solve", "generate"),
    fields=(
        Field("question", "the statement of the problem"),
        Field("input_output", "hidden tests: inputs, outputs and, for functions, fn_name"),
        Field("solutions", "reference programs; tests alone are enough for RL", required=False),
        Field("starter_code", "code that a solution starts from", required=False),
        Field("example_input_output", "tests that the statement shows", required=False),
        Field("difficulty", "a level, for tables by level", required=False),
    ),
    claims=(
        Claim(
            "APPS, CodeT5-770M: pass@1 2.00 fine-tuned, 2.69 with CodeRL",
            "CodeRL, table of APPS results",
        ),
        Claim("APPS: pass@5 6.81", "(secondary) CodeRL, table of APPS results"),
        Claim("APPS: pass@1000 from 17.63 to 20.98", "(secondary) CodeRL"),
        Claim(
            "APPS: pass@200 from 12.12 to 14.38 by critic sampling, with twice the programs",
            "(secondary) CodeRL",
        ),
        Claim(
            "MBPP without training on it: pass@80 63.0, against 61.4 of a fine-tuned 137B model",
            "CodeRL, section on MBPP",
        ),
    ),
)

_PROBLEMS_AT_ONCE = 32  # searched together; bounds the memory of `solve`


class CodeRL(parts.Parts):
    """An actor, two critics and a repair model. See the module's text."""

    @classmethod
    def read(cls, rows: Sequence[dict[str, Any]], skip_bad: bool = False) -> Sequence[Problem]:
        """Problems from rows of any known layout; `skip_bad` leaves out those that are wrong."""
        return read_problems(rows, skip_bad=skip_bad)

    def stages(self, run: Run) -> Iterator[Stage]:
        """Pre-train (optional), imitate, then sample, execute, criticise, reinforce.

        For critic sampling a binary critic and a repair model are trained on the same samples.
        """
        config, plan = self.config, Plan(self, run)
        if config.pretrain_data:
            yield from plan.pretrain()
        # RL from a model that never passes has no positive signal: the actor imitates first
        if config.warmup_epochs and plan.experience.pairs:
            yield plan.warm_up()
        if config.objective == "cross-entropy" and config.has_last_phase:
            yield plan.last_phase(plan.experience.imitated())
        if not config.needs_samples:
            return
        samples = plan.sample()
        # the critic is trained on the samples' outcomes before it weighs their tokens
        if config.trains_critic:
            yield plan.train_critic("critic", samples)
        if config.has_last_phase:
            yield from plan.reinforce(samples)
        if config.checker_on == "final" and (config.trains_checker or config.trains_repairer):
            samples = plan.sample_at_the_end()
        if config.trains_checker:
            yield plan.train_critic("checker", samples)
        if config.trains_repairer:
            yield from plan.train_repairer(samples)

    # Abilities

    def generate_programs(
        self,
        problems: Sequence[Problem],
        num_samples: int,
        *,
        temperature: float = 0.6,
        top_p: float = 0.95,
        greedy: bool = False,
        generator: torch.Generator,
    ) -> list[list[str]]:
        """Runnable programs, `num_samples` a problem, by plain sampling."""
        groups = self.actor.sample(
            problems,
            self.prompts(problems, 0),
            num_samples,
            generator,
            temperature=temperature,
            top_p=top_p,
            greedy=greedy,
        )
        return self.actor.programs(problems, groups)

    def generate(  # type: ignore[override]  # programs, which have their length
        self,
        examples: Sequence[Problem],
        *,
        num_samples: int = 1,
        temperature: float = 0.6,
        top_p: float = 0.95,
        seed: int = 0,
    ) -> Iterator[dict[str, Any]]:
        """Writes programs by plain sampling; runs nothing.

        Args:
            num_samples: programs a problem.
            temperature: of sampling; 0 is greedy.
            top_p: of nucleus sampling.
            seed: of sampling.
        """
        generator = torch.Generator().manual_seed(seed)
        how: dict[str, Any] = {"temperature": temperature or 1.0, "greedy": temperature == 0}
        for start in range(0, len(examples), _PROBLEMS_AT_ONCE):
            problems = examples[start : start + _PROBLEMS_AT_ONCE]
            groups = self.generate_programs(
                problems, num_samples, top_p=top_p, generator=generator, **how
            )
            for problem, programs in zip(problems, groups, strict=True):
                yield {"id": problem.id, "programs": programs}

    def generate_texts(
        self, sources: Sequence[str], *, max_new_tokens: int = 0, num_beams: int = 1
    ) -> list[str]:
        """What the actor writes for each text, which is read as it is."""
        rows = super().generate(sources, max_new_tokens=max_new_tokens, num_beams=num_beams)
        return [row["text"] for row in rows]

    def solve(
        self,
        examples: Sequence[Problem],
        *,
        num_samples: int = 200,
        num_rounds: int = 1,
        num_repaired: int = 1,
        choose: Choose = "likelihood",
        kinds: Literal["both", "refine", "repair"] = "both",
        keep_first: bool = True,
        temperature: float = 0.6,
        top_p: float = 0.95,
        seed: int = 0,
        isolation: Literal["auto", "namespaces", "rlimits", "none"] | None = None,
        allow_packages: tuple[str, ...] = (),
    ) -> Iterator[dict[str, Any]]:
        """Writes programs by critic sampling and runs the tests that the statements show.

        Args:
            num_samples: programs a problem and round.
            num_rounds: rounds of refining or repairing after the first; 0 is plain sampling.
            num_repaired: failed programs that go to the repair model.
            choose: what is gone on with: by the actor's own likelihood, by the binary critic as in
                the paper, or at random (the control).
            kinds: what may follow the first round; where it does not apply, plain sampling does.
            keep_first: leave the programs of the first round among the candidates.
            temperature: of sampling.
            top_p: of nucleus sampling.
            seed: of sampling.
            isolation: of programs, if not as in training: auto, namespaces, rlimits, or none (they
                run with your rights).
            allow_packages: that programs may import beside those of training.
        """
        search = Search(
            num_samples=num_samples,
            num_rounds=num_rounds,
            num_repaired=num_repaired,
            choose=choose,
            kinds=("refine", "repair") if kinds == "both" else (kinds,),
            temperature=temperature,
            top_p=top_p,
        )
        generator = torch.Generator().manual_seed(seed)
        with self.runner(isolation=isolation, packages=allow_packages) as runner:
            sampler = self.sampler(runner)
            for start in range(0, len(examples), _PROBLEMS_AT_ONCE):
                problems = examples[start : start + _PROBLEMS_AT_ONCE]
                found = sampler.solve(problems, search, generator)
                if num_rounds and not keep_first:
                    found = [[c for c in group if c.round] for group in found]
                ranked = sampler.rank(problems, found, sampler.chooser(choose, generator))
                for problem, candidates, order in zip(problems, found, ranked, strict=True):
                    best = candidates[order[0]]
                    yield {
                        "id": problem.id,
                        "program": best.program,
                        "passed_examples": best.passed,
                        "candidates": [candidates[place].to_row() for place in order],
                    }

    def sampler(self, runner: AnyRunner) -> CriticSampler:
        """The search of this model, with the critic and the repair model that it has."""
        return CriticSampler(self.actor, self.checker, self.repairer, runner, self.limits)

    @classmethod
    def sample_rows(cls) -> list[dict[str, Any]]:
        """A handful of rows for tests."""
        return [p.to_row() for p in mini_apps(num_train=12, num_test=0, solved=8).train]
