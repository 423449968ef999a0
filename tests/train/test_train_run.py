"""A run: its folder, its artefacts, its books."""

from __future__ import annotations

import errno
import json
import os
import signal
import time

import pytest
import torch
from launched import in_child

from pretrial.errors import UserError
from pretrial.train.run import Run


def test_folder_in_use_by_another_process(tmp_path):
    def hold() -> None:
        Run(tmp_path, quiet=True)
        (tmp_path / "held").touch()
        time.sleep(60)

    child = in_child(hold)
    while not (tmp_path / "held").exists():
        time.sleep(0.01)
    with pytest.raises(UserError, match=f"in use by process {child.pid}.*another folder"):
        Run(tmp_path, quiet=True)
    os.kill(child.pid, signal.SIGKILL)
    child.join()
    Run(tmp_path, quiet=True)
    Run(tmp_path, quiet=True)  # the same process may open it again


def test_lock_survives_a_deleted_folder(tmp_path):
    import shutil

    folder = tmp_path / "run"
    Run(folder, quiet=True)
    shutil.rmtree(folder)
    Run(folder, quiet=True)
    assert (folder / ".lock").read_text() == str(os.getpid())


def test_once_is_made_once(tmp_path):
    calls = []

    def make(folder):
        calls.append(1)
        (folder / "x").write_text("made")
        run.book("sample", tokens=5.0, examples=2.0)

    run = Run(tmp_path, quiet=True)
    folder = run.once("samples", make)
    assert (folder / "x").read_text() == "made"
    run = Run(tmp_path, quiet=True)
    assert run.once("samples", make) == folder
    assert len(calls) == 1
    assert run.spent.by_purpose["sample"] == {"tokens": 5.0, "examples": 2.0}


def test_once_books_its_seconds(tmp_path):
    def make(folder):
        run.book("sample", seconds=0.05)
        time.sleep(0.15)

    run = Run(tmp_path, quiet=True)
    run.once("samples", make, purpose="execute")
    assert run.spent.by_purpose["sample"] == {"seconds": 0.05}
    assert 0.05 < run.spent.by_purpose["execute"]["seconds"] < 5
    before = run.spent.total("seconds")
    again = Run(tmp_path, quiet=True)
    again.once("samples", make, purpose="execute")
    assert again.spent.total("seconds") == before


def test_once_that_fails_leaves_nothing(tmp_path):
    def fail(folder):
        (folder / "x").write_text("half")
        run.book("sample", tokens=5.0)
        raise RuntimeError("no")

    run = Run(tmp_path, quiet=True)
    with pytest.raises(RuntimeError, match="no"):
        run.once("samples", fail)
    assert list((tmp_path / "artefacts").iterdir()) == []
    assert run.spent.total("tokens") == 0
    run.book("train", steps=1.0)
    assert run.spent.total("steps") == 1


def test_once_on_a_full_disk(tmp_path):
    def fill(folder):
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(UserError, match=r"artefacts/samples is full"):
        Run(tmp_path, quiet=True).once("samples", fill)


def test_once_of_another_seed(tmp_path):
    Run(tmp_path, quiet=True).once("samples", lambda folder: None)
    with pytest.raises(UserError, match="made with seed 0, not 1"):
        Run(tmp_path, quiet=True, seed=1).once("samples", lambda folder: None)


def test_randomness_does_not_depend_on_what_was_made_before(tmp_path):
    def draw(folder):
        (folder / "x").write_text(json.dumps(torch.rand(3).tolist()))

    one = Run(tmp_path / "a", quiet=True)
    first = (one.once("samples", draw) / "x").read_text()
    after = torch.rand(1)
    torch.rand(100)
    one.once("samples", draw)
    assert torch.equal(torch.rand(1), after)
    torch.rand(7)
    assert (Run(tmp_path / "b", quiet=True).once("samples", draw) / "x").read_text() == first
    other = Run(tmp_path / "c", quiet=True, seed=1).once("samples", draw)
    assert (other / "x").read_text() != first


def test_generator_depends_on_seed_and_name(tmp_path):
    def draw(name, seed=0):
        run = Run(tmp_path, quiet=True, seed=seed)
        return torch.rand(2, generator=run.generator(name)).tolist()

    assert draw("a") == draw("a")
    assert draw("a") != draw("b")
    assert draw("a") != draw("a", seed=1)


def test_say_and_quiet(tmp_path, capsys):
    Run(tmp_path, quiet=True).say("nothing")
    Run(tmp_path).say("[bold] is text")
    assert capsys.readouterr().out == "[bold] is text\n"


def test_no_gpu_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert Run(tmp_path, device="auto", quiet=True).device.type == "cpu"
    with pytest.raises(UserError, match="no GPU"):
        Run(tmp_path, device="cuda", quiet=True)
