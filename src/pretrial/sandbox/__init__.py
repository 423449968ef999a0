"""Running programs one does not trust, and judging them by tests.

    from pretrial.sandbox.tests import Tests
    from pretrial.sandbox import run_programs

    tests = Tests("call", function="add", inputs=([1, 2], [3, 4]), outputs=(3, 7))
    [verdict] = run_programs([("def add(a, b):\\n    return a + b\\n", tests)])
    verdict.passed, verdict.isolation      # (True, 'namespaces')

Each program runs in a process forked for it alone from a small clean interpreter that lives in
namespaces of its own: no network, no files but the standard library and an empty folder, no
privileges, a filter of system calls, with limits on time, memory, output and processes.
`describe_isolation()` says which of these layers this machine grants. Whatever a program does,
`run_programs` returns a `Verdict` for it and raises nothing because of it.

For `call` and `stdin` tests the expected outputs never enter the program's process; answers come
back as plain values and are compared here, so a program cannot forge a pass. `assert` scripts are
taken apart, so that the same holds for each assert that compares what the program gives with a
constant. What cannot be taken out of a script has to share the interpreter with the program. There
a pass needs an unpredictable token that is sent after the script's last line, so leaving early is
no pass; but an object that is equal to everything, or a program that searches its own interpreter
for that token, could forge one. `Tests.shares_process` and `Verdict.shares_process` mark such tests
and what came of them: do without them where programs have a reason to cheat, as in reinforcement
learning.

`ClusterRunner` runs programs on all machines of a Ray cluster.

`TestCommand` runs a user's own test command in a copy of a tree of files, see `commands`.

This package imports neither torch nor numpy.
"""

from pretrial.sandbox.apps import APPS_PREAMBLE, apps_outcome
from pretrial.sandbox.cluster import AnyRunner, ClusterRunner, runner_on
from pretrial.sandbox.commands import COMMAND_LIMITS, File, TestCommand, TestRun, read_tree
from pretrial.sandbox.compare import same_output, same_value
from pretrial.sandbox.isolation import Isolation, describe_isolation
from pretrial.sandbox.limits import Limits
from pretrial.sandbox.outcome import Outcome, TestResult, Verdict
from pretrial.sandbox.references import limits_from_reference
from pretrial.sandbox.runner import RUNNER_VERSION, Differences, Runner, compare_modes, run_programs

__all__ = [
    "APPS_PREAMBLE",
    "COMMAND_LIMITS",
    "RUNNER_VERSION",
    "AnyRunner",
    "ClusterRunner",
    "Differences",
    "File",
    "Isolation",
    "Limits",
    "Outcome",
    "Runner",
    "TestCommand",
    "TestResult",
    "TestRun",
    "Verdict",
    "apps_outcome",
    "compare_modes",
    "describe_isolation",
    "limits_from_reference",
    "read_tree",
    "run_programs",
    "runner_on",
    "same_output",
    "same_value",
]
