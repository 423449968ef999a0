"""The page of a trial that is still held: renewed as jobs end, provisional, and said so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pretrial.cli import main
from pretrial.compare.engine import Placement, hold
from pretrial.compare.jobs import Local, Progress, StoppedError
from pretrial.compare.report.so_far_page import ProvisionalPage, so_far_page
from pretrial.compare.setting import Setting

TOYS = Path(__file__).parent / "toy_methods"
pytestmark = pytest.mark.usefixtures("in_this_process")


@pytest.fixture(autouse=True)
def _toy_methods(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PRETRIAL_METHODS", str(TOYS))
    monkeypatch.chdir(tmp_path)


def heading(html: str) -> str:
    found = re.search("<h1>(.*?)</h1>", html)
    assert found is not None
    return found[1]


def test_it_shows_what_the_jobs_have_given_and_decides_nothing(tmp_path: Path) -> None:
    seen: list[str] = []
    setting = Setting(("line",), {"steps": 30, "useful": 0.05, "gate": True}, tuple(range(16)))
    place = Placement(tmp_path / "runs", quiet=True)
    record = hold(setting, place, renew=lambda now: seen.append(so_far_page(now, 10.0).render()))
    assert record["verdict"] == "better"
    assert all(heading(html).startswith("Provisional: ") for html in seen)
    assert all('class="live"' in html for html in seen)
    assert not any(word in html for html in seen for word in ('"tag good"', "Better:"))
    assert "of the pilots" in seen[1]  # the gate's arms run on seeds that do not count
    last = seen[-1]
    assert heading(last) == "Provisional: 10 of 10 jobs of this step are done; nothing is decided."
    assert record["question"] in last
    for seed in range(5):
        assert f">seed {seed}</text>" in last
    assert 'class="curve"' in last

    again: list[int] = []  # all jobs are done: nothing ends, so nothing is renewed
    hold(setting, place, renew=lambda now: again.append(now.done))
    assert again == []


def test_the_command_writes_it_and_the_record_takes_its_place(tmp_path: Path, monkeypatch) -> None:
    page = tmp_path / "results/pages/line.html"
    seen: list[str] = []
    run = Local.run

    def spied(pool, jobs, progress) -> None:
        class Spy(Progress):
            def ended(self, job, seconds) -> None:
                progress.ended(job, seconds)
                seen.append(page.read_text())

        run(pool, jobs, Spy())

    monkeypatch.setattr(Local, "run", spied)
    words = ["trial", "line", "--seeds", "2", "--arms", "line", "--steps", "12"]
    assert main(words) == 0
    assert heading(seen[0]).startswith("Provisional: 1 of 4 jobs")
    assert heading(page.read_text()).startswith("Undecided: ")
    assert 'class="live"' not in page.read_text()


def test_a_trial_that_is_stopped_says_so_on_its_page(tmp_path: Path, monkeypatch) -> None:
    run = Local.run

    def stopped(pool, jobs, progress) -> None:
        run(pool, jobs[:3], progress)
        raise StoppedError("stopped")

    monkeypatch.setattr(Local, "run", stopped)
    assert main(["trial", "line", "--seeds", "2", "--arms", "line", "--steps", "12"]) == 2
    html = (tmp_path / "results/pages/line.html").read_text()
    assert heading(html) == "Stopped: 3 of 4 jobs of this step are done; nothing is decided."
    assert 'class="live"' not in html


def test_it_is_not_written_at_every_job_of_a_fast_trial(tmp_path: Path) -> None:
    written: list[int] = []

    class Counted(ProvisionalPage):
        def _write(self, so_far, every: float) -> None:
            written.append(so_far.done)

    page = Counted(tmp_path)
    setting = Setting(("line",), {"steps": 12}, (0, 1))
    hold(setting, Placement(tmp_path / "runs", quiet=True), renew=page.renew)
    assert written == [1]
    page.stop()
    assert len(written) == 2
