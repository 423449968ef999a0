"""Jobs in processes of their own: several at a time on this machine, or as Ray tasks."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretrial import cluster
from pretrial.compare.forks import LOG, Server, variables
from pretrial.compare.worker import RESULT
from pretrial.errors import UserError


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


class Progress:
    """What is told of jobs as they go; nothing, unless a subclass tells something."""

    def begun(self, job: Job) -> None:
        """A job has been started."""

    def ended(self, job: Job, seconds: float) -> None:
        """A job has finished, after so many seconds."""


class StoppedError(UserError):
    """The user, or a time limit, has stopped the trial; its jobs have saved."""


class Local:
    """Jobs as processes of this machine, several at a time. For a `with` block.

    Args:
        workers: processes at a time.
        slugs: methods that the jobs are going to need.
    """

    def __init__(self, workers: int, slugs: Sequence[str] = ()) -> None:
        self._workers, self._slugs = workers, slugs
        self._stack = ExitStack()
        self._server: Server | None = None

    def __enter__(self) -> Local:
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def run(self, jobs: Sequence[Job], progress: Progress) -> None:
        """Runs the jobs in their order; those that are done already are passed over.

        Args:
            jobs: a job that another one needs comes before it.
            progress: told of each job that begins and that has finished.

        Raises:
            UserError: a job failed.
            StoppedError: the trial was stopped; jobs that were running have saved.
        """
        waiting = [job for job in jobs if not job.done]
        if not waiting:
            return
        if self._server is None:
            self._server = self._stack.enter_context(Server(self._slugs))
        running: dict[Path, tuple[Job, float]] = {}
        try:
            while waiting or running:
                ready = [job for job in waiting if job.needs is None or job.needs.done]
                for job in ready[: self._workers - len(running)]:
                    waiting.remove(job)
                    running[job.folder] = job, time.monotonic()
                    self._server.start(job.folder)
                    progress.begun(job)
                folder, code = self._server.ended()
                job, began = running.pop(folder)
                if code:
                    raise _failure(job, code)
                progress.ended(job, time.monotonic() - began)
        except KeyboardInterrupt:
            raise StoppedError(
                f"stopped with {sum(job.done for job in jobs)} of {len(jobs)} jobs done; run the"
                " same command again to go on"
            ) from None


class OnRay:
    """Jobs as Ray tasks of one core each; a task whose machine dies is tried again.

    It joins the cluster that RAY_ADDRESS names, or starts one on this machine. The folders must be
    on a disk that all machines see, so that a task tried again goes on from its checkpoint.

    Raises:
        UserError: Ray is not installed.
    """

    def __init__(self) -> None:
        self._stack = ExitStack()
        self._ray: Any = None

    def __enter__(self) -> OnRay:
        self._ray = self._stack.enter_context(cluster.joined())
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def run(self, jobs: Sequence[Job], progress: Progress) -> None:
        """Runs the jobs that are not done; see `Local.run`."""
        ray = self._ray
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
                        raise _failure(refs[ref], code)
                    progress.ended(refs[ref], seconds)
        except KeyboardInterrupt:
            raise StoppedError("stopped; run the same command again to go on") from None
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
    with (job.folder / LOG).open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "pretrial.compare.worker", str(job.folder)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=variables(),
            start_new_session=True,
        )


def _close(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()


def _failure(job: Job, code: int) -> UserError:
    """What ended the job, or what it said last; and where to read more."""
    log = job.folder / LOG
    if code < 0:
        return UserError(
            f"{job.name} was killed ({signal.strsignal(-code)}; for want of memory, often): run the"
            f" same command again to go on, with fewer --workers where memory is short (its log:"
            f" {log})"
        )
    text = log.read_text(errors="replace") if log.exists() else ""
    lines = [line for line in text.splitlines() if line.strip()]
    last = lines[-1].removeprefix("pretrial: ") if lines else "it ended without a word"
    return UserError(f"{job.name} failed: {last} (all of it: {log})")
