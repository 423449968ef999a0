"""From the runs of a program to its verdict. Expected outputs are known here and nowhere else."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from pretrial.errors import UserError
from pretrial.sandbox import faults
from pretrial.sandbox.compare import Mode, same_output, same_value
from pretrial.sandbox.faults import Fault
from pretrial.sandbox.host import Ended, Worker
from pretrial.sandbox.inside import wire
from pretrial.sandbox.limits import Limits
from pretrial.sandbox.outcome import Outcome, TestResult, Verdict
from pretrial.sandbox.tests import Tests


@dataclass(frozen=True)
class Prepared:
    """What all the programs of a problem share.

    Attributes:
        digest: stands for the tests in the key of a verdict.
        sent: what the worker keeps of them; nothing for `stdin`, where a run gets its own input.
        expected_bytes: size of the expected outputs.
    """

    digest: str
    sent: bytes | None
    expected_bytes: int


@dataclass
class Trial:
    """One program on its way to a verdict."""

    worker: Worker
    program: str
    tests: Tests
    prepared: Prepared
    limits: Limits
    compare: Mode
    stop: bool
    opening: dict[str, Any] = field(init=False)
    results: list[bool] = field(default_factory=list)
    faults: dict[int, TestResult] = field(default_factory=dict)
    fault: Fault | None = None
    cpu: float = 0.0
    wall: float = 0.0

    def __post_init__(self) -> None:
        cap = max(self.limits.output_kb * 1024, 2 * self.prepared.expected_bytes)
        self.opening = self.job(report_bytes=cap)

    def start(self, heed: Callable[[Any], bool | None], following: Trial | None) -> Ended:
        """The one run of a program whose tests share a process.

        Args:
            heed: is told each message, see `Worker.run`.
            following: the trial that its worker is sure to be given next, if that is known.
        """
        job = None
        if following is not None and following.tests.kind != "stdin" and len(following.tests):
            job = following.opening, following.prepared.sent
        ended = self.worker.run(self.opening, self.prepared.sent, heed, job)
        self.count(ended)
        return ended

    def job(self, **more: Any) -> dict[str, Any]:
        """One run, as the worker reads it."""
        return {
            "kind": self.tests.kind,
            "program": self.program,
            "function": self.tests.function,
            "stop": self.stop,
            "token": secrets.token_hex(16),
            **self.limits.of_job(self.cpu, self.wall),
            "report_bytes": self.limits.output_kb * 1024,
            "output_bytes": self.limits.output_kb * 1024,
            **more,
        }

    def blame(self, fault: Fault) -> None:
        """Keep the first fault."""
        self.fault = self.fault or fault

    def add(self, fault: Fault | None) -> None:
        """Keep the result of the next test; None if it is right."""
        if fault is not None:
            self.blame(fault)
            if not self.stop:
                self.faults[len(self.results)] = fault.of_test()
        self.results.append(fault is None)

    def end(self, ended: Ended) -> None:
        """A run of all the tests is over: what is missing is the fault of how it ended."""
        if len(self.results) >= len(self.tests) or (self.fault is not None and self.stop):
            return
        never_began = self.fault is not None and self.fault.phase in ("compile", "load")
        self.add(self.fault if never_began else faults.cut_short(ended, self.limits))

    def count(self, ended: Ended) -> None:
        """Add up the time of a run."""
        self.cpu += ended.cpu
        self.wall += ended.wall

    def verdict(self) -> Verdict:
        """What came of it."""
        fault = self.fault
        if fault is None:
            assert self.results
            assert all(self.results)
            fault = Fault(Outcome.PASSED_TEST, "", "")
        return Verdict(
            fault.outcome,
            fault.subtype,
            fault.message,
            fault.line,
            tuple(self.results),
            self.cpu,
            self.wall,
            self.worker.isolation,
            fault.phase,
            self.tests.shares_process,
            self.faults,
        )


def _check(tests: Tests) -> None:
    for name, items in (("inputs", tests.inputs), ("outputs", tests.outputs)):
        if not isinstance(items, list | tuple):
            what = f"{type(items).__name__} {items!r:.40}"
            raise UserError(f"{name} of tests must be a tuple, one item a test, not the {what}")
    if len(tests.inputs) != len(tests.outputs):
        numbers = f"{len(tests.inputs)} inputs but {len(tests.outputs)} outputs"
        raise UserError(f"tests have {numbers}: give one output for each input")
    if tests.kind == "stdin":
        if not all(isinstance(text, str) for text in (*tests.inputs, *tests.outputs)):
            raise UserError("inputs and outputs of stdin tests must be text")
    elif not all(isinstance(arguments, list | tuple) for arguments in tests.inputs):
        raise UserError("each input of call tests must be the list of arguments of one call")


def judge(trial: Trial, following: Trial | None = None) -> Verdict:
    """Run a program on its tests and judge it.

    Args:
        trial: not begun yet.
        following: the trial that its worker is sure to be given next, if that is known.
    """
    if not len(trial.tests):
        return Verdict(Outcome.UNTESTED, message="the problem has no tests")
    if trial.tests.kind == "call":
        _calls(trial, following)
    elif trial.tests.kind == "stdin":
        _stdin(trial)
    else:
        _asserts(trial, following)
    return trial.verdict()


def prepare(tests: Tests) -> Prepared:
    """Pack the tests of a problem.

    Raises:
        UserError: inputs and outputs do not belong together, or are not of the kind's types.
    """
    parts = tests.parts
    if parts is None:
        _check(tests)
    inputs, outputs = wire.pack([*tests.inputs]), wire.pack([*tests.outputs])
    everything = wire.to_bytes([tests.kind, tests.function, tests.script, inputs, outputs])
    sent = None
    if tests.kind != "stdin":
        sent = wire.to_bytes({"inputs": inputs, "script": parts.script if parts else ""})
    if parts is not None:
        outputs = wire.pack([says.shown for says in parts.says])
    digest = hashlib.sha256(everything).hexdigest()
    return Prepared(digest, sent, len(wire.to_bytes(outputs)))


def _calls(trial: Trial, following: Trial | None) -> None:
    expected = trial.tests.outputs

    def heed(message: Any) -> bool:
        value = _returned(message)
        if len(trial.results) >= len(expected):
            return not _finished(message)
        if value is None:
            fault = faults.raised(message)
            if fault.phase == "test":
                trial.add(fault)
            else:
                trial.blame(fault)
            return fault.phase != "test" or trial.stop
        number = len(trial.results) + 1
        wanted = expected[number - 1]
        if same_value(value[0], wanted, trial.compare):
            trial.add(None)
            return False
        trial.add(faults.wrong(number, faults.shown(value[0]), faults.shown(wanted)))
        return trial.stop

    trial.end(trial.start(heed, following))


def _finished(message: Any) -> bool:
    """Whether a message says that the program came to its end; it may lie."""
    return isinstance(message, dict) and "d" in message


def _returned(message: Any) -> tuple[Any] | None:
    """The value in a message, in a tuple; None if it holds none."""
    if not isinstance(message, dict) or "v" not in message:
        return None
    try:
        return (wire.unpack(message["v"]),)
    except (ValueError, TypeError, RecursionError, OverflowError):
        return (wire.Opaque("malformed value"),)


def _stdin(trial: Trial) -> None:
    for number, (text, expected) in enumerate(
        zip(trial.tests.inputs, trial.tests.outputs, strict=True), start=1
    ):
        messages: list[Any] = []
        cap = max(trial.limits.output_kb * 1024, 2 * len(expected))
        ended = trial.worker.run(
            trial.job(stdin=text, output_bytes=cap),
            heed=messages.append,
        )
        trial.count(ended)
        fault = _stdin_fault(ended, messages, trial.limits)
        if fault is None:
            output = ended.output.decode("utf-8", "replace")
            if not same_output(output, expected, trial.compare):
                # An explicit exit with nothing printed is no answer at all.
                silent = not output.strip() and messages and not _finished(messages[0])
                fault = faults.left(0) if silent else faults.wrong(number, output, expected)
        trial.add(fault)
        if fault is not None:
            over = fault.subtype == "timeout" or fault.phase == "compile"
            if trial.stop or over or ended.reason == "lost":
                return


def _stdin_fault(ended: Ended, messages: list[Any], limits: Limits) -> Fault | None:
    message = messages[0] if messages else None
    if isinstance(message, dict) and ("e" in message or message.get("x")):
        return faults.raised(message)
    if ended.reason not in ("", "stopped") or ended.signal or ended.status:
        return faults.cut_short(ended, limits)
    return None


def _asserts(trial: Trial, following: Trial | None) -> None:
    """Compare the values that a script shows, and learn whether it got through what is left."""
    parts = trial.tests.parts
    assert parts is not None

    def heed(message: Any) -> bool:
        number = len(trial.results) + 1
        if number > len(parts):  # what follows can only spoil it
            fault = faults.raised(message)
            if fault.phase == "script":
                trial.add(_of_script(fault))
            return not _finished(message)
        value = _returned(message) if number <= len(parts.says) else None
        if value is not None:
            says = parts.says[number - 1]
            if says.holds(value[0]):
                trial.add(None)
                return False
            expected = says.words + faults.shown(says.shown)
            trial.add(faults.wrong(number, faults.shown(value[0]), expected))
            return trial.stop
        ended = _finished(message) and number > len(parts.says)
        right = ended and message["d"] == trial.opening["token"]
        fault = faults.raised(message)
        if not right and fault.phase in ("compile", "load"):
            trial.blame(fault)
        else:
            trial.add(None if right else _of_script(fault))
        return fault.phase != "test" or trial.stop

    trial.end(trial.start(heed, following))


def _of_script(fault: Fault) -> Fault:
    """What a fault is where it came from an assert script itself, not from a call in it."""
    if fault.phase != "script":
        return fault
    if fault.subtype == "AssertionError" and fault.line is None:
        # No line of the program is on the way.
        return Fault(Outcome.FAILED_TEST, "wrong_answer", fault.message)
    return replace(fault, phase="test")
