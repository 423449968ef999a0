"""`report` of a run: what a finished training leaves, and the same by the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pretrial.cli import main


def test_a_finished_training_leaves_its_page(
    texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    words = ["train", "bigram", "--data", str(texts), "--budget", "20steps", "--lr", "0.2"]
    words += ["--preset", "base"]
    assert main([*words, "--out", str(out)]) == 0
    assert f"{out / 'report.html'} shows the run" in capsys.readouterr().out
    html = (out / "report.html").read_text()
    assert "<h1>Finished after 20 steps: " in html
    assert f"bigram on {texts}: finished" in html
    assert "<td>--lr</td><td>0.2</td>" in html  # not the default, so in the table
    assert "<td>--batch-size</td>" not in html
    spent = json.loads((out / "spent.json").read_text())
    assert spent["train"]["steps"] == 20
    assert '<td>train</td><td class="number">' in html

    (out / "report.html").unlink()
    assert main(["report", str(out)]) == 0
    assert capsys.readouterr().out == f"wrote {out / 'report.html'}\n"
    assert (out / "report.html").read_text() == html


def test_a_run_that_failed_is_told_as_stopped(
    texts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    words = ["train", "bigram", "--data", str(texts), "--budget", "20steps", "--lr", "1e30"]
    words += ["--preset", "base"]
    assert main([*words, "--out", str(out)]) == 2
    capsys.readouterr()
    (out / ".lock").write_text("999999999")  # as after the end of that process
    assert main(["report", str(out)]) == 0
    assert "run again, goes on" in (out / "report.html").read_text()
