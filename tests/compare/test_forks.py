"""Jobs that are forks of one process: the same work as in a process of their own. About 30 s."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from job_processes import wait_for

from pretrial.compare import engine
from pretrial.compare import record as records
from pretrial.compare.engine import Placement, hold
from pretrial.compare.forks import Server
from pretrial.compare.jobs import Job, Local, start
from pretrial.compare.setting import Setting
from pretrial.errors import UserError

TOYS = Path(__file__).parent / "toy_methods"
# A line whose measurement tells what it finds of its process.
PROBE = '''
import dataclasses, os, sys, threading
from pretrial import discover
from pretrial.card import Card

CARD = Card(
    slug="probe", title="A probe", authors="Nobody", year=2025, arxiv="", summary="Tells.",
    baseline="a line", abilities=("predict",), fields=(), claims=(),
)
_line = discover.load("line")
if os.environ.get("PROBE_THREAD"):
    threading.Thread(target=threading.Event().wait, daemon=True).start()

class Probe(_line.method):
    """A line again."""

def trial(*, steps: int = 5):
    """What is its process?"""
    def measure(line, data, seed):
        print("measured")
        return {
            "error": 0.0,
            "fork": float(sys.argv[0].endswith("forks.py")),
            "leads": float(os.getsid(0) == os.getpgid(0) == os.getpid()),
            "one_thread": float(os.environ["OMP_NUM_THREADS"] == "1"),
            "handles": float(len(os.listdir("/proc/self/fd"))),
        }
    return dataclasses.replace(_line.trial(steps=steps), measure=measure, claims=())
'''

pytestmark = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="needs /proc")


@pytest.fixture(autouse=True)
def _toy_methods(monkeypatch, tmp_path) -> None:
    path = tmp_path / "methods" / "toy" / "probe.py"
    path.parent.mkdir(parents=True)
    path.write_text(PROBE)
    monkeypatch.setenv("PRETRIAL_METHODS", f"{TOYS}{os.pathsep}{tmp_path / 'methods'}")


def _in_fresh_processes(pool: Any, jobs: list[Job], progress: Any) -> None:
    for job in jobs:
        process = start(job)
        assert process.wait() == 0
        assert process.stdin is not None
        process.stdin.close()


def test_record_does_not_depend_on_how_jobs_are_started(monkeypatch, tmp_path) -> None:
    given = Setting(("line",), {"steps": 12, "warm": True}, (0,), ("line", "flat"))
    forked = hold(given, Placement(tmp_path / "forked", quiet=True))
    monkeypatch.setattr(Local, "run", _in_fresh_processes)
    fresh = hold(given, Placement(tmp_path / "fresh", quiet=True))
    assert records.timeless(forked) == records.timeless(fresh)


@pytest.mark.parametrize("thread", ["", "1"])
def test_job_leads_its_session_and_is_no_fork_where_an_import_has_started_a_thread(
    thread, monkeypatch, tmp_path
) -> None:
    monkeypatch.setenv("PROBE_THREAD", thread)
    given = Setting(("probe",), {}, (0,), ("line",))
    runs = tmp_path / "runs"
    metrics = hold(given, Placement(runs, workers=2, quiet=True))["arms"][0]["metrics"]
    assert metrics["fork"] == [0.0 if thread else 1.0]
    assert metrics["leads"] == metrics["one_thread"] == [1.0]
    logs = list(runs.glob("probe/*/log.txt"))
    assert len(logs) == 2  # the baseline's is the other
    assert all(log.read_text().endswith("measured\n") for log in logs)


def jobs_of(given: Setting, runs: Path) -> list[Job]:
    trial = given.make()
    course = engine.Course(given, trial, Placement(runs), Local(1))
    return [course.job(arm, 0, {}) for arm in trial.choose(given.arms)]


def test_jobs_save_and_end_when_their_server_is_killed(tmp_path) -> None:
    given = Setting(("line",), {"steps": 400, "sleep": 0.05}, (0,), ("line", "flat"))
    jobs = jobs_of(given, tmp_path)
    with Server(["line"]) as server:
        for job in jobs:
            server.start(job.folder)
        wait_for(lambda: all(any(j.folder.glob("run/stages/train/step-*")) for j in jobs))
        server._process.send_signal(signal.SIGKILL)
        with pytest.raises(UserError, match="run the same command again to go on"):
            server.ended()
        with pytest.raises(UserError, match="run the same command again to go on"):
            server.start(jobs[0].folder)
    logs = [job.folder / "log.txt" for job in jobs]
    wait_for(lambda: all("stopped" in log.read_text() for log in logs))
    assert not any(job.done for job in jobs)


def test_closing_the_server_waits_until_its_jobs_have_saved(tmp_path) -> None:
    given = Setting(("line",), {"steps": 400, "sleep": 0.05}, (0,), ("line",))
    job, _ = jobs_of(given, tmp_path)
    with Server(["line"]) as server:
        server.start(job.folder)
        wait_for(lambda: list(job.folder.glob("run/stages/train/step-*")))
    assert "stopped" in (job.folder / "log.txt").read_text()
    with Server([]) as server:
        server.start(tmp_path / "there is\nno such folder")
        assert server.ended() == (tmp_path / "there is\nno such folder", 1)
