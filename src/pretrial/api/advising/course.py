"""All tries within the time that was given, some processes at a time; stopped, it goes on."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pretrial.api import data
from pretrial.api.advising.choosing import Try, choose
from pretrial.api.advising.looking import Looked, look
from pretrial.api.advising.trying import RESULT
from pretrial.api.advising.weighing import Advice, Series, series_of, weigh
from pretrial.compare.forks import variables
from pretrial.environment import cores
from pretrial.errors import UserError
from pretrial.files import write_whole

PLAN, LOG = "plan.json", "log.txt"
_RESERVE = 15.0  # seconds for the page, and for tries that take a little longer
_PAGE = 12.0  # seconds of it
_LEAST_MINUTES = 1.0
_LEAST_LABELS = 20
_LEAST_EPOCHS = 1.5  # over all labels, with a checkpoint
_LARGEST_RATIO = 0.5  # of the time of a try, for the largest number of labels
_THREE_SIZES = 6.0  # minutes from which on there are three numbers of labels


@dataclass(frozen=True)
class Question:
    """A question to data, with the time for its answer.

    Attributes:
        source: the data.
        test: rows to be tested on; "" sets some aside.
        label: field of the label; "" is `label`.
        minutes: in all, on all cores of this machine.
        methods: slugs to try; none are those that fit.
        workers: processes at a time; 0 is one a core.
    """

    source: data.Source
    test: str = ""
    label: str = ""
    minutes: float = 10.0
    methods: tuple[str, ...] = ()
    workers: int = 0

    def __post_init__(self) -> None:
        if not self.minutes >= _LEAST_MINUTES:
            raise UserError(f"--minutes is at least {_LEAST_MINUTES:g}, not {self.minutes:g}")

    @property
    def folder_name(self) -> str:
        """Tells this question from others."""
        options = {k: v for k, v in dataclasses.asdict(self).items() if k != "workers"}
        files = [_state(Path(name)) for name in (*self.source.data, self.test) if name]
        text = json.dumps([options, files], sort_keys=True, default=str)
        stem = re.sub(r"\W+", "-", Path(self.source.data[0]).stem or "data").strip("-")
        return f"{stem}-{hashlib.blake2b(text.encode(), digest_size=3).hexdigest()}"


def _state(path: Path) -> list[int]:
    return [path.stat().st_size, path.stat().st_mtime_ns] if path.exists() else []


@dataclass
class Course:
    """A question as it is answered.

    Attributes:
        question: to be answered.
        looked: the data.
        tries: what is tried, in this order.
        sizes: numbers of labels, the largest first.
        seconds: of each try.
        folder: of all of it.
        results: of the tries, by name, as far as there are any.
        failed: by name, why a try gave nothing.
    """

    question: Question
    looked: Looked
    tries: Sequence[Try]
    sizes: Sequence[int]
    seconds: float
    folder: Path
    results: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    def series(self) -> list[Series]:
        """What everything reached."""
        return [
            series
            for one in self.tries
            for series in series_of(one, self.results.get(one.name, {}))
        ]

    def advice(self) -> Advice:
        """What to take.

        Raises:
            UserError: there was not even time for what needs no training.
        """
        found = self.series()
        if not any(each.floor and self.sizes[0] in each.items for each in found):
            raise UserError(
                "there was no time for anything: give more --minutes; the same command goes on"
            )
        return weigh(found, self.sizes[0], self.looked.labelled)

    def commands(self) -> list[str]:
        """The commands that make what is advised, where training does."""
        take = self.advice().take
        one = next((one for one in self.tries if one.label == take), None)
        if one is None or one.way not in ("finetune", "nll") or not (one.slug or one.init):
            return []
        source = self.question.source
        names = [f"label={self.question.label}"] if self.question.label not in ("", "label") else []
        fields = [*source.fields, *names]
        data = ["--data", *source.data, *(["--fields", *fields] if fields else [])]
        made, start = [], one.init
        if one.slug:
            out = f"runs/{one.slug}"
            init = ["--init", one.init] if one.init else []
            made.append(shlex.join(["pretrial", "train", one.slug, *data, *init, "--out", out]))
            start = out
        if one.way == "finetune":
            tuned = ["pretrial", "finetune", start, *data, "--out", "runs/finetuned"]
            made.append(shlex.join(tuned))
        return made

    def folder_of(self, one: Try) -> Path:
        """Where a try works."""
        return self.folder / one.name


def advise(
    question: Question, out: Path, say: Callable[[str], None], began: float | None = None
) -> Course:
    """Looks at data and tries what fits it, within the time.

    Args:
        question: to be answered.
        out: folder that holds a folder a question.
        say: is told what was found, line by line.
        began: `time.monotonic()` when the time began; by default now.

    Raises:
        UserError: the data cannot be used, or a method is not known.
    """
    began = time.monotonic() if began is None else began
    looked = look(question.source, question.test, question.label)
    for text in (*looked.facts, *(f"Beware: {text}" for text in looked.warnings)):
        say(text)
    course = _planned(question, looked, out / question.folder_name, began, say)
    for one in course.tries:
        say(f"  {one.label}: {one.why}")
    left = [one for one in course.tries if not _known(course, one)]
    if len(left) < len(course.tries):
        say(f"{len(course.tries) - len(left)} of these are known from before.")
    if left:
        end = began + 60 * question.minutes
        _run(course, left, end - min(_PAGE, 6 * question.minutes), say)
    return course


def _planned(
    question: Question, looked: Looked, folder: Path, began: float, say: Callable[[str], None]
) -> Course:
    """The plan of before where there is one, else a new one."""
    path = folder / PLAN
    if path.exists():
        plan = json.loads(path.read_text())
    else:
        tries = choose(looked, question.minutes, question.methods)
        needed = 0.0 if question.methods else _needed(tries, looked)
        wall = 60 * question.minutes - (time.monotonic() - began) - _RESERVE
        workers = question.workers or cores()
        tries = fewer(tries, needed, lambda left: seconds_each(left, wall, workers), say)
        plan = {
            "tries": [dataclasses.asdict(one) for one in tries],
            "sizes": sizes_of(looked, question.minutes),
            "seconds": round(seconds_each(tries, wall, workers), 1),
        }
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(plan, indent=1) + "\n")
    tries = [Try(**one) for one in plan["tries"]]
    return Course(question, looked, tries, plan["sizes"], plan["seconds"], folder)


def seconds_each(tries: Sequence[Try], wall: float, workers: int) -> float:
    """Seconds of a try, where all have as many and so many run at a time."""
    heavy = sum({"floor": 0.0, "vectors": 0.5}.get(one.way, 1.0) for one in tries)
    return max(0.93 * wall / max(1, math.ceil(heavy / workers)), 1.0)


def fewer(
    tries: Sequence[Try],
    needed: float,
    seconds: Callable[[Sequence[Try]], float],
    say: Callable[[str], None],
) -> list[Try]:
    """The tries without as many methods, the last first, as leaves each the time that is needed.

    Args:
        tries: those that fit.
        needed: seconds without which a try tells nothing.
        seconds: that each has, of those that are left.
        say: is told what is left out.
    """
    left = list(tries)
    for slug in reversed(list(dict.fromkeys(one.slug for one in tries if one.slug))):
        if seconds(left) >= needed:
            break
        left = [one for one in left if one.slug != slug]
        say(f"Left out, so that the others have time to learn: {slug}; --methods {slug} tries it.")
    return left


def _needed(tries: Sequence[Try], looked: Looked) -> float:
    """Seconds that the checkpoint needs for what a try should learn at least; 0 where none is."""
    one = next((one for one in tries if one.way == "finetune" and not one.slug), None)
    if one is None:
        return 0.0
    from pretrial.api.advising.tuning import Tuning
    from pretrial.api.opening import open_model

    tuning = Tuning(open_model(one.init).load(), looked, from_checkpoint=True)
    return tuning.seconds_for(len(looked.learn), _LEAST_EPOCHS) / _LARGEST_RATIO


def sizes_of(looked: Looked, minutes: float) -> list[int]:
    """Numbers of labels to learn from, the largest first; of texts without labels all texts."""
    if not looked.labelled:
        return [len(looked.train)]
    most = len(looked.learn)
    least = max(_LEAST_LABELS, 2 * len(looked.classes))
    parts = (3, 9) if minutes >= _THREE_SIZES else (5,)
    return [most, *(most // part for part in parts if most // part >= least)]


def _known(course: Course, one: Try) -> bool:
    """Takes over what a try gave before; whether it is at its end."""
    path = course.folder_of(one) / RESULT
    if not path.exists():
        return False
    course.results[one.name] = json.loads(path.read_text())
    return bool(course.results[one.name].get("done"))


def _run(course: Course, left: Sequence[Try], deadline: float, say: Callable[[str], None]) -> None:
    """Runs tries until all are done or the time is over; what they have reached by then counts."""
    waiting, running = list(left), dict[str, tuple[Try, subprocess.Popen[bytes], float]]()
    workers, total = course.question.workers or cores(), len(course.tries)
    try:
        while (waiting or running) and time.monotonic() < deadline:
            while waiting and len(running) < workers:
                one = waiting.pop(0)
                running[one.name] = one, _start(course, one), time.monotonic()
            for one, process, started in list(running.values()):
                if process.poll() is None:
                    continue
                del running[one.name]
                _note(course, one, process.returncode)
                done = total - len(waiting) - len(running)
                seconds = time.monotonic() - started
                say(f"{done}/{total}  {_told(course, one)}  ({seconds:.0f} s)")
            time.sleep(0.1)
        for one, process, _ in running.values():
            process.kill()
            process.wait()
            _note(course, one, 0)
            say(f"time is over: {_told(course, one)}")
        for one in waiting:
            course.failed[one.name] = "no time was left"
    except KeyboardInterrupt:
        for _, process, _ in running.values():
            process.terminate()  # it saves what it has trained
        for _, process, _ in running.values():
            process.wait()
        raise UserError("stopped; run the same command again to go on") from None


def _start(course: Course, one: Try) -> subprocess.Popen[bytes]:
    """Starts the process of a try."""
    folder, asked = course.folder_of(one), course.question
    folder.mkdir(exist_ok=True)
    work = {
        "try": dataclasses.asdict(one),
        "source": dataclasses.asdict(asked.source),
        "test": asked.test,
        "label": asked.label,
        "sizes": list(course.sizes),
        "seconds": course.seconds,
    }
    write_whole(folder / "try.json", json.dumps(work) + "\n")
    with (folder / LOG).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "pretrial.api.advising.trying", str(folder)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=variables(),
            start_new_session=True,
        )


def _note(course: Course, one: Try, code: int) -> None:
    """Keeps what a try gave, or why it gave nothing."""
    if (course.folder_of(one) / RESULT).exists():
        _known(course, one)
    if code and not course.results.get(one.name, {}).get("done"):
        log = (course.folder_of(one) / LOG).read_text(errors="replace")
        lines = [line for line in log.splitlines() if line.strip()]
        course.failed[one.name] = lines[-1].removeprefix("pretrial: ") if lines else f"code {code}"
    elif not course.results.get(one.name, {}).get("series"):
        course.failed[one.name] = "the time was over before anything was measured"


def _told(course: Course, one: Try) -> str:
    """What a try reached with most labels, in a line."""
    found = series_of(one, course.results.get(one.name, {}))
    name = "accuracy" if course.looked.labelled else "bits per byte"
    told = [
        f"{each.label}: {name} {each.at(max(each.items)).value:.3f}" for each in found if each.items
    ]
    if one.name in course.failed:
        told.append(f"{one.label}: nothing ({course.failed[one.name]})")
    return ", ".join(told)
