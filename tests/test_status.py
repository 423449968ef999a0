"""What is told of work while it lasts: on a terminal, elsewhere, and nowhere."""

from __future__ import annotations

import io
import re
import time

import pytest
from rich.console import Console

from pretrial import status


def screen(is_terminal: bool) -> Console:
    return Console(file=io.StringIO(), force_terminal=is_terminal, width=80)


def text_of(console: Console) -> str:
    return re.sub(r"\x1b\[[\d;?]*[a-zA-Z]", "", console.file.getvalue())


def until(console: Console, text: str) -> None:
    """Waits for a text, for ten seconds at most."""
    for _ in range(500):
        if text in text_of(console):
            return
        time.sleep(0.02)
    raise AssertionError(f"{text!r} is not in {text_of(console)!r}")


@pytest.fixture(autouse=True)
def _fast(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("FIRST", 0.1), ("EVERY", 0.2), ("_REFRESH", 0.02), ("_SHORT", 0.05)):
        monkeypatch.setattr(status, name, seconds)


def test_without_a_display_nothing_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with status.task("reading", 3) as task:
        task.advance()
        time.sleep(0.3)
    assert list(status.each([1, 2], "counting")) == [1, 2]
    status.note({"reward": 1.0})
    assert capsys.readouterr() == ("", "")


def test_elsewhere_than_on_a_terminal_lines_follow_one_another() -> None:
    console = screen(False)
    with status.shown(lambda: console), status.task("reading", 40) as task:
        until(console, "reading  0 of 40  0:00\n")
        task.advance(10)
        until(console, "reading  10 of 40  0:00  0:0")
        with status.task("inside"):
            until(console, "inside  0:00\n")
    assert len(text_of(console).splitlines()) < 20


def test_what_is_short_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "FIRST", 60.0)
    monkeypatch.setattr(status, "EVERY", 60.0)
    for console in (screen(True), screen(False)):
        with status.shown(lambda console=console: console):
            for _ in range(3):
                with status.task("short"):
                    pass
        assert "short" not in text_of(console)


def test_on_a_terminal_one_line_changes_and_is_gone_in_the_end() -> None:
    console = screen(True)
    with status.shown(lambda: console):
        with status.task("first " + "long " * 40):
            until(console, "first")
        with status.task("second"):
            until(console, "second")
            with status.shown(lambda: screen(False)), status.task("within"):  # the same display
                until(console, "within")
    lines = text_of(console).splitlines()
    assert max(map(len, lines)) <= 80
    assert console.file.getvalue().endswith("\x1b[2K")  # the line is erased


def test_other_processes_than_the_first_are_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    console = screen(False)
    with status.shown(lambda: console), status.task("reading"):
        time.sleep(0.3)
    assert text_of(console) == ""


def test_inside_hidden_no_display_is_opened() -> None:
    console = screen(False)
    with status.hidden(), status.shown(lambda: console), status.task("reading"):
        time.sleep(0.3)
    assert text_of(console) == ""


def test_a_screen_that_is_gone_stops_no_work() -> None:
    console = screen(False)
    console.file.close()
    with status.shown(lambda: console), status.task("reading"):
        time.sleep(0.3)
        with status.task("writing"):
            pass


def test_durations_read_like_clocks() -> None:
    assert [status.duration(s) for s in (7.9, 750, 3723)] == ["0:07", "12:30", "1:02:03"]
