"""What tests of trials share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from pretrial.compare import worker
from pretrial.compare.jobs import Job, Local
from pretrial.compare.times import Clock


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs run one after another where the test runs, for tests of what follows from them.

    That they give the same in processes of their own is shown in test_forks.
    """

    def run(pool: Local, jobs: Sequence[Job], progress: Callable[[Job, float], Any]) -> None:
        for job in jobs:
            if not job.done:
                with Clock(job.folder) as clock:
                    worker.work(job.folder, clock)
                progress(job, 0.0)

    monkeypatch.setattr(Local, "run", run)
