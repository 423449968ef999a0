"""One runner for several threads and for forks: each call gets its own verdicts."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from pretrial.sandbox import Limits, Runner, TestCommand
from pretrial.sandbox.commands import File
from pretrial.sandbox.host import Worker
from pretrial.sandbox.judge import Trial, judge, prepare
from pretrial.sandbox.pool import Pool
from pretrial.sandbox.tests import Tests

NUM_THREADS, NUM_PROGRAMS = 8, 40


def jobs_of(thread):
    """Programs of all kinds of tests; every second one is wrong, and no two threads share one."""
    made = []
    for n in range(NUM_PROGRAMS):
        answer = f"a + b + {thread}" if n % 2 else "'no'"
        add = f"def add(a, b):\n    return {answer}\n"
        call = Tests("call", "add", ([n, 1], [n, 2]), (n + 1 + thread, n + 2 + thread))
        stdin = Tests("stdin", inputs=(f"{n}\n",), outputs=(f"{n + thread}\n",))
        loop = f"for i in range(3):\n    assert add({n}, i) == {n} + i + {thread}"
        script = Tests("assert", "add", script=loop)
        printed = f"print(int(input()) + {thread if n % 2 else thread + 1})\n"
        made.append([(add, call), (printed, stdin), (add, script)][n % 3])
    return made


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_eight_threads_get_their_own_verdicts(workers):
    with Runner(workers=workers) as runner, ThreadPoolExecutor(NUM_THREADS) as threads:
        calls = [threads.submit(runner.run, jobs_of(thread)) for thread in range(NUM_THREADS)]
        for call in calls:
            passed = [verdict.passed for verdict in call.result(timeout=120)]
            assert passed == [bool(n % 2) for n in range(NUM_PROGRAMS)]


def test_threads_that_fail_or_time_out_leave_the_others_alone():
    slow = [("while True:\n    pass\n", jobs_of(0)[0][1])] * 2
    with Runner(workers=2) as runner, ThreadPoolExecutor(NUM_THREADS) as threads:

        def interrupt(done, total):
            raise KeyboardInterrupt

        good = [threads.submit(runner.run, jobs_of(thread)) for thread in range(4)]
        late = [threads.submit(runner.run, slow, Limits(seconds=0.3)) for _ in range(2)]
        left = [threads.submit(runner.run, jobs_of(9 + n), None, interrupt) for n in range(2)]
        for call in good:
            passed = [verdict.passed for verdict in call.result(timeout=120)]
            assert passed == [bool(n % 2) for n in range(NUM_PROGRAMS)]
        assert {v.subtype for call in late for v in call.result(timeout=120)} == {"timeout"}
        for call in left:
            with pytest.raises(KeyboardInterrupt):
                call.result(timeout=120)


def test_a_call_from_the_progress_of_another():
    found = []
    with Runner(workers=1) as runner:
        runner.run(jobs_of(1), progress=lambda *_: found.extend(runner.run(jobs_of(2)[1:2])))
    assert len(found) == NUM_PROGRAMS
    assert all(verdict.passed for verdict in found)


def test_a_fork_gets_workers_of_its_own_and_leaves_its_parents_alone():
    program, tests = jobs_of(3)[3]
    with Runner(workers=1) as runner, TestCommand("true", {"file": File(b"")}) as command:
        [worker] = runner._workers
        before = worker._process.pid
        if (child := os.fork()) == 0:
            try:
                [verdict] = runner.run([(program, tests)])
                good = verdict.passed and runner._workers[0]._process.pid != before
                good = good and command.run().status == 0
                runner.close()
                command.close()
                os._exit(0 if good else 1)
            finally:
                os._exit(2)
        # Both use the runner meanwhile.
        assert all(v.passed for v in runner.run(jobs_of(4)[1::2]))
        assert command.run().status == 0
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert worker._process.pid == before


def test_threads_on_one_test_command_come_one_after_the_other():
    tree = {"name": File(b"none")}
    with TestCommand("cat name", tree) as command, ThreadPoolExecutor(NUM_THREADS) as threads:
        texts = [f"thread {n}" for n in range(NUM_THREADS)]
        runs = threads.map(lambda text: command.run({"name": text}), texts)
        assert [run.output for run in runs] == texts


def test_a_job_sent_ahead_and_not_wanted_answers_for_no_other():
    worker = Worker("rlimits")
    [first, second, third] = (
        Trial(worker, program, tests, prepare(tests), Limits(), "strict", True)
        for program, tests in jobs_of(5)[3::6][:3]
    )
    assert judge(first, following=second).passed
    assert worker._ahead is not None
    assert judge(third).passed
    worker.close()


class Idle:
    """A worker that does nothing; `killed` counts."""

    killed = 0

    def kill(self):
        self.killed += 1


def test_a_step_that_is_to_be_alone_is():
    pool, busy, seen = Pool([Idle(), Idle(), Idle()]), [], []

    def step(worker, item, following):
        busy.append(item)
        time.sleep(0.002)
        seen.append(len(busy) if item == "alone" else 0)
        busy.remove(item)

    def call(items, alone):
        list(pool.spread(items, step, alone=alone))

    with ThreadPoolExecutor(6) as threads:
        for n in range(6):
            threads.submit(call, [["alone"], ["shared"]][n % 2] * 20, n % 2 == 0)
    assert len(seen) == 120
    assert set(seen) == {0, 1}


def test_a_short_call_does_not_wait_for_a_long_one():
    pool, order = Pool([Idle()]), []

    def step(worker, item, following):
        time.sleep(0.02)
        order.append(item)

    begun = threading.Event()

    def long():
        for item, _ in pool.spread(["long"] * 50, step):
            begun.set()
            assert item == "long"

    thread = threading.Thread(target=long)
    thread.start()
    begun.wait()
    list(pool.spread(["short"] * 2, step))
    thread.join()
    assert len(order) == 52
    assert order.index("short") < 12


def test_who_leaves_early_kills_only_the_workers_of_its_own():
    workers = [Idle(), Idle()]
    pool, hold = Pool(workers), threading.Event()

    def step(worker, item, following):
        if item == "hold":
            hold.wait()
        return worker

    with ThreadPoolExecutor(1) as threads:
        held = threads.submit(lambda: list(pool.spread(["hold"], step)))
        while len(pool._idle) > 1:
            time.sleep(0.001)
        for _ in pool.spread(range(1, 99), step):
            break
        hold.set()
        [(_, other)] = held.result(timeout=10)
    assert other.killed == 0
    assert len(list(pool.spread(range(1, 9), step))) == 8
