"""Scores of programs, each as soon as it is known; a failure of the sandbox is never a zero."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence

from pretrial.rewards.items import Item
from pretrial.rewards.scoring import Mode, Scored, value_of
from pretrial.sandbox import Limits, Outcome, Runner, Verdict
from pretrial.sandbox.faults import is_lost
from pretrial.sandbox.host import RefusedError
from pretrial.sandbox.tests import Tests

_TRIES = 2  # of what lost its worker; within each, a runner tries twice
_FAILURES = 6  # of starting workers, before nothing is hoped for
_PAUSE = 0.1  # seconds after the first of them; doubled each time
_NO_PROGRAM = Verdict(
    Outcome.COMPILE_ERROR, "no_program", "the completion holds no Python program", phase="compile"
)
_numbers = itertools.count()


def judged(
    runner: Runner, items: Sequence[Item], limits: Limits, mode: Mode, until: float
) -> Iterator[tuple[int, Scored]]:
    """Score programs.

    A worker that ends with its program is tried again. If that program alone loses one again and
    again, while an honest one beside it does not, the program has done it, and fails. Where the
    honest one is lost too, the machine is to blame and nothing is known.

    Args:
        runner: which stops at the first fault only if that decides the reward.
        items: programs and their tests.
        limits: of each.
        mode: see `value_of`.
        until: when to give up, by `time.monotonic`.

    Yields:
        (place, score), one for each item, in no order.
    """
    left = {}
    for place, item in enumerate(items):
        if item.program is None:
            yield place, _scored(item, _NO_PROGRAM, mode)
        else:
            left[place] = item
    reason = "the sandbox failed"
    lost: dict[int, Verdict] = {}
    tries = failures = 0
    while left and tries < _TRIES and failures < _FAILURES and time.monotonic() < until:
        places = [*left]
        jobs = [(left[place].program or "", left[place].tests) for place in places]
        witness = len(jobs) if tries else None
        if witness is not None:
            jobs.append(_witness())
        healthy, lost = False, {}
        try:
            for number, verdict in runner.judged(jobs, limits, seconds=until - time.monotonic()):
                if number == witness:
                    healthy = verdict.passed
                elif is_lost(verdict):
                    lost[places[number]] = verdict
                else:
                    place = places[number]
                    yield place, _scored(left.pop(place), verdict, mode)
        except (OSError, EOFError, RefusedError) as error:  # a worker could not be started
            reason = f"the sandbox failed: {error or type(error).__name__}"
            if runner.closed:
                break
            time.sleep(max(0.0, min(_PAUSE * 2**failures, until - time.monotonic())))
            failures += 1
            continue
        tries += 1
        if witness is not None and healthy and time.monotonic() < until:
            for place in lost:
                yield place, _scored(left.pop(place), lost[place], mode)
    late = time.monotonic() >= until
    for place, item in left.items():
        words = lost[place].message if place in lost else reason
        words = "the deadline came before its verdict" if late else words
        yield place, Scored(None, words, item.program)


def _witness() -> tuple[str, Tests]:
    """An honest program, of another text each time, so that no kept verdict answers for it."""
    text = f"# {next(_numbers)}\ndef add(a, b):\n    return a + b\n"
    return text, Tests("call", "add", ([1, 2],), (3,))


def _scored(item: Item, verdict: Verdict, mode: Mode) -> Scored:
    tests = verdict.trace(len(item.tests))
    # a script that raises after its last test fails as a whole, and so it does here
    value = value_of(tests, mode, item.weights)
    if mode == "all":
        value = float(verdict.passed)
    return Scored(value, "", item.program, verdict, tests)
