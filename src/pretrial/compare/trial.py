"""What a trial is: a question, its arms, one budget, seeds, and what is claimed.

`trials.py` in a method's folder, or the file of a method that is one, has `trial()`. Its
keyword-only parameters are the options of `pretrial trial SLUG`; their values are kept in the
record, and every process makes the same trial again from them:

    def trial(*, data: str = "builtin:stdlib-docstrings", num_labels: int = 300) -> Trial:
        def measure(method, data, seed):
            return {"accuracy": [1.0, 0.0, ...]}      # one value an item, or one number

        return Trial(
            question="Does replaced-token detection beat masking at equal FLOPs?",
            data=lambda: Data(train=texts, test=labelled),
            arms=(
                Arm("electra", "ELECTRA", "method", "electra", Config.small()),
                Arm("mlm", "masked language model", "baseline", "mlm", mlm.Config(...)),
                Arm("random", "random weights", "control", run=lambda context: ..., trains=False),
            ),
            measure=measure,
            metric="accuracy",
            direction="higher",
            useful=0.02,                               # the smallest difference that would matter
            gate=Gate(trivial=("random",), ceiling=1.0),
            tuning=Tuning((1e-4, 3e-4, 1e-3)),         # of every arm's learning rate
            budget=Budget(2e12, "flops"),
        )

How a verdict comes about is in docs/trials.md.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from pretrial.errors import UserError, nearest
from pretrial.train.budget import Budget, Spent

if TYPE_CHECKING:
    from pretrial.train.run import Run

Direction = Literal["higher", "lower"]
Role = Literal["method", "baseline", "control", "ablation"]


@dataclass(frozen=True)
class Items:
    """One number an item, where items come in groups that resemble each other.

    Attributes:
        values: one number an item.
        groups: the group of each, such as its module, speaker or template.
    """

    values: Sequence[float]
    groups: Sequence[Hashable]


Values = Mapping[str, "float | Sequence[float] | Items"]


@dataclass(frozen=True)
class Data:
    """What a trial trains on and is measured on.

    Attributes:
        train: raw rows; each arm's method reads them with `Method.read`.
        held_out: raw rows for evaluation during training.
        test: whatever `measure` needs.
        name: what it is, for the record and the page.
    """

    train: Sequence[Any]
    held_out: Sequence[Any] = ()
    test: Any = None
    name: str = ""


@dataclass(frozen=True)
class Context:
    """What the `run` function of an arm is given.

    Attributes:
        run: folder, seed, budget, and the rows of the data as they are.
        data: the trial's data.
        prepared: the folder that the trial's `prepare` has filled for this seed, or None.
        chosen: settings that a pilot seed has chosen, such as {"lr": 1e-3}; the arm uses them.
    """

    run: Run
    data: Data
    prepared: Path | None
    chosen: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Arm:
    """One side of a trial.

    Attributes:
        name: short, unique in the trial; files are called so.
        label: what tables and pages call it.
        role: "method" (on trial), "baseline", "control" or "ablation".
        method: slug of the method that is trained with `config`; "" with `run`.
        config: instance of that method's Config.
        run: instead of a method: does the arm's work and returns what is measured. It books what it
            spends on `context.run`.
        source: checkpoint or folder to build the method from. None is the folder that `prepare` has
            filled, or from scratch where the trial has no `prepare`.
        trains: False for an arm that spends nothing, such as random weights or raw features; it is
            left out of the budget audit and refused if it spends.
        default: False for arms that run only with --all or when named with --arms.
    """

    name: str
    label: str
    role: Role
    method: str = ""
    config: Any = None
    run: Callable[[Context], Any] | None = None
    source: str | None = None
    trains: bool = True
    default: bool = True

    def with_chosen(self, chosen: Mapping[str, Any]) -> Arm:
        """The same arm with these settings in its config, where it has one."""
        if not chosen or self.config is None:
            return self
        return dataclasses.replace(self, config=dataclasses.replace(self.config, **chosen))


class Claim(NamedTuple):
    """That `arm` has a higher or lower `metric` than `baseline`."""

    arm: str
    baseline: str
    metric: str
    expect: Direction


@dataclass(frozen=True)
class Gate:
    """Has anything been learnt? The baseline must beat the trivial answer by `useful`.

    Attributes:
        trivial: names of arms that a practitioner would try in five minutes: random weights,
            counts, TF-IDF with logistic regression, raw pixels, the model before.
        ceiling: the best value of the metric; the baseline must leave `useful` to gain. None where
            there is no such value.
    """

    trivial: tuple[str, ...] = ()
    ceiling: float | None = None


@dataclass(frozen=True)
class Premise:
    """That what the method cures is there: without it the trial says nothing of the method.

    Attributes:
        metric: what shows it, measured on the baseline's pilot seeds.
        least: it must be at least this.
        text: what that means, such as "the baseline over-fits".
    """

    metric: str
    least: float
    text: str


@dataclass(frozen=True)
class Tuning:
    """Every arm chooses one value among the same ones, on a pilot seed that does not count.

    Attributes:
        values: to choose from.
        field: of the arms' configs.
    """

    values: tuple[Any, ...]
    field: str = "lr"


@dataclass(frozen=True)
class Trial:
    """A trial.

    Attributes:
        question: one sentence, answerable by the verdicts.
        data: makes the data; called in every process, so it must be the same each time.
        arms: see Arm.
        measure: measure(method, data, seed) returns metrics by name: a number, or one number an
            item (always the same items in the same order), whose mean is the metric and whose items
            make the comparison sharper.
        metric: the one that counts.
        direction: which way `metric` is better.
        budget: of one arm with one seed.
        useful: the smallest difference in `metric` that would matter, in its unit; 0 where none is
            stated, and then nothing is about equal.
        relative: `useful` is a share of the baseline's metric on its pilot seeds, such as 0.01.
        gate: what must be beaten for the trial to say anything.
        premise: what must be there for the trial to say anything.
        tuning: what every arm chooses on a pilot seed.
        baseline: name of the arm compared with; "" is the first one of role "baseline".
        most_seeds: seeds of the last look.
        first_seed: of the seeds that count; raised where the metric or the primary claim changes,
            since seeds that have answered one question cannot be asked another.
        claims: tuples (arm, baseline, metric, "higher" or "lower"); by default that each method
            arm betters the baseline in `metric`. The first is the primary claim, which decides the
            verdict; the others are corrected for their number. Sanity checks belong to the gate.
        counted: purposes of spending that must be equal among arms; empty is all of them. A trial
            at equal gradient steps of the actor, say, counts only "train", and the record shows
            everything else that was spent beside it.
        prepare: prepare(seed, folder) fills a folder once a seed, before the arms of that seed,
            such as with a warm start that they share. It may be called again after a kill, with
            what it had written by then. What it returns is shown as spent by all arms together.
        curves: names in the training log to keep as curves; by default all losses and evaluations.
        packages: what the data and the measure import beyond the base install, such as "sklearn"
            (see `errors.OPTIONAL`); looked for before anything runs.
        notes: sentences for the reader: what was scaled down, what deviates.
        title: of the page; by default the method's.
        name: of a further trial of a method that has several, such as "deepen": its record is
            <slug>-<name>.json, beside that of the first, which has no name.
    """

    question: str
    data: Callable[[], Data]
    arms: tuple[Arm, ...]
    measure: Callable[[Any, Data, int], Values]
    metric: str
    direction: Direction
    budget: Budget
    useful: float = 0.0
    relative: bool = False
    gate: Gate = Gate()
    premise: Premise | None = None
    tuning: Tuning | None = None
    baseline: str = ""
    most_seeds: int = 16  # those of the last planned look
    first_seed: int = 0
    claims: tuple[tuple[str, str, str, str], ...] = ()
    counted: tuple[str, ...] = ()
    prepare: Callable[[int, Path], Spent | None] | None = None
    curves: tuple[str, ...] = ()
    packages: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    title: str = ""
    name: str = ""

    def __post_init__(self) -> None:
        names = [arm.name for arm in self.arms]
        assert len(set(names)) == len(names), f"two arms share a name: {names}"
        assert re.fullmatch(r"[\w.-]*", self.name), f"trial {self.name!r} cannot name a file"
        for arm in self.arms:
            assert re.fullmatch(r"[\w.-]+", arm.name), f"arm {arm.name!r} cannot name a file"
            assert bool(arm.method) != bool(arm.run), f"arm {arm.name}: either `method` or `run`"
        assert set(self.gate.trivial) <= set(names), f"the gate names no arm: {self.gate}"
        for claim in self.claims:
            assert {claim[0], claim[1]} <= set(names), f"a claim names an arm that is not: {claim}"
            assert claim[3] in ("higher", "lower"), claim

    def arm(self, name: str) -> Arm:
        """The arm of that name.

        Raises:
            UserError: there is none; it names the nearest.
        """
        for arm in self.arms:
            if arm.name == name:
                return arm
        raise UserError(
            f"there is no arm {name!r}; the nearest: {nearest(name, [a.name for a in self.arms])}"
        )

    def choose(self, names: Sequence[str] = (), everything: bool = False) -> tuple[Arm, ...]:
        """The arms to run: those named and the baseline, or all, or those that run by default."""
        if everything:
            return self.arms
        if names:
            wanted = {self.arm(name).name for name in names} | {self.reference().name}
            return tuple(arm for arm in self.arms if arm.name in wanted)
        return tuple(arm for arm in self.arms if arm.default)

    def reference(self) -> Arm:
        """The baseline arm."""
        if self.baseline:
            return self.arm(self.baseline)
        return next(arm for arm in self.arms if arm.role == "baseline")

    def claims_of(self, arms: Sequence[Arm]) -> tuple[Claim, ...]:
        """The claims that concern only these arms; the default ones where the trial names none."""
        names = {arm.name for arm in arms}
        claims = tuple(Claim(*claim) for claim in self.claims)  # type: ignore[arg-type]
        if not claims:
            claims = tuple(
                Claim(arm.name, self.reference().name, self.metric, self.direction)
                for arm in self.arms
                if arm.role == "method"
            )
        return tuple(claim for claim in claims if {claim.arm, claim.baseline} <= names)

    def seeds(self, number: int = 0) -> tuple[int, ...]:
        """The seeds that count, that many of them; 0 is the trial's own number."""
        return tuple(range(self.first_seed, self.first_seed + (number or self.most_seeds)))

    def with_budget(self, budget: Budget | None) -> Trial:
        """The same trial at another budget; itself for None."""
        return self if budget is None else dataclasses.replace(self, budget=budget)
