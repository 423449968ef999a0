"""The hostile programs of `hostile/`, with their tests and what should become of them.

A file begins with `# kind | OUTCOME | subtype | what it tries`; `*` is any subtype. A second line
`# rlimits | OUTCOME | subtype`, or `any`, says what becomes of it where namespaces are refused, if
that differs.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import psutil

from pretrial.sandbox import Isolation, Outcome, Runner, Verdict
from pretrial.sandbox.tests import Tests

FIXTURES = sorted((Path(__file__).parent / "hostile").glob("*.txt"))
TESTS = {
    "call": Tests("call", "add", ([1, 2], [3, 4]), (3, 7)),
    "stdin": Tests("stdin", inputs=("1 2\n", "3 4\n"), outputs=("3\n", "7\n")),
    "assert": Tests("assert", "add", script="def check(f):\n    assert f(1, 2) == 3\ncheck(add)\n"),
}
# Under a shared uid these reach the user's own processes, or threads are not allowed.
NEED_OWN_UID = {
    "kills_everybody",
    "kills_parent",
    "probes_processes",
    "signals_parent",
    "thread_left_running",
    "thread_never_joins",
    "thread_raises",
}
# What only a filter of system calls prevents.
NEED_FILTER = {
    "lowers_everybodys_priority",
    "lowers_parents_limits",
    "memory_in_keys",
    "memory_in_nameless_files",
    "memory_in_queue",
    "memory_in_segments",
    "pins_parent",
    "traces_itself",
    "uses_io_uring",
}
# Right only if the program before has left nothing behind: no file, limit, priority or module.
HONEST = f"""
import colorsys, fcntl, json, math, os, resource

assert not os.listdir(".") and not os.listxattr("."), "something is left"
with open("mine", "w") as file:
    file.write("mine")
fcntl.flock(0, fcntl.LOCK_SH | fcntl.LOCK_NB)
assert os.nice(0) == {os.nice(0)}
assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == 16 << 20
assert resource.getrlimit(resource.RLIMIT_AS)[0] >= 128 << 20
assert math.sqrt(4) == 2 and json.dumps([]) == "[]"


def add(a, b):
    return a + b
"""


@dataclass(frozen=True)
class Hostile:
    """A program and what is expected of it; `outcome` is "any" where nothing is."""

    name: str
    program: str
    tests: Tests
    outcome: str
    subtype: str = ""

    def wrong(self, verdict: Verdict) -> str:
        """What is wrong with a verdict; "" if nothing is."""
        if self.outcome == "any":
            return ""
        right = verdict.outcome is Outcome[self.outcome]
        if right and self.subtype in ("*", verdict.subtype):
            return ""
        return f"{self.name}: {verdict}, expected {self.outcome} {self.subtype}"


def read(path: Path, level: str) -> Hostile:
    """One program, and what is expected of it at a level of isolation."""
    program = path.read_bytes().decode()
    first, second = program.split("\n", 2)[:2]
    kind, *expected, _ = first.removeprefix("# ").split(" | ")
    if level == "rlimits" and second.startswith("# rlimits | "):
        expected = second.removeprefix("# rlimits | ").split(" | ")
    return Hostile(path.stem, program, TESTS[kind], *expected)


def why_not(name: str, isolation: Isolation) -> str:
    """Why a program cannot be run on this machine; "" if it can."""
    if isolation.level == "rlimits" and os.geteuid() != 0 and name in NEED_OWN_UID:
        return "without root and namespaces programs share the user's uid"
    if name in NEED_FILTER and not any("system calls" in layer for layer in isolation.layers):
        return "this kernel or machine has no filter of system calls"
    return ""


def strays(runner: Runner) -> list[str]:
    """Processes below the workers that are not the workers' own."""
    found: set[psutil.Process] = set()
    for each in runner._workers:
        if each._process is None:  # the last program took it along; the next run starts another
            continue
        worker = psutil.Process(each._process.pid)
        below = set(worker.children(recursive=True))
        if os.geteuid() == 0:  # then programs have a uid of their own
            uid = 61184 + worker.pid % 4336
            below |= {
                process
                for process in psutil.process_iter(["uids"])
                if process.info["uids"] and process.info["uids"].real == uid
            }
        own = {worker, *worker.children()[: runner.isolation == "namespaces"]}  # and its pid 1
        found |= below - own
    return [str(process) for process in found]
