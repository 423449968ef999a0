"""The order of work: each program once, verdicts in order, second tries, workers replaced."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import warnings

import psutil
import pytest

from pretrial.sandbox import (
    Limits,
    Outcome,
    Runner,
    compare_modes,
    describe_isolation,
    limits_from_reference,
    run_programs,
    scratch,
)
from pretrial.sandbox import (
    runner as runner_module,
)
from pretrial.sandbox.inside import folders
from pretrial.sandbox.tests import Tests

TESTS = Tests("call", "add", ([1, 2],), (3,))
ADD = "def add(a, b):\n    return a + b\n"


@pytest.fixture
def judged(monkeypatch):
    """The programs that were really run."""
    programs = []
    original = runner_module.judge

    def spy(trial, following=None):
        programs.append(trial.program)
        return original(trial, following)

    monkeypatch.setattr(runner_module, "judge", spy)
    return programs


def test_verdicts_come_in_the_order_of_the_jobs():
    other = Tests("call", "add", ([1, 2],), (4,))
    jobs = [(f"def add(a, b):\n    return {i}\n", [other, TESTS][i % 2]) for i in range(12)]
    verdicts = run_programs(jobs, workers=2)
    assert [verdict.passed for verdict in verdicts] == [
        tests.outputs == (i,) for i, (_, tests) in enumerate(jobs)
    ]
    assert sum(verdict.passed for verdict in verdicts) == 2


def test_same_code_is_run_once_and_lines_are_those_of_each_text(judged):
    texts = [
        "def add(a, b):\n    return a / 0\n",
        "# a comment\n\n\ndef add( a , b ):\n\n    return a/0\n",
        "def add(a, b):\n    return a / 1\n",
    ]
    verdicts = run_programs([(text, TESTS) for text in texts], workers=1)
    assert len(judged) == 2
    assert [verdict.line for verdict in verdicts] == [2, 6, None]
    assert [verdict.subtype for verdict in verdicts[:2]] == ["ZeroDivisionError"] * 2


def test_verdicts_are_kept_and_the_key_holds_all_that_matters(judged):
    with Runner(workers=1) as runner:
        for _ in range(2):
            runner.run([(ADD, TESTS)])
        assert len(judged) == 1
        runner.run([(ADD, Tests("call", "add", ([1, 2],), (3,)))])  # equal tests
        assert len(judged) == 1
        runner.run([(ADD, Tests("call", "add", ([1, 2],), (4,)))])
        runner.run([(ADD, Tests("call", "add", ([2, 1],), (3,)))])
        runner.run([(ADD, Tests("call", "add", ((1, 2),), ((3,),)))])
        runner.run([(ADD, TESTS)], Limits(seconds=2))
        assert len(judged) == 5


def test_the_cache_is_bounded(judged, monkeypatch):
    monkeypatch.setattr(runner_module, "CACHE_SIZE", 2)
    with Runner(workers=1) as runner:
        for number in (1, 2, 3, 1):
            runner.run([(f"{ADD}# {number}", TESTS)])
    assert len(judged) == 4


def test_by_the_clock_alone_a_timeout_without_the_processor_is_tried_again(judged, monkeypatch):
    monkeypatch.setattr(runner_module.sys, "platform", "darwin")
    sleeper = "import time\ntime.sleep(100)\n"
    [verdict] = run_programs([(sleeper, TESTS)], limits=Limits(seconds=0.4), workers=1)
    assert verdict.subtype == "timeout"
    assert judged == [sleeper] * 2


def test_progress_counts_and_its_exception_leaves_a_usable_runner():
    seen = []
    jobs = [(f"{ADD}x = {i}\n", TESTS) for i in range(5)]
    with Runner(workers=2) as runner:
        runner.run(jobs, progress=lambda done, total: seen.append((done, total)))
        assert seen == [(i, 5) for i in range(1, 6)]

        def fail(done, total):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            runner.run([(f"{ADD}y = {i}\n", TESTS) for i in range(20)], progress=fail)
        verdicts = runner.run([(f"{ADD}z = {i}\n", TESTS) for i in range(3)])
        assert all(verdict.passed for verdict in verdicts)


def test_a_worker_that_dies_is_replaced_and_its_program_tried_again(judged):
    with Runner(workers=1) as runner:
        killed = psutil.Process(runner._workers[0]._process.pid)
        inside = killed.children(recursive=True)
        killed.kill()
        assert not psutil.wait_procs(inside, timeout=10)[1]  # or one of them might still answer
        [verdict] = runner.run([(ADD, TESTS)])
        assert runner._workers[0]._process.pid != killed.pid
    assert judged == [ADD] * 2
    assert verdict.passed


def test_a_program_that_ends_its_worker_gets_a_verdict():
    killer = "import os\nos.kill(os.getppid(), 9)\nwhile True:\n    pass\n"
    with Runner(workers=1, isolation="none") as runner:
        [verdict] = runner.run([(killer, TESTS)], Limits(seconds=2))
        [after] = runner.run([(ADD, TESTS)])
    assert (verdict.outcome, verdict.subtype) == (Outcome.RUNTIME_ERROR, "signal")
    assert after.passed


@pytest.mark.parametrize("level", ["auto", "rlimits", "none"])
def test_workers_end_with_the_runner_and_with_the_host(level, tmp_path):
    with Runner(workers=2, isolation=level) as runner:
        runner.run([(f"{ADD}x = {i}\n", TESTS) for i in range(4)])
        pids = [worker._process.pid for worker in runner._workers]
        everybody = [psutil.Process(pid) for pid in pids]
        everybody += [child for process in everybody for child in process.children()]
    assert not psutil.wait_procs(everybody, timeout=10)[1]
    # A host that is killed outright closes its pipes by dying.
    host = (
        "import os, signal, sys\nfrom pretrial.sandbox import Runner\n"
        f"runner = Runner(workers=1, isolation={level!r})\n"
        "print(runner._workers[0]._process.pid, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    output = subprocess.run(
        [sys.executable, "-c", host],
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        check=False,
    )
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(int(output.stdout)).wait(10)


def test_what_a_killed_host_leaves_is_swept_by_the_next(tmp_path, monkeypatch):
    host = (
        "import os, signal\nfrom pretrial.sandbox.host import Worker\n"
        "Worker('none').start()\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", host], env=environment, check=False)
    [stale] = tmp_path.iterdir()
    (stale / "deep").mkdir(exist_ok=True)
    (stale / "deep" / "file").write_text("left by a program")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    for name, target in (("link", elsewhere), ("mail", tmp_path / "nowhere")):
        (tmp_path / f"{scratch.PREFIX}{name}").symlink_to(target)
    (tmp_path / f"{scratch.PREFIX}file").write_text("not a folder")
    before = set(tmp_path.iterdir())
    with Runner(workers=1):
        [mine] = set(tmp_path.iterdir()) - before
        assert not stale.exists()
        with Runner(workers=1):  # which leaves alone what a living process uses
            assert mine.exists()
    assert set(tmp_path.iterdir()) == before - {stale}


def test_folders_of_other_users_are_not_swept(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    (tmp_path / f"{scratch.PREFIX}theirs").mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    scratch.sweep()
    assert len(list(tmp_path.iterdir())) == 1
    monkeypatch.undo()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    scratch.sweep()
    assert not list(tmp_path.iterdir())


def test_limits_from_references():
    slow = "import time\ndef add(a, b):\n    time.sleep(0.3)\n    return a + b\n"
    references = [(ADD, TESTS), (slow, TESTS), ("def add(a, b):\n    return 0\n", TESTS)]
    base = Limits(seconds=3.0, memory_mb=256)
    found = limits_from_reference(references, factor=5, floor=1.2, limits=base)
    assert [limits.seconds > 1.2 for limits in found] == [False, True, True]
    assert found[1].seconds >= 1.5
    assert found[2] == base  # a reference that fails says nothing
    assert {limits.memory_mb for limits in found} == {256}


def test_apps_outcomes_and_comparison():
    stdin = Tests("stdin", inputs=("",), outputs=("1 2\n3\n",))
    table = [
        # program, tests, ours, theirs
        ("x = undefined\n", TESTS, "RUNTIME_ERROR", "COMPILE_ERROR"),
        ("def add(a, b):\n    return undefined\n", TESTS, "RUNTIME_ERROR", "RUNTIME_ERROR"),
        ("def add(a, b:\n", TESTS, "COMPILE_ERROR", "COMPILE_ERROR"),
        ("x = undefined\n", stdin, "RUNTIME_ERROR", "RUNTIME_ERROR"),
        ("import undefined\n", stdin, "RUNTIME_ERROR", "COMPILE_ERROR"),
        ("import os\nfrom undefined import x\n", stdin, "RUNTIME_ERROR", "COMPILE_ERROR"),
        ("x = 1\nimport undefined\n", stdin, "RUNTIME_ERROR", "RUNTIME_ERROR"),
    ]
    jobs = [(program, tests) for program, tests, _, _ in table]
    ours = run_programs(jobs, workers=1)
    theirs = run_programs(jobs, workers=1, outcomes="apps")
    assert [verdict.outcome.name for verdict in ours] == [row[2] for row in table]
    assert [verdict.outcome.name for verdict in theirs] == [row[3] for row in table]
    jobs = [("print('3')\nprint('2 1')\n", stdin), ("print('1 2\\n3')\n", stdin)]
    differences = compare_modes([*jobs, ("print(1)\n", stdin)], workers=1)
    assert (differences.strict_passed, differences.apps_passed) == (1, 2)
    assert differences.different == (0,)


def test_isolation_is_described_and_none_has_to_be_named():
    best = describe_isolation()
    assert best.level in ("namespaces", "rlimits")
    assert "isolation: " + best.level in str(best)
    low = describe_isolation("rlimits")
    assert "resource limits" in low.layers
    assert "network" in low.open
    none = describe_isolation("none")
    assert none.layers == ()
    assert "all the rights" in none.open


def test_folders_nested_deeper_than_paths_may_be_are_deleted(tmp_path):
    here = os.open(".", os.O_RDONLY)
    # In memory if possible: some disks take milliseconds to remove a folder.
    folder = tempfile.mkdtemp(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else tmp_path)
    try:
        os.chdir(folder)
        for _ in range(1500):
            os.mkdir("down")
            os.chdir("down")
        os.symlink("/", "root")
    finally:
        os.fchdir(here)
        os.close(here)
    assert not folders.empty_folder(folder, seconds=0)
    assert folders.empty_folder(folder)
    os.rmdir(folder)


def test_import_is_light():
    code = (
        "import sys, pretrial.sandbox\n"
        "assert not {'torch', 'numpy', 'transformers', 'multiprocessing'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_refused_namespaces_fall_back_to_resource_limits(monkeypatch):
    from pretrial.errors import UserError
    from pretrial.sandbox import isolation
    from pretrial.sandbox.host import RefusedError, Worker

    original = Worker.start

    def start(self):
        if self.isolation in refused:
            raise RefusedError("unshare: Operation not permitted")
        original(self)

    monkeypatch.setattr(isolation.Worker, "start", start)
    refused = {"namespaces"}
    described = describe_isolation()
    assert described.level == "rlimits"
    assert "namespaces refused: unshare" in str(described)
    [verdict] = run_programs([(ADD, TESTS)], workers=1)
    assert (verdict.passed, verdict.isolation) == (True, "rlimits")
    with pytest.raises(UserError, match="not to be had here"):
        run_programs([(ADD, TESTS)], workers=1, isolation="namespaces")
    refused = {"namespaces", "rlimits"}
    with pytest.raises(UserError, match="isolation='none'"):
        run_programs([(ADD, TESTS)], workers=1)


def test_what_a_low_level_leaves_open_is_said(monkeypatch):
    from pretrial.sandbox import TestCommand, isolation
    from pretrial.sandbox.commands import File
    from pretrial.sandbox.host import RefusedError, Worker

    with pytest.warns(UserWarning, match="isolation none: programs have all the rights") as told:
        run_programs([(ADD, TESTS)], workers=1, isolation="none")
    assert len(told) == 1
    with pytest.warns(UserWarning, match="isolation none: programs have all the rights"):
        TestCommand("true", {"file": File(b"")}, isolation="none").close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run_programs([(ADD, TESTS)], workers=1, isolation="rlimits")  # as it was named
        describe_isolation("none")
    original = Worker.start

    def start(self):
        if self.isolation == "namespaces":
            raise RefusedError("unshare: Operation not permitted")
        original(self)

    monkeypatch.setattr(isolation.Worker, "start", start)
    with pytest.warns(
        UserWarning, match="namespaces refused: unshare.* isolation rlimits: programs"
    ):
        run_programs([(ADD, TESTS)], workers=1)
