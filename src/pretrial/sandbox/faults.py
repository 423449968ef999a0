"""What may go wrong with a program, in the words of its verdict."""

from __future__ import annotations

import signal
from dataclasses import dataclass
from typing import Any

from pretrial.sandbox.host import Ended
from pretrial.sandbox.limits import Limits
from pretrial.sandbox.outcome import Outcome, TestResult, Verdict

LOST = "the worker ended with the program"  # how the message of such a verdict begins
SHOWN = 200  # characters of a wrong answer that a message quotes


@dataclass
class Fault:
    """The first thing that went wrong."""

    outcome: Outcome
    subtype: str
    message: str
    line: int | None = None
    phase: str = ""

    def of_test(self) -> TestResult:
        """It as what came of one test."""
        return TestResult(self.outcome, self.subtype, self.message, self.line)


def wrong(number: int, got: str, expected: str) -> Fault:
    """A wrong answer to the test of that number, 1-based."""
    got, expected = (
        text if len(text) <= SHOWN else text[:SHOWN] + "..." for text in (got, expected)
    )
    message = f"test {number}: got {got.rstrip()}, expected {expected.rstrip()}"
    return Fault(Outcome.FAILED_TEST, "wrong_answer", _plain(message, 1000))


def shown(value: Any) -> str:
    """A value as a message quotes it."""
    try:
        return repr(value)
    except ValueError:  # Python refuses to print integers of more than 4,300 digits
        return "a very large integer"
    except RecursionError:
        return "a value that is nested too deeply"


def raised(message: Any) -> Fault:
    """The fault a message tells of. The message may be forged, which can only harm its program."""
    if isinstance(message, dict) and "x" in message:
        return left(message["x"])
    try:
        phase, name, text, line = message["e"]
        subtype = "memory" if name == "MemoryError" else _plain(name, 100)
        line = line if isinstance(line, int) else None
    except (TypeError, KeyError, ValueError):
        return Fault(Outcome.RUNTIME_ERROR, "exit", "the program wrote to the runner's pipe")
    outcome = Outcome.COMPILE_ERROR if phase == "compile" else Outcome.RUNTIME_ERROR
    return Fault(outcome, subtype, _plain(text, 500), line, _plain(phase, 10))


def _plain(text: Any, length: int) -> str:
    """Text from a program, of bounded length and without halves of characters."""
    return _text(text)[:length].encode("utf-8", "replace").decode()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else shown(value)


def is_lost(verdict: Verdict) -> bool:
    """Whether the worker ended with the program, which others can have done as well."""
    return verdict.subtype == "signal" and verdict.message.startswith(LOST)


def left(status: Any) -> Fault:
    """The fault of a program that ended itself before its answer."""
    text = f"exit status {_plain(status, 20)}, before the answer"
    return Fault(Outcome.RUNTIME_ERROR, "exit", text)


def cut_short(ended: Ended, limits: Limits) -> Fault:
    """The fault of a run that did not report its end."""
    killed_for_cpu = ended.signal == signal.SIGXCPU or (
        ended.signal == signal.SIGKILL and ended.cpu >= limits.cpu_seconds
    )
    if ended.reason == "timeout" or killed_for_cpu:
        return Fault(Outcome.RUNTIME_ERROR, "timeout", f"no answer within {limits.seconds:g} s")
    if ended.reason == "output_limit":
        text = f"more than {limits.output_kb} KiB of output"
        return Fault(Outcome.RUNTIME_ERROR, "output_limit", text)
    if ended.reason == "lost":
        return Fault(Outcome.RUNTIME_ERROR, "signal", f"{LOST}: {ended.words}")
    if ended.signal:
        name = signal.strsignal(ended.signal) or str(ended.signal)
        return Fault(Outcome.RUNTIME_ERROR, "signal", name)
    return left(ended.status)
