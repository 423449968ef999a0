"""The same tests in a world that differs where no verdict should depend on it."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pretrial.sandbox import Limits, Runner
from pretrial.sandbox.literals import parse_python
from pretrial.sandbox.tests import Tests

HASH_SEEDS = (1, 12345)

# Run once in each worker, before the programs are forked.
OTHER_TIME = """
def _move_clock():
    import datetime
    import time

    offset = (400 * 24 + 5) * 3600 + 1234  # another year, day of the week and hour
    now = time.time
    time.time = lambda: now() + offset
    time.time_ns = lambda: int(time.time() * 10**9)
    for name in ("localtime", "gmtime", "ctime"):
        real = getattr(time, name)

        def moved(seconds=None, real=real):
            return real(time.time() if seconds is None else seconds)

        setattr(time, name, moved)
    strftime, asctime = time.strftime, time.asctime
    time.strftime = lambda form, at=None: strftime(form, at or time.localtime())
    time.asctime = lambda at=None: asctime(at or time.localtime())

    def counts_as(real):
        return type("Kind", (type,), {"__instancecheck__": lambda cls, it: isinstance(it, real)})

    Date, Time = datetime.date, datetime.datetime

    class date(Date, metaclass=counts_as(Date)):
        today = classmethod(lambda cls: cls.fromtimestamp(time.time()))

    class moment(Time, metaclass=counts_as(Time)):
        now = classmethod(lambda cls, tz=None: cls.fromtimestamp(time.time(), tz))
        today = classmethod(lambda cls: cls.fromtimestamp(time.time()))
        utcnow = classmethod(lambda cls: cls.utcfromtimestamp(time.time()))

    moment.__name__ = moment.__qualname__ = "datetime"
    date.__module__ = moment.__module__ = "datetime"
    datetime.date, datetime.datetime = date, moment


_move_clock()
del _move_clock
"""
OTHER_CHANCE = """
def _other_chance():
    import random

    seed = random.seed

    def other(*_, **__):  # the first call is the sandbox's own, before the program
        random.seed = seed
        seed(987654321)

    random.seed = other


_other_chance()
del _other_chance
"""


@dataclass(frozen=True)
class _World:
    """One way in which the world may differ."""

    check: str
    words: str
    options: dict[str, Any]
    reversed: bool = False


WORLDS = (
    *(
        _World("hash_seed", f"with the hash seed {seed} the reference", {"hash_seed": seed})
        for seed in HASH_SEEDS
    ),
    _World("time", "on a day of next year the reference", {"preamble": OTHER_TIME}),
    _World("chance", "with other random numbers the reference", {"preamble": OTHER_CHANCE}),
    _World("order", "with the tests in reverse order the reference", {}, reversed=True),
)
_ALL_AT_ONCE = _World(
    "", "", {"hash_seed": HASH_SEEDS[0], "preamble": OTHER_TIME + OTHER_CHANCE}, reversed=True
)


def dependences(
    jobs: Sequence[tuple[str, Tests]], limits: Sequence[Limits], **options: Any
) -> list[list[tuple[str, str]]]:
    """On what the verdicts of programs that pass depend.

    All is changed at once first; only for programs that then fail it is found out what it was.

    Args:
        jobs: (program, tests), each of which passes.
        limits: of each.
        **options: of the `Runner`.

    Returns:
        (check, sentence) of each dependence, for each job.
    """
    found: list[list[tuple[str, str]]] = [[] for _ in jobs]
    # one order of sets may hide what another shows
    failing = [_failing(world, jobs, limits, options) for world in (_ALL_AT_ONCE, WORLDS[1])]
    suspects = sorted({*failing[0], *failing[1]})
    few = [jobs[place] for place in suspects], [limits[place] for place in suspects]
    for world in WORLDS:
        for number in _failing(world, *few, options):
            reasons = found[suspects[number]]
            if world.check not in [check for check, _ in reasons]:
                reasons.append((world.check, f"{world.words} fails"))
    return found


def _failing(
    world: _World,
    jobs: Sequence[tuple[str, Tests]],
    limits: Sequence[Limits],
    options: dict[str, Any],
) -> list[int]:
    """Places of the programs that fail there."""
    if not jobs:
        return []
    preamble = options.get("preamble", "") + world.options.get("preamble", "")
    with Runner(**{**options, **world.options, "preamble": preamble}) as runner:
        turned = [(text, in_reverse(tests) if world.reversed else tests) for text, tests in jobs]
        verdicts = runner.run(turned, limits)
    return [place for place, verdict in enumerate(verdicts) if not verdict.passed]


def in_reverse(tests: Tests) -> Tests:
    """The same tests, the last one first; an assert script that does more than assert stays."""
    if tests.kind != "assert":
        return replace(tests, inputs=tests.inputs[::-1], outputs=tests.outputs[::-1])
    try:
        tree = parse_python(tests.script)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return tests
    assert isinstance(tree, ast.Module)
    for node in (tree, *tree.body):
        body = node.body if isinstance(node, ast.Module | ast.FunctionDef) else []
        places = [place for place, each in enumerate(body) if isinstance(each, ast.Assert)]
        if len(places) > 1 and places[-1] - places[0] == len(places) - 1:
            body[places[0] : places[-1] + 1] = body[places[0] : places[-1] + 1][::-1]
            return replace(tests, script=ast.unparse(tree) + "\n")
    return tests
