"""CodeRL: a language model learns to write programs from unit tests.

An actor is first taught to imitate reference programs. It then writes programs of its own for every
training problem; all are run on the problem's tests, and the outcome (compile error, runtime error,
failed test, passed) gives each a return. A critic learns to predict the outcome from the program,
position by position, and so spreads the return over the tokens. The actor is trained further with
cross-entropy on references and a policy gradient on its own programs, whose baseline is the return
of its greedy program. Problems without a solution take part: their tests are enough. At inference
the model writes programs, runs the tests that the statement shows, and a second, binary critic
chooses where to go on: prefixes of programs that passed are written anew (refining); where none
passed, a repair model rewrites the most promising failure.

Deviations from the paper and its release:
 1. Every micro-batch holds as many reference pairs as sampled programs; the release alternates the
    two between micro-steps. The gradient is the same sum, and holds at any accumulation.
 2. Samples whose return equals the baseline's have a gradient of exactly zero and are left out.
 3. `resample_every` samples anew from the current actor; the paper samples once.
 4. The critic's maximum is over the program only; `release_pooling` lets padding in, as released.
 5. Long prompts lose their middle and padding is masked; `release_padding` attends to it.
 6. A repair target is a reference solution or, where there is none, a program of the model's own
    that passed. The repair prompt's text was never published; ours is in `prompt.repair_prompt`.
 7. A critic without a checkpoint of its own starts from the lower half of the actor.
 8. Programs of the first round stay among the candidates of critic sampling; tables say so.

Data: programming problems in the layouts of APPS, MBPP, HumanEval or our own; see CARD.fields.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import torch
from torch import nn

from pretrial.card import Card, Claim, Field
from pretrial.data.problems.problem import Problem
from pretrial.data.reading.problems import read_problems
from pretrial.methods.code.coderl import parts, training
from pretrial.methods.code.coderl.config import Config
from pretrial.methods.code.coderl.critic import Critic
from pretrial.methods.code.coderl.model import ProgramModel
from pretrial.methods.code.coderl.prompt import prompt
from pretrial.methods.code.coderl.search import Candidate, CriticSampler, Search
from pretrial.sandbox import APPS_PREAMBLE, AnyRunner, Limits, runner_on
from pretrial.train.method import Method
from pretrial.train.run import Run
from pretrial.train.stage import Stage

CARD = Card(
    slug="coderl",
    title="CodeRL: Mastering Code Generation through Pretrained Models and Deep Reinforcement"
    " Learning",
    authors="Hung Le and others",
    year=2022,
    arxiv="2207.01780",
    summary="Learns to write programs from unit tests: imitation, critic, policy gradient",
    baseline="cross-entropy and rejection fine-tuning for as many steps",
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


class CodeRL(Method):
    """An actor, two critics and a repair model. See the module's text.

    Attributes:
        actor: writes programs; what `export` gives back.
        critic: predicts the four outcomes; None before it is trained.
        checker: predicts passing, for critic sampling; None before it is trained.
        repairer: rewrites failed programs; None before it is trained.
    """

    Config = Config

    def __init__(self, config: Any, actor: ProgramModel) -> None:
        super().__init__(config)
        self.actor = actor
        self.critic: Critic | None = None
        self.checker: Critic | None = None
        self.repairer: ProgramModel | None = None

    @classmethod
    def build(
        cls,
        config: Any,
        source: str | Path | None = None,
        data: Sequence[Problem] | None = None,
    ) -> Self:
        """See `Method.build`. `source` may be any causal or sequence-to-sequence checkpoint."""
        if source is None:
            return cls(config, parts.from_scratch(config, data or ()))
        if not (Path(source) / "actor").is_dir():
            return cls(config, parts.load_language_model(config, source))
        folder = Path(source)
        method = cls(config, parts.load_language_model(config, folder / "actor"))
        if (folder / "critic").is_dir():
            method.critic = parts.load_critic(config, folder / "critic", method.actor, 4)
        if (folder / "checker").is_dir():
            method.checker = parts.load_critic(config, folder / "checker", method.actor, 2)
        if (folder / "repairer").is_dir():
            method.repairer = parts.load_language_model(config, folder / "repairer")
        return method

    @classmethod
    def read(cls, rows: Sequence[dict[str, Any]], skip_bad: bool = False) -> Sequence[Problem]:
        """Problems from rows of any known layout; `skip_bad` leaves out those that are wrong."""
        return read_problems(rows, skip_bad=skip_bad)

    def stages(self, run: Run) -> Iterator[Stage]:
        """Pre-train (optional), warm up, then rounds of sample, execute, criticise, reinforce."""
        return training.stages(self, run)

    # What the user keeps

    def export(self) -> nn.Module:
        """The actor, a transformers model."""
        return self.actor.model

    def save(self, folder: Path) -> None:
        """Writes actor, critics and repair model, each a transformers folder."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("actor", "repairer"):
            part = getattr(self, name)
            if part is not None:
                part.model.save_pretrained(folder / name)
                part.tokenizer.save_pretrained(folder / name)
        for name in ("critic", "checker"):
            part = getattr(self, name)
            if part is not None:
                part.save(folder / name)

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
        prompts = [self.actor.prompt_ids(prompt(p, self.config.layout)) for p in problems]
        groups = self.actor.sample(
            problems,
            prompts,
            num_samples,
            generator,
            temperature=temperature,
            top_p=top_p,
            greedy=greedy,
        )
        return [
            [self.actor.program(problem, ids) for ids in group]
            for problem, group in zip(problems, groups, strict=True)
        ]

    def generate(
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
        for start in range(0, len(examples), _PROBLEMS_AT_ONCE):
            problems = examples[start : start + _PROBLEMS_AT_ONCE]
            groups = self.generate_programs(
                problems,
                num_samples,
                temperature=temperature or 1.0,
                top_p=top_p,
                greedy=temperature == 0,
                generator=generator,
            )
            for problem, programs in zip(problems, groups, strict=True):
                yield {"id": problem.id, "programs": programs}

    def solve(
        self,
        examples: Sequence[Problem],
        *,
        num_samples: int = 200,
        num_rounds: int = 1,
        num_repaired: int = 1,
        choose: Literal["critic", "random"] = "critic",
        kinds: Literal["both", "refine", "repair"] = "both",
        keep_first: bool = True,
        temperature: float = 0.6,
        top_p: float = 0.95,
        seed: int = 0,
    ) -> Iterator[dict[str, Any]]:
        """Writes programs by critic sampling and runs the tests that the statements show.

        Args:
            num_samples: programs a problem and round.
            num_rounds: rounds of refining or repairing after the first; 0 is plain sampling.
            num_repaired: failed programs that go to the repair model.
            choose: by the critic's scores, or at random (the control).
            kinds: what may follow the first round; where it does not apply, plain sampling does.
            keep_first: leave the programs of the first round among the candidates.
            temperature: of sampling.
            top_p: of nucleus sampling.
            seed: of sampling.
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
        with self.runner() as runner:
            sampler = self.sampler(runner)
            for start in range(0, len(examples), _PROBLEMS_AT_ONCE):
                problems = examples[start : start + _PROBLEMS_AT_ONCE]
                found = sampler.solve(problems, search, generator)
                if num_rounds and not keep_first:
                    found = [[c for c in group if c.round] for group in found]
                scored = sampler.rank(problems, found)
                for problem, candidates, ranking in zip(problems, found, scored, strict=True):
                    yield _answer(problem, candidates, ranking)

    def sampler(self, runner: AnyRunner) -> CriticSampler:
        """The critic sampling of this model."""
        if self.checker is None or self.repairer is None:
            raise parts.untrained()
        return CriticSampler(
            self.actor, self.checker, self.repairer, runner, self.limits, self.config.layout
        )

    def runner(self, processes: int = 1) -> AnyRunner:
        """A program runner, where and isolated as the config says, for one of so many processes."""
        c = self.config
        preamble = APPS_PREAMBLE if c.apps_preamble else ""
        return runner_on(
            c.execute_on, processes=processes, isolation=c.isolation, preamble=preamble
        )

    @property
    def limits(self) -> Limits:
        """What a program may use."""
        return Limits(seconds=self.config.seconds)

    @classmethod
    def sample_rows(cls) -> list[dict[str, Any]]:
        """A handful of rows for tests."""
        from pretrial.data.builtin.miniapps import mini_apps

        return [p.to_row() for p in mini_apps(num_train=12, num_test=0, solved=8).train]


def _answer(problem: Problem, candidates: list[Candidate], ranking: list[int]) -> dict[str, Any]:
    best = candidates[ranking[0]]
    return {
        "id": problem.id,
        "program": best.program,
        "passed_examples": best.passed,
        "candidates": [
            {
                "program": c.program,
                "outcome": c.verdict.outcome.name,
                "message": c.verdict.message,
                "kind": c.kind,
                "round": c.round,
                "seed": c.seed,
            }
            for c in (candidates[i] for i in ranking)
        ],
    }


__all__ = ["CARD", "CodeRL", "Config"]
