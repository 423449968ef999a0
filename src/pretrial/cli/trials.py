"""`pretrial trial` and `pretrial compare`."""

from __future__ import annotations

import dataclasses
import inspect
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pretrial import discover
from pretrial.api import data
from pretrial.cli import options
from pretrial.cli.holding import again, all_methods, at_scales, hold_and_write
from pretrial.compare import sequential
from pretrial.compare.engine import Placement
from pretrial.compare.kit.on_labels import ABILITIES, METRICS
from pretrial.compare.making import make_one
from pretrial.compare.setting import Setting
from pretrial.compare.started import Start
from pretrial.errors import UserError
from pretrial.train.budget import Budget

_LOOKED_AT = 200  # rows, for labels
_PLACES = ("--out", "--runs", "--on", "--workers")


@dataclass(frozen=True)
class TrialOptions:
    """How large the trial is, and where it runs.

    Attributes:
        seeds: of the last look, from 5 to 16; fewer decide nothing, 0 is the trial's own number.
        budget: of one arm with one seed, such as 10m, 300steps or 1e12flops; the trial's own
            without it.
        fields: where the data names its fields otherwise, pairs such as text=body.
        init: checkpoint that all arms start from, instead of the trial's own start.
        preset: size of all arms: tiny, small or base; the trial's own without it.
        lr: learning rate of all arms, which then do not choose one; 0 lets them choose.
        out: folder for the record and the page.
        runs: folder for the runs; a trial that was stopped goes on from it.
        on: local, or ray for a cluster that sees the folder of the runs.
        workers: processes at a time on this machine; 0 is one a core.
    """

    seeds: int = 0
    budget: str = ""
    fields: tuple[str, ...] = ()
    init: str = ""
    preset: Literal["", "tiny", "small", "base"] = ""
    lr: float = 0.0
    out: Path = Path("results")
    runs: Path = Path("runs/trials")
    on: Literal["local", "ray"] = "local"
    workers: int = 0

    def placement(self) -> Placement:
        """Where it runs."""
        return Placement(self.runs, self.on, self.workers)


@dataclass(frozen=True)
class ArmOptions:
    """Which arms run.

    Attributes:
        arms: names of arms, separated by commas; the baseline is always among them.
        all: every arm, with the ablations.
        scale: the method and its baseline alone, at a third, one and three times the budget.
    """

    arms: str = ""
    all: bool = False
    scale: bool = False


@dataclass(frozen=True)
class LabelOptions:
    """What methods side by side are asked.

    Attributes:
        labels: ask for the labels of the data, after fine-tuning (finetune) or by a linear
            classifier on frozen vectors (probe); no measures as the trial of the first method
            does. auto asks for labels where your data has some, and no --task is given.
    """

    labels: Literal["auto", "no", "probe", "finetune"] = "auto"


def trial(argv: Sequence[str]) -> dict[str, Any] | None:
    """Puts a method on trial; `--again FILE` and `--all-methods` hold those that have records.

    Returns:
        The record, where one trial was held.
    """
    for option, do in (("--again", again), ("--all-methods", all_methods)):
        if any(word.split("=")[0] == option for word in argv):
            do(argv)
            return None
    slug, rest = options.first_word(argv, "pretrial trial", "the slug of a method")
    loaded = discover.load(slug)
    if loaded.trial is None:
        raise UserError(f"{slug} has no trial of its own")
    parsed, given = _parse(f"pretrial trial {slug}", rest, loaded.trial, arms=ArmOptions)
    names = tuple(name for name in parsed.arms.arms.split(",") if name)
    setting = _setting((slug,), given, parsed.common)
    arms = setting.make().choose(names, parsed.arms.all)
    setting = dataclasses.replace(setting, arms=tuple(arm.name for arm in arms))
    place, command = parsed.common.placement(), _command("trial", argv)
    if parsed.arms.scale:
        at_scales(setting, place, parsed.common.out, command)
        return None
    return hold_and_write(setting, place, parsed.common.out, command)


def compare(argv: Sequence[str]) -> dict[str, Any]:
    """Sets methods of one ability side by side on the data, task and budget of the first.

    The options are those of the first method's trial; the others are given those that they take.
    """
    number = next((i for i, word in enumerate(argv) if word.startswith("-")), len(argv))
    slugs, rest = tuple(argv[:number]), argv[number:]
    if len(slugs) < 2 or len(set(slugs)) < len(slugs):
        raise UserError("pretrial compare needs two or more different methods: compare SLUG SLUG")
    lead = next((found for slug in slugs if (found := discover.load(slug)).trial), None)
    if lead is None or lead.trial is None:
        raise UserError(f"none of {', '.join(slugs)} has a trial: compare methods that have one")
    parsed, given = _parse("pretrial compare", rest, lead.trial, asked=LabelOptions)
    labels = parsed.asked.labels
    if labels == "auto":
        labels = _way_of(slugs, given, parsed.common, lead.trial, rest)
    setting = _setting(slugs, given, parsed.common, "" if labels == "no" else labels)
    place = parsed.common.placement()
    return hold_and_write(setting, place, parsed.common.out, _command("compare", argv))


def _parse(
    prog: str, argv: Sequence[str], function: Callable[..., Any], **more: type
) -> tuple[Any, dict[str, Any]]:
    """The parsed options, and those of them that are arguments of `trial()`."""
    own = options.from_signature(function, "Trial")
    made: Any = options.merge(common=TrialOptions, **more, trial=own)
    question = (inspect.getdoc(function) or "").split("\n")[0]
    parsed = options.parse(made, argv, prog=prog, description=question)
    return parsed, vars(parsed.trial)


def _way_of(
    slugs: Sequence[str],
    given: Mapping[str, Any],
    common: TrialOptions,
    function: Callable[..., Any],
    argv: Sequence[str],
) -> str:
    """How methods are asked for the labels of the user's data; "no" where they are not.

    The trial of the first method measures something else, the data has labels, and no --task says
    what is wanted.
    """
    default = inspect.signature(function).parameters.get("data")
    source = given.get("data")
    named = any(word.split("=")[0] == "--task" for word in argv)
    if default is None or not source or source == default.default or named:
        return "no"
    first = make_one(next(slug for slug in slugs if discover.load(slug).trial), given)
    rows = data.load(data.Source(source, common.fields, limit=_LOOKED_AT))
    labels = {str(row["label"]) for row in rows if row.get("label") is not None}
    if first.metric in METRICS or len(labels) < 2:
        return "no"
    for way in ("finetune", "probe"):
        if all(hasattr(discover.load(slug).method, ABILITIES[way]) for slug in slugs):
            print(
                f"{source} has labels, so they are asked for (--labels {way}); --labels no measures"
                f" {first.metric} instead"
            )
            return way
    return "no"


def _setting(
    slugs: tuple[str, ...], given: Mapping[str, Any], common: TrialOptions, labels: Any = ""
) -> Setting:
    if not 0 <= common.seeds <= sequential.MOST:
        raise UserError(
            f"--seeds is a number of seeds, {sequential.MOST} at most: looks are at"
            f" {', '.join(str(look.seeds) for look in sequential.LOOKS)}"
        )
    budget = Budget.parse(common.budget) if common.budget else None
    fields = data.renamed(data.Source((), common.fields)) or {}
    start = Start(common.init, common.preset, common.lr)
    setting = Setting(slugs, given, (), (), budget, fields, start, labels)
    if common.seeds:
        return dataclasses.replace(setting, seeds=setting.make().seeds(common.seeds))
    return setting


def _command(name: str, argv: Sequence[str]) -> str:
    """The command line without what says only where it ran."""
    words, skip = ["pretrial", name], False
    for word in argv:
        option, _, value = word.partition("=")
        if skip or option in _PLACES:
            skip = not skip and not value
        else:
            words.append(word)
    return shlex.join(words)
