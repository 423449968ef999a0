"""Trials that are held, written down, and held again: what `pretrial trial` does with records."""

from __future__ import annotations

import dataclasses
import shutil
import signal
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pretrial import discover
from pretrial.cli import options
from pretrial.compare import attempts, sequential
from pretrial.compare import record as records
from pretrial.compare.engine import Placement, hold
from pretrial.compare.jobs import StoppedError
from pretrial.compare.numbers import interval_of
from pretrial.compare.ranking import floors, headline, recommendation
from pretrial.compare.report.words import explain
from pretrial.compare.setting import Setting, check_init
from pretrial.compare.started import start_of
from pretrial.environment import commit
from pretrial.errors import UserError
from pretrial.files import disk_explained
from pretrial.train.budget import Budget

_AGAIN = Path("runs/again")
_SCALES = (1 / 3, 1.0, 3.0)


@dataclass(frozen=True)
class RepeatOptions:
    """A record that is run again from nothing, and compared with what comes out.

    Attributes:
        again: the record.
        out: folder for the new record and its page.
        on: local, or ray.
        workers: processes at a time on this machine; 0 is one a core.
    """

    again: Path
    out: Path = Path("results")
    on: Literal["local", "ray"] = "local"
    workers: int = 0


@dataclass(frozen=True)
class AllOptions:
    """All trials whose record is missing, or older than the code of its methods.

    Attributes:
        all_methods: hold them.
        hours: to stop after; the same command goes on. 0 is no limit.
        out: folder of the records.
        runs: folder for the runs.
        workers: processes at a time on this machine; 0 is one a core.
    """

    all_methods: bool = False
    hours: float = 0.0
    out: Path = Path("results")
    runs: Path = Path("runs/trials")
    workers: int = 0


def hold_and_write(
    setting: Setting, placement: Placement, out: Path, command: str
) -> dict[str, Any]:
    """Holds a trial, writes its record and its page, and says how it came out.

    Raises:
        UserError: as `hold`, or a folder cannot be written, which is found before the work.
    """
    from pretrial.compare.report.so_far_page import ProvisionalPage
    from pretrial.compare.report.trial_page import trial_page

    if placement.workers < 0:
        raise UserError("--workers is a number of processes, such as 2, or 0 for one a core")
    if setting.start.init:
        check_init(setting)
    _check_writable(placement.runs, "--runs")
    _check_writable(out, "--out")
    provisional = ProvisionalPage(out / "pages")
    try:
        with disk_explained(placement.runs):
            record = hold(setting, placement, command, provisional.renew)
    except BaseException:
        provisional.stop()
        raise
    with disk_explained(out):
        before = out / f"{record['slug']}.json"
        superseded = records.read(before) if before.exists() else None
        attempts.add(attempts.attempt(record, superseded), out)
        path = records.write(record, out)
        page = trial_page(record).write(out / "pages" / f"{record['slug']}.html")
    print("\n".join(summary(record)))
    print(f"record {path}, page {page}")
    return record


def _check_writable(folder: Path, option: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"written?" * 1024)
    except OSError as error:
        raise UserError(
            f"nothing can be written in {folder} ({error.strerror}): mend that, or give another"
            f" folder with {option}"
        ) from error


def summary(record: Mapping[str, Any]) -> list[str]:
    """The outcome in a few lines; of a comparison first whether anything beats the floor."""
    lines = ["", record["question"]]
    if record["kind"] == "comparison" and (told := headline(record)):
        lines.append(told)
    for arm, mean in _best_first(record):
        where = ", the floor" if arm["name"] in floors(record) else ""
        lines.append(f"  {arm['label']:<32} {record['metric']} {mean:.4g}{where}")
    for claim in record["claims"]:
        interval = interval_of(claim["difference"])
        text = f"  {claim['arm']} - {claim['baseline']}, {claim['metric']}: {interval}"
        lines.append(f"{text}: {claim['verdict']} ({claim['seeds']} seeds)")
    lines += explain(record)
    if record["kind"] == "comparison":
        lines.append(recommendation(record))
    return lines


def _best_first(record: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], float]]:
    """Arms with their mean: as they stand in a trial, the best first in a comparison."""
    found = []
    for arm in record["arms"]:
        values = arm["metrics"][record["metric"]]
        found.append((arm, sum(values) / len(values)))
    if record["kind"] == "comparison":
        found.sort(key=lambda pair: pair[1], reverse=record["direction"] == "higher")
    return found


def again(argv: Sequence[str]) -> None:
    """Holds the trial of a record from nothing, and says what came out otherwise."""
    parsed = options.parse(RepeatOptions, argv, prog="pretrial trial")
    old = records.read(parsed.again)
    setting = Setting.from_json(old["setting"])
    require_known(old, setting)
    new = hold_and_write(
        setting, Placement(_AGAIN, parsed.on, parsed.workers), parsed.out, old["command"]
    )
    shutil.rmtree(_AGAIN / setting.lead)  # so that the next time is no mere look-up
    changes = records.changes(old, new)
    print("\n".join(changes) if changes else "every metric and verdict is as it was")


def require_known(record: Mapping[str, Any], setting: Setting) -> None:
    """Checks that a record's trial is still asked in this way.

    Raises:
        UserError: an option or an arm is gone; it names the commit that has them.
    """
    try:
        trial = setting.make()
        for name in setting.arms:
            trial.arm(name)
    except UserError as error:
        raise UserError(
            f"{error}. The trial was set up anew since this record was made, at commit"
            f" {', '.join(record['commits'])}; `pretrial trial {setting.lead}` holds today's"
        ) from error


def all_methods(argv: Sequence[str]) -> None:
    """Holds the trials whose records are stale, the shortest first, until the time is over.

    Raises:
        UserError: files differ from the commit, so that every record would be provisional.
    """
    parsed = options.parse(AllOptions, argv, prog="pretrial trial")
    if commit().endswith("+"):
        raise UserError("files differ from the commit, so records would be provisional: commit")
    left = stale(parsed.out)
    print(f"{len(left)} trials to hold: {', '.join(name for name, _ in left) or 'none'}")
    failed = []
    with _until(parsed.hours):
        for name, setting in left:
            command = f"pretrial trial {_words(parsed.out / f'{name}.json', setting)}"
            try:
                hold_and_write(setting, Placement(parsed.runs, "local", parsed.workers),
                               parsed.out, command)  # fmt: skip
            except StoppedError:  # by Ctrl-C or the time limit: the next trial is not begun
                raise
            except UserError as error:
                failed.append(f"{name}: {error}")
                print(failed[-1], flush=True)
    if failed:
        raise UserError("; ".join(failed))


def stale(folder: Path) -> list[tuple[str, Setting]]:
    """Trials without a record, and those whose record another code or setting made; shortest first.

    Each with the name of its record and what makes it: of a record its options, with the seeds,
    the arms and the budget of today.
    """
    found = {r["slug"]: r for r in records.read_all(folder) if r["kind"] == "trial"}
    for slug in discover.methods():
        if discover.load(slug).trial is not None:
            found.setdefault(
                slug, {"wall_seconds": 0.0, "setting": {"slugs": [slug], "options": {}}}
            )
    left = []
    for name, record in sorted(found.items(), key=lambda item: item[1]["wall_seconds"]):
        setting = Setting(
            tuple(record["setting"]["slugs"]),
            _options(name, record),
            fields=dict(record["setting"].get("fields", {})),
            start=start_of(record["setting"]),
        )
        if record.get("provisional", True) or record["code"] != setting.code(setting.make()):
            left.append((name, setting))
    return left


def _options(name: str, record: Mapping[str, Any]) -> Mapping[str, Any]:
    """The options that a record's trial is held with.

    Of one that was made by the rules of before, only the option that tells a method's trials apart:
    the others are the defaults of then.
    """
    options: Mapping[str, Any] = record["setting"]["options"]
    if record.get("code"):
        return options
    slugs = tuple(record["setting"]["slugs"])
    for chosen in ({key: value} for key, value in options.items()):
        try:
            trial = Setting(slugs, chosen).make()
        except UserError:  # it has no such option any more
            continue
        if trial.name and name == f"{slugs[0]}-{trial.name}":
            return chosen
    return {}


def _words(path: Path, setting: Setting) -> str:
    """What stands after `pretrial trial` to hold the trial of a record, or of a method without."""
    if path.exists() and records.read(path)["code"]:
        return f"--again {path}"  # whose options are not those of today's default
    options = (f"--{name.replace('_', '-')} {value}" for name, value in setting.options.items())
    return " ".join([setting.lead, *options])


@contextmanager
def _until(hours: float) -> Iterator[None]:
    """Stops what runs inside, as Ctrl-C does, after so many hours."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, 3600 * hours)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def at_scales(setting: Setting, placement: Placement, out: Path, command: str) -> None:
    """Holds the primary pair at a third, one and three times the budget, and writes a page of it.

    Raises:
        UserError: as `hold`; or the trial has no claim.
    """
    from pretrial.compare.report.scale_page import scale_page

    trial = setting.make()
    claims = trial.claims_of(trial.choose(setting.arms))
    if not claims:
        raise UserError("--scale needs a method and its baseline: leave --arms out")
    seeds = setting.seeds or trial.seeds(sequential.FEWEST)
    made = []
    for factor in _SCALES:
        budget = Budget(trial.budget.amount * factor, trial.budget.unit)
        print(f"at {factor:.2g} times the budget", flush=True)
        at = dataclasses.replace(setting, budget=budget, arms=claims[0][:2], seeds=seeds)
        made.append(hold(at, placement, command))
        print("\n".join(summary(made[-1])), flush=True)
    page = scale_page(made)
    path = page.write(out / "pages" / f"{made[0]['slug']}-scale.html")
    print(f"page {path}")
