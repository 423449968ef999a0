"""What a runner is given: programs with their tests, and what each may use."""

from __future__ import annotations

from collections.abc import Sequence

from pretrial.errors import UserError
from pretrial.sandbox.limits import Limits
from pretrial.sandbox.tests import Tests

Job = tuple[str, Tests | str]
Pair = tuple[str, Tests]


def pairs_of(jobs: Sequence[Job]) -> list[Pair]:
    """Programs with their tests; one text of asserts gives one `Tests`, however often it comes.

    Raises:
        UserError: something else is among them.
    """
    scripts: dict[str, Tests] = {}
    pairs = []
    for job in jobs:
        if not isinstance(job, tuple | list) or len(job) != 2:
            raise UserError(f"a job must be a pair of a program and its tests, not {job!r:.80}")
        program, tests = job
        if not isinstance(program, str):
            raise UserError(f"a program must be a str, not {type(program).__name__}")
        if isinstance(tests, str):
            tests = scripts.setdefault(tests, Tests("assert", script=tests))
        elif not isinstance(tests, Tests):
            raise UserError(
                f"tests must be a Tests or the text of an assert script, not"
                f" {type(tests).__name__}: make one by pretrial.sandbox.tests.Tests"
            )
        pairs.append((program, tests))
    return pairs


def limits_of(limits: Limits | Sequence[Limits] | None, count: int) -> list[Limits]:
    """Limits for each of `count` programs."""
    if limits is None or isinstance(limits, Limits):
        return [limits or Limits()] * count
    if len(limits) != count:
        raise UserError(
            f"there are {count} programs but {len(limits)} limits: give one, or one each"
        )
    return list(limits)
