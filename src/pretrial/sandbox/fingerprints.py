"""Programs with the same byte code: they are judged once, and lines of one are those of another."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pretrial.sandbox.host import Worker
from pretrial.sandbox.limits import Limits
from pretrial.sandbox.outcome import Verdict

FINGERPRINT_BATCH = 64  # programs compiled in one process


def compile_batch(worker: Worker, programs: list[str], _: Any) -> list[Any]:
    """One message per program, fewer if the compiler broke down."""
    messages: list[Any] = []
    limits = Limits(seconds=20.0)
    worker.run(
        {
            "kind": "fingerprint",
            "programs": programs,
            **limits.of_job(),
            "report_bytes": 1 << 28,
            "output_bytes": 0,
        },
        heed=messages.append,
    )
    return messages


def with_lines(verdict: Verdict, lines: list[int], own_lines: list[int]) -> Verdict:
    """The verdict on a program of the same code, laid out otherwise."""
    if lines == own_lines:
        return verdict

    def moved(line: int | None) -> int | None:
        return own_lines[lines.index(line)] if line in lines else line

    faults = {n: replace(fault, line=moved(fault.line)) for n, fault in verdict.faults.items()}
    return replace(verdict, line=moved(verdict.line), faults=faults)
