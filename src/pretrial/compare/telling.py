"""What a trial tells of its jobs while they run."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pretrial import status
from pretrial.compare.jobs import Job, Progress
from pretrial.compare.so_far import SoFar
from pretrial.compare.worker import RESULT

if TYPE_CHECKING:
    from pretrial.compare.engine import Course, Placement


class Told(Progress):
    """Says which job begins, how one came out and how long the rest takes; renews the page."""

    def __init__(
        self,
        course: Course,
        jobs: Sequence[Job],
        owners: Mapping[Path, tuple[str, int]],
        task: status.Task,
    ) -> None:
        self.course, self.owners, self.task = course, owners, task
        self.total = len(jobs)
        self.done = sum(job.done for job in jobs)
        self.num_begun = self.done
        self.clock = time.monotonic()

    def begun(self, job: Job) -> None:
        self.num_begun += 1
        say(self.course.placement, f"begins {self.num_begun}/{self.total}  {job.name}")

    def ended(self, job: Job, seconds: float) -> None:
        self.done += 1
        self.task.advance()
        course, result = self.course, result_of(job)
        name, metrics = course.trial.metric, result.get("metrics", {})
        shown = f": {name} {metrics[name]:.4g}" if name in metrics else ""
        each = (time.monotonic() - self.clock) / self.task.done
        left = f"; {status.duration(each * (self.total - self.done))} left"
        took = f"({seconds:.0f} s{left if self.done < self.total else ''})"
        say(course.placement, f"{self.done}/{self.total}  {job.name}{shown}  {took}")
        if job.folder in self.owners:
            course.ended[self.owners[job.folder]] = result
        if course.renew is not None:
            now = SoFar(
                course.setting, course.trial, course.ended, course.looks, self.done, self.total
            )
            course.renew(now)


def result_of(job: Job) -> dict[str, Any]:
    """What a job that has finished has left."""
    return json.loads((job.folder / RESULT).read_text())


def say(placement: Placement, text: str) -> None:
    """Prints a line, unless quiet."""
    if not placement.quiet:
        print(text, flush=True)
