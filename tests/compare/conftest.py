"""What tests of trials share."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from pretrial.compare import worker
from pretrial.compare.jobs import Job, Local, Progress
from pretrial.compare.times import Clock


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs run one after another where the test runs, for tests of what follows from them.

    That they give the same in processes of their own is shown in test_forks.
    """

    def run(pool: Local, jobs: Sequence[Job], progress: Progress) -> None:
        for job in jobs:
            if not job.done:
                progress.begun(job)
                with Clock(job.folder) as clock:
                    worker.work(job.folder, clock)
                progress.ended(job, 0.0)

    monkeypatch.setattr(Local, "run", run)
