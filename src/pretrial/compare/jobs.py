"""Jobs in processes of their own: several at a time on this machine, or as Ray tasks."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretrial import cluster
from pretrial.compare.worker import RESULT
from pretrial.errors import UserError

_POLL_SECONDS = 0.05
# One thread a job: two threads in one process were many times slower on a busy machine.
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")


@dataclass(frozen=True)
class Job:
    """One process to be run.

    Attributes:
        name: for messages.
        folder: absolute; holds job.json and receives result.json and log.txt.
        needs: a job that must have finished before, or None.
    """

    name: str
    folder: Path
    needs: Job | None = None

    @property
    def done(self) -> bool:
        """Whether the result is there."""
        return (self.folder / RESULT).exists()


Progress = Callable[[Job, float], None]


def run_here(jobs: Sequence[Job], workers: int, progress: Progress) -> None:
    """Runs the jobs on this machine, `workers` at a time, in their order.

    Args:
        jobs: those that are done already are passed over.
        workers: processes at a time.
        progress: called with each job that has finished, and its seconds.

    Raises:
        UserError: a job failed, or the trial was stopped; the jobs that were running have saved.
    """
    waiting = [job for job in jobs if not job.done]
    running: dict[Job, tuple[subprocess.Popen[bytes], float]] = {}
    try:
        while waiting or running:
            ready = [job for job in waiting if job.needs is None or job.needs.done]
            for job in ready[: workers - len(running)]:
                waiting.remove(job)
                running[job] = (start(job), time.monotonic())
            for job, (process, began) in list(running.items()):
                if process.poll() is None:
                    continue
                del running[job]
                _close(process)
                if process.returncode:
                    raise _failure(job)
                progress(job, time.monotonic() - began)
            if running:
                time.sleep(_POLL_SECONDS)
    except KeyboardInterrupt:
        raise UserError(
            f"stopped with {sum(job.done for job in jobs)} of {len(jobs)} jobs done; run the same"
            " command again to go on"
        ) from None
    finally:
        for process, _ in running.values():
            process.terminate()  # the job saves and ends
        for process, _ in running.values():
            process.wait()
            _close(process)


def run_on_ray(jobs: Sequence[Job], progress: Progress) -> None:
    """Runs the jobs as Ray tasks of one core each; a task whose machine dies is tried again.

    It joins the cluster that RAY_ADDRESS names, or starts one on this machine. The folders must be
    on a disk that all machines see, so that a task tried again goes on from its checkpoint.

    Raises:
        UserError: Ray is not installed, or a job failed.
    """
    with cluster.joined() as ray:
        task = cluster.remote(ray, _ray_task)
        refs: dict[Any, Job] = {}
        for job in jobs:
            if not job.done:
                needed = [ref for ref, other in refs.items() if other == job.needs]
                refs[task.remote(str(job.folder), *needed)] = job
        waiting = list(refs)
        try:
            while waiting:
                ready, waiting = ray.wait(waiting)
                for ref in ready:
                    code, seconds = ray.get(ref)
                    if code:
                        raise _failure(refs[ref])
                    progress(refs[ref], seconds)
        except KeyboardInterrupt:
            raise UserError("stopped; run the same command again to go on") from None
        except ray.exceptions.RayError as error:
            raise cluster.lost(error, "a job") from error
        finally:
            for ref in waiting:
                ray.cancel(ref)


def _ray_task(folder: str, *_needed: Any) -> tuple[int, float]:
    """Runs one job in a process of its own, so that it is the same work as on one machine."""
    began = time.monotonic()
    process = start(Job("", Path(folder)))
    try:
        process.wait()
    finally:
        process.terminate()
        _close(process)
    return process.returncode, time.monotonic() - began


def start(job: Job) -> subprocess.Popen[bytes]:
    """Starts the process of a job; it ends when this process does."""
    with (job.folder / "log.txt").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "pretrial.compare.worker", str(job.folder)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env={**os.environ, **dict.fromkeys(_THREADS, "1")},
            start_new_session=True,  # Ctrl-C reaches the trial alone, which then stops its jobs
        )


def _close(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()


def _failure(job: Job) -> UserError:
    """What the job said last, and where to read more."""
    log = job.folder / "log.txt"
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    last = lines[-1].removeprefix("pretrial: ") if lines else "it ended without a word"
    return UserError(f"{job.name} failed: {last} (all of it: {log})")
