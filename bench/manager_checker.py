"""A checker of programs in the way of RL trainers: a process and a manager for each program.

Trainers such as verl judge a completion by starting a `multiprocessing.Manager` for its list of
results and a process that runs the program in its own interpreter under an alarm, and kill the
process when the time is over. This is that way, written anew from its description, to be timed.
"""

from __future__ import annotations

import contextlib
import io
import multiprocessing
import signal
from typing import Any

_FORK = multiprocessing.get_context("fork")
_GRACE = 1.0  # seconds beyond the limit until the process is killed


def passes(program: str, script: str, seconds: float) -> bool:
    """Whether the tests of a script pass after the program; False when time is over."""
    with _FORK.Manager() as manager:
        found = manager.list()
        process = _FORK.Process(target=_run, args=(program, script, seconds, found))
        process.start()
        process.join(seconds + _GRACE)
        if process.is_alive():
            process.kill()
            process.join()
        return bool(found and found[0])


def _run(program: str, script: str, seconds: float, found: Any) -> None:
    def over(*_: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    names: dict[str, Any] = {"__name__": "program"}
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            exec(compile(program, "program", "exec"), names)  # what is timed
            exec(compile(script, "tests", "exec"), names)
        found.append(True)
    except BaseException:  # a program may raise anything
        found.append(False)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
