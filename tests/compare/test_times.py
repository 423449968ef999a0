"""When jobs were at work, over all their parts."""

from __future__ import annotations

import time

import pytest

from pretrial.compare import times


def write(folder, *parts: tuple[float, float]) -> None:
    folder.mkdir(exist_ok=True)
    text = "".join(f"{began:.3f} {ended:.3f}\n" for began, ended in parts)
    (folder / times.TIMES).write_text(text)


def test_seconds_of_a_job_are_the_sum_over_its_parts(tmp_path) -> None:
    write(tmp_path / "job", (100, 130), (1000, 1005.5))
    assert times.worked(tmp_path / "job") == 35.5
    assert times.worked(tmp_path / "none") == 0


def test_time_of_a_trial_is_that_in_which_any_job_was_at_work(tmp_path) -> None:
    write(tmp_path / "a", (100, 110), (200, 220))
    write(tmp_path / "b", (105, 120), (202, 204))
    write(tmp_path / "c", (300, 301))
    assert times.covered([tmp_path / name for name in "abc"]) == 20 + 20 + 1
    assert times.covered([]) == 0


def test_clock_adds_a_line_and_keeps_it_up_to_date(tmp_path) -> None:
    write(tmp_path, (100, 130))
    with times.Clock(tmp_path) as clock:
        first = times.parts(tmp_path)
        time.sleep(0.05)
        clock.tick()
        second = times.parts(tmp_path)
        time.sleep(0.05)
    last = times.parts(tmp_path)
    assert [len(found) for found in (first, second, last)] == [2, 2, 2]
    assert first[0] == (100, 130)
    assert first[1][0] == last[1][0] == pytest.approx(time.time(), abs=30)
    assert first[1][1] < second[1][1] < last[1][1]


def test_line_torn_by_a_power_cut_is_passed_over(tmp_path) -> None:
    (tmp_path / times.TIMES).write_bytes(b"100.000 101.000\n\0\0\0\0\0\0\n200.000 20\n")
    assert times.parts(tmp_path) == [(100, 101)]
