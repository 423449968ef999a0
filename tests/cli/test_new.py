"""`pretrial new`: what it writes keeps the contract, passes its tests, trains and goes on trial."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pretrial import discover
from pretrial.cli import main

Fails = Callable[..., str]


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of one's own methods, which is not there yet."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(discover.OWN, "mine")
    return tmp_path / "mine"


def test_new_methods_pass_all_their_tests(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["new", "text", "new_texts", "--name", "NEWTexts"]) == 0
    told = capsys.readouterr().out
    assert "mine/text/new_texts/trials.py" in told
    assert "export" not in told
    assert main(["new", "vision", "new_images"]) == 0
    assert discover.load("new_texts").method.__name__ == "NEWTexts"
    assert discover.load("new_images").method.__name__ == "NewImages"
    for path in own.rglob("*.py"):
        assert not re.search(r"masked_(text|image)\b|Masked(Text|Image)", path.read_text()), path
    environment = {k: v for k, v in os.environ.items() if k != discover.OWN}
    words = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(own)]
    done = subprocess.run(words, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "45 passed" in done.stdout


def test_a_new_method_trains_and_goes_on_trial(
    own: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("sklearn")
    assert main(["new", "vision", "pictures"]) == 0
    data = ["--data", "builtin:digits", "--limit", "200"]
    train = ["train", "pictures", *data, "--tiny", "--budget", "8steps", "--out", "run"]
    assert main(train) == 0
    assert main(["export", "run", "--to", "model"]) == 0
    assert (tmp_path / "model" / "config.json").is_file()
    trial = ["trial", "pictures", "--tiny", "--seeds", "1", "--workers", "1"]
    assert main([*trial, "--out", "results", "--runs", "jobs", "--arms", "painting"]) == 0
    assert (tmp_path / "results" / "pictures.json").is_file()
    assert "painting - scratch, accuracy" in capsys.readouterr().out


def test_the_trial_of_texts_has_three_arms(own: Path) -> None:
    assert main(["new", "code", "lines"]) == 0
    found = discover.load("lines")
    assert found.trial is not None
    assert [arm.name for arm in found.trial(tiny=True).arms] == ["weighted", "plain", "random"]
    assert discover.find("lines").family == "code"


def test_a_method_of_the_project_lies_where_the_others_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: Fails
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "run it in the repository" in fails("new", "text", "placed", "--here")
    for folder in ("src/pretrial/methods", "tests/methods"):
        (tmp_path / folder).mkdir(parents=True)
    assert main(["new", "speech", "placed", "--here", "--template", "text"]) == 0
    written = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.py"))
    assert written == [
        "src/pretrial/methods/speech/__init__.py",
        "src/pretrial/methods/speech/placed/__init__.py",
        "src/pretrial/methods/speech/placed/trials.py",
        "tests/methods/speech/test_placed.py",
    ]


def test_mistakes_name_the_mend(own: Path, fails: Fails) -> None:
    assert "a family and a slug" in fails("new", "text")
    assert "lower-case" in fails("new", "text", "My-Idea")
    assert "lower-case" in fails("new", "text", "class")
    assert "another slug" in fails("new", "text", "electra")
    assert "--name 3" in fails("new", "text", "third", "--name", "3")
    assert main(["new", "text", "twice"]) == 0
    shutil.rmtree(own / "text")
    assert "exists already" in fails("new", "text", "twice")
