"""The runner: many programs on a few workers, each program once."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from pretrial.errors import UserError
from pretrial.sandbox.apps import apps_outcome
from pretrial.sandbox.compare import Mode, check_mode
from pretrial.sandbox.faults import is_lost
from pretrial.sandbox.fingerprints import FINGERPRINT_BATCH, compile_batch, with_lines
from pretrial.sandbox.host import Worker
from pretrial.sandbox.isolation import check_level, start_best
from pretrial.sandbox.jobs import Job, Pair, limits_of, pairs_of
from pretrial.sandbox.judge import Prepared, Trial, judge, prepare
from pretrial.sandbox.kept import Kept
from pretrial.sandbox.limits import Limits
from pretrial.sandbox.outcome import Verdict
from pretrial.sandbox.packages import find_packages, names_of
from pretrial.sandbox.pool import Pool
from pretrial.sandbox.tests import Tests

RUNNER_VERSION = f"2/{sys.version_info.major}.{sys.version_info.minor}"
CACHE_SIZE = 1 << 16  # verdicts kept in memory, and faults of their tests
BUSY_SHARE = 0.8  # a timeout that used this share of its time on the processor is final


@dataclass
class Work:
    """One program to run, and the jobs that want its verdict."""

    program: str
    tests: Tests
    prepared: Prepared
    limits: Limits
    key: str
    lines: list[int] = field(default_factory=list)
    jobs: list[tuple[int, list[int]]] = field(default_factory=list)
    trial: Trial | None = None


class Runner:
    """Keeps workers and verdicts warm between calls of `run`. Use it as a context manager.

    Any number of threads may call `run` at the same time: they share the workers, in the order of
    their asking. A process that is forked with a runner gets workers of its own.

    Args:
        workers: processes that run programs; by default one per core this process may use, or its
            share of them.
        processes: processes of this machine that each have such a runner at the same time.
        isolation: "auto" takes the best of `namespaces` and `rlimits`; a named level is taken or
            refused. "none" runs programs with the user's own rights and has to be named.
        compare: "strict" or "apps", see `pretrial.sandbox.compare`.
        outcomes: "ours", or "apps" for the classes of the released APPS code, see
            `pretrial.sandbox.apps`.
        stop_at_first: end a program at its first test that goes wrong.
        preamble: statements run once in each worker; their names are there for every program.
        packages: names of packages that programs may import beside the standard library, with what
            these require. They are imported once in each worker, and their files can be read.
        hash_seed: by which Python hashes texts in programs, from 0 on.

    Raises:
        UserError: an argument is wrong, the isolation asked for is not to be had, or a package is
            not installed.
    """

    def __init__(
        self,
        *,
        workers: int | None = None,
        processes: int = 1,
        isolation: str = "auto",
        compare: Mode = "strict",
        outcomes: str = "ours",
        stop_at_first: bool = True,
        preamble: str = "",
        packages: Sequence[str] = (),
        hash_seed: int = 0,
    ) -> None:
        check_level(isolation)
        check_mode(compare)
        if outcomes not in ("ours", "apps"):
            raise UserError(f"outcomes must be 'ours' or 'apps', not {outcomes!r}")
        if workers is not None and workers < 1:
            raise UserError(f"workers must be at least 1, not {workers}")
        self.num_workers = workers or max(1, _num_cores() // processes)
        self.compare, self.outcomes, self.stop = compare, outcomes, stop_at_first
        self.preamble = preamble
        self._room: dict[str, Any] = {
            "packages": find_packages(names_of(packages)),
            "hash_seed": hash_seed,
        }
        first = start_best(isolation, preamble, **self._room)
        self.isolation = first.isolation
        self.closed, self._kept = False, Kept()
        self._own([first])

    def __enter__(self) -> Runner:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End the workers, for good."""
        self.closed = True
        for worker in self._workers:
            worker.close()

    def _own(self, started: Sequence[Worker] = ()) -> None:
        """Give this process workers of its own."""
        missing = self.num_workers - len(started)
        others = (Worker(self.isolation, self.preamble, **self._room) for _ in range(missing))
        self._process = os.getpid()
        self._workers = [*started, *others]
        self._pool = Pool(self._workers)
        self._kept.unlock()

    def run(
        self,
        jobs: Sequence[Job],
        limits: Limits | Sequence[Limits] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> list[Verdict]:
        """Judge programs.

        Args:
            jobs: (program, tests) pairs; a text in place of tests is an assert script.
            limits: for all, or one per job.
            progress: called with the numbers of programs judged and of all programs to run.

        Returns:
            One verdict per job, in the order of the jobs.
        """
        found = dict(self.judged(jobs, limits, progress))
        return [found[place] for place in range(len(found))]

    def judged(
        self,
        jobs: Sequence[Job],
        limits: Limits | Sequence[Limits] | None = None,
        progress: Callable[[int, int], None] | None = None,
        *,
        seconds: float | None = None,
    ) -> Iterator[tuple[int, Verdict]]:
        """Judge programs, and give each verdict as soon as it is known.

        Args:
            jobs, limits, progress: see `run`.
            seconds: after which no further verdict comes, and what still runs is ended.

        Yields:
            (place among the jobs, verdict), in no order.
        """
        if self._process != os.getpid():  # a fork: the workers it has inherited are its parent's
            self._own()
        pairs = pairs_of(jobs)
        each = limits_of(limits, len(pairs))
        until = None if seconds is None else time.monotonic() + seconds
        try:
            work = self._plan(pairs, each, until)
            todo = []
            for item in work:
                if (kept := self._kept.get(item.key)) is None:
                    todo.append(item)
                else:
                    yield from self._given(item, *kept, pairs)
            for done, (item, verdict) in enumerate(self._run(todo, until), start=1):
                if not is_lost(verdict):
                    self._kept.put(item.key, verdict, item.lines, CACHE_SIZE)
                if progress:
                    progress(done, len(todo))
                yield from self._given(item, verdict, item.lines, pairs)
        except TimeoutError:
            return

    def _run(self, todo: list[Work], until: float | None) -> Iterator[tuple[Work, Verdict]]:
        late: list[Work] = []
        for item, verdict in self._pool.spread(todo, self._judge, until=until):
            if _was_held_up(verdict, item.limits):
                late.append(item)
            else:
                yield item, verdict
        # What another process may have caused gets a second run, with no other beside it.
        yield from self._pool.spread(late, self._judge, alone=True, until=until)

    # --- planning ---

    def _plan(
        self, jobs: list[Pair], limits: list[Limits], until: float | None = None
    ) -> list[Work]:
        """Group by problem; programs with the same byte code are one piece of work."""
        prints = self._fingerprints(jobs, until)
        shared: dict[int, Prepared] = {}
        work: dict[str, Work] = {}
        for index, (program, tests) in enumerate(jobs):
            if id(tests) not in shared:
                shared[id(tests)] = prepare(tests)
            prepared = shared[id(tests)]
            code, lines = prints.get(program) or (_digest(program), [])
            options = (self.compare, self.stop, self.isolation, RUNNER_VERSION)
            key = prepared.digest + _digest((code, limits[index], options))
            item = work.setdefault(key, Work(program, tests, prepared, limits[index], key, lines))
            item.jobs.append((index, lines))
        return sorted(work.values(), key=lambda item: item.key)

    def _fingerprints(
        self, jobs: list[Pair], until: float | None
    ) -> dict[str, tuple[str, list[int]]]:
        """Hash and lines of the byte code of every program that may have a twin."""
        texts: dict[int, set[str]] = {}
        for program, tests in jobs:
            texts.setdefault(id(tests), set()).add(program)
        programs = sorted({text for group in texts.values() if len(group) > 1 for text in group})
        batches = [
            programs[start : start + FINGERPRINT_BATCH]
            for start in range(0, len(programs), FINGERPRINT_BATCH)
        ]
        found: dict[str, tuple[str, list[int]]] = {}
        for batch, messages in self._pool.spread(batches, compile_batch, until=until):
            for program, message in zip(batch, messages, strict=False):
                if isinstance(message, dict) and message.get("f"):
                    found[program] = (message["f"][0], message["f"][1])
        return found

    # --- running ---

    def _judge(self, worker: Worker, item: Work, following: Work | None) -> Verdict:
        trial = item.trial or self._trial(worker, item)
        item.trial = None  # a second try is a new one
        if following is not None:
            following.trial = self._trial(worker, following)
        return judge(trial, following.trial if following else None)

    def _trial(self, worker: Worker, item: Work) -> Trial:
        shared = item.prepared, item.limits, self.compare, self.stop
        return Trial(worker, item.program, item.tests, *shared)

    # --- the cache ---

    def _given(
        self, item: Work, verdict: Verdict, lines: list[int], pairs: list[Pair]
    ) -> Iterator[tuple[int, Verdict]]:
        """A verdict for each job that wants it; `lines` are those of the program that was run."""
        for index, own_lines in item.jobs:
            own = with_lines(verdict, lines, own_lines)
            if self.outcomes == "apps":
                program, tests = pairs[index]
                own = replace(own, outcome=apps_outcome(own, tests, program))
            yield index, own


def run_programs(
    jobs: Sequence[Job],
    *,
    limits: Limits | Sequence[Limits] | None = None,
    workers: int | None = None,
    isolation: str = "auto",
    compare: Mode = "strict",
    outcomes: str = "ours",
    stop_at_first: bool = True,
    preamble: str = "",
    packages: Sequence[str] = (),
    progress: Callable[[int, int], None] | None = None,
) -> list[Verdict]:
    """Judge (program, tests) pairs; one verdict per pair, in order. See `Runner` and its `run`.

    [verdict] = run_programs([("def add(a, b): return a + b", "assert add(1, 2) == 3")])
    """
    with Runner(
        workers=workers,
        isolation=isolation,
        compare=compare,
        outcomes=outcomes,
        stop_at_first=stop_at_first,
        preamble=preamble,
        packages=packages,
    ) as runner:
        return runner.run(jobs, limits, progress)


@dataclass(frozen=True)
class Differences:
    """How much the verdicts depend on the way of comparing.

    Attributes:
        num_programs: all of them.
        strict_passed, apps_passed: how many pass.
        different: the places, in the list of jobs, whose verdicts differ.
    """

    num_programs: int
    strict_passed: int
    apps_passed: int
    different: tuple[int, ...]


def compare_modes(jobs: Sequence[Job], **options: Any) -> Differences:
    """Judge programs with both ways of comparing; `options` as for `run_programs`."""
    strict = run_programs(jobs, **options, compare="strict")
    apps = run_programs(jobs, **options, compare="apps")
    pairs = enumerate(zip(strict, apps, strict=True))
    return Differences(
        len(strict),
        sum(verdict.passed for verdict in strict),
        sum(verdict.passed for verdict in apps),
        tuple(place for place, (one, other) in pairs if one.passed != other.passed),
    )


def _num_cores() -> int:
    """Cores this process may use; macOS does not say."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _was_held_up(verdict: Verdict, limits: Limits) -> bool:
    """May something else be to blame?

    A program that lost its worker, which others can end as well; and where time is by the clock,
    one that ran out of it without having had the processor for most of it.
    """
    by_clock = sys.platform != "linux"
    waited = by_clock and verdict.cpu_seconds < BUSY_SHARE * limits.seconds
    return (verdict.subtype == "timeout" and waited) or is_lost(verdict)


def _digest(value: object) -> str:
    return hashlib.sha256(repr(value).encode("utf-8", "backslashreplace")).hexdigest()
