"""Folders that are whole or not there."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import signal

import pytest
import torch
from launched import in_child
from safetensors import SafetensorError
from torch import nn
from train_toy import Regression, Toy, make_data

from pretrial.errors import UserError
from pretrial.train import checkpoint
from pretrial.train.budget import Budget
from pretrial.train.loop import train
from pretrial.train.run import Run


def test_write_and_read(tmp_path):
    tensors = {"weights": {"a": torch.randn(2, 3), "b": torch.tensor(3)}, "ema": {}}
    checkpoint.write(tmp_path / "c", tensors, {"step": 3})
    assert checkpoint.read_state(tmp_path / "c")["step"] == 3
    read = checkpoint.read_tensors(tmp_path / "c", "weights")
    assert read.keys() == {"a", "b"}
    assert all(torch.equal(read[name], tensors["weights"][name]) for name in read)
    assert checkpoint.read_tensors(tmp_path / "c", "ema") == {}


def test_tied_and_overlapping_tensors(tmp_path):
    base = torch.arange(6.0)
    tensors = {"a": base, "b": base, "part": base[2:4], "turned": base.view(2, 3).t()}
    checkpoint.write(tmp_path / "c", {"weights": tensors}, {})
    read = checkpoint.read_tensors(tmp_path / "c", "weights")
    assert all(torch.equal(read[name], tensor) for name, tensor in tensors.items())
    assert checkpoint.read_state(tmp_path / "c")["tied"]["weights"] == {"b": "a"}
    assert (tmp_path / "c/weights.safetensors").stat().st_size < 4 * (6 + 2 + 6) + 400


def test_tied_weights_of_a_module_stay_tied(tmp_path):
    module = nn.Module()
    module.embed, module.out = nn.Embedding(5, 3), nn.Linear(3, 5, bias=False)
    module.out.weight = module.embed.weight
    checkpoint.write(tmp_path / "c", {"weights": checkpoint.weights_of(module)}, {})
    saved = module.embed.weight.detach().clone()
    with torch.no_grad():
        module.embed.weight.zero_()
    weights = checkpoint.read_tensors(tmp_path / "c", "weights")
    checkpoint.load_weights(module, weights, tmp_path / "c")
    assert module.out.weight is module.embed.weight
    assert torch.equal(module.out.weight, saved)


def test_frozen_modules_at_any_depth():
    inner = Toy()
    inner.frozen["teacher"] = nn.Linear(1, 1)
    outer = Toy()
    outer.inner = inner
    outer.plain = nn.Module()
    outer.plain.frozen = nn.Linear(1, 1)  # a name alone freezes nothing
    assert checkpoint.frozen_prefixes(outer) == ("frozen.", "inner.frozen.")
    names = checkpoint.weights_of(outer).keys()
    assert "plain.frozen.weight" in names
    assert not any("teacher" in name for name in names)


def test_folder_appears_only_whole(tmp_path):
    def fail():
        with checkpoint.whole_folder(tmp_path / "c") as partial:
            (partial / "file").write_text("half")
            assert not (tmp_path / "c").exists()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []
    with checkpoint.whole_folder(tmp_path / "c") as partial:
        (partial / "file").write_text("whole")
    assert (tmp_path / "c/file").read_text() == "whole"


def test_damaged_file_is_named(tmp_path):
    checkpoint.write(tmp_path / "c", {"weights": {"a": torch.ones(9)}}, {})
    path = tmp_path / "c/weights.safetensors"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(UserError, match=r"c/weights\.safetensors cannot be read.*delete"):
        checkpoint.read_tensors(tmp_path / "c", "weights")


@pytest.mark.parametrize("where", ["save_file", "rename", "fsync"])
def test_full_disk(tmp_path, monkeypatch, where):
    """The last good checkpoint stays, and the user is told what is needed."""
    method = Toy()
    run = Run(tmp_path, make_data(), budget=Budget(6), save_every=Budget(2, "steps"), quiet=True)
    owner = checkpoint if where == "save_file" else checkpoint.os
    real = getattr(owner, where)

    def full(*args, **kwargs):
        if list(tmp_path.glob("stages/train/step-*04")):
            if where == "save_file":
                raise SafetensorError("I/O error: No space left on device (os error 28)")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, where, full)
    with pytest.raises(UserError, match=r"is full \(.*kB are needed and .*free some space"):
        train(method, run)
    names = sorted(path.name for path in (tmp_path / "stages/train").iterdir())
    assert names == ["step-0000000002", "step-0000000004"]
    monkeypatch.undo()
    train(Toy(), Run(tmp_path, make_data(), budget=Budget(6), quiet=True))


def test_failing_disk(tmp_path, monkeypatch):
    def fail(file):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(UserError, match=r"disk of .*/c fails \(Input/output error\): .*run the"):
        checkpoint.write(tmp_path / "c", {"weights": {"a": torch.ones(9)}}, {})
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="fails"):  # nor does a run begin there unsaid
        train(Toy(), Run(tmp_path / "run", make_data(), budget=Budget(2), quiet=True))


def test_a_kill_while_pruning_leaves_no_half_checkpoint(tmp_path, monkeypatch):
    for step in range(3):
        checkpoint.write(tmp_path / f"step-{step}", {"weights": {"a": torch.ones(9)}}, {})

    def begin_only(path):
        next(path.iterdir()).unlink()
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", begin_only)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.prune(tmp_path, 1)
    for path in tmp_path.glob("step-*"):
        assert checkpoint.read_tensors(path, "weights")["a"].sum() == 9
    monkeypatch.undo()
    checkpoint.prune(tmp_path, 1)
    assert [path.name for path in tmp_path.iterdir()] == ["step-2"]


def test_file_size_limit_is_not_called_a_full_disk(tmp_path):
    """A real failing write, by the kernel, in a child."""

    def work() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
        with pytest.raises(Exception, match=r"os error 27"):
            checkpoint.write(tmp_path / "c", {"weights": {"a": torch.ones(9999)}}, {})

    child = in_child(work)
    child.join()
    assert child.exitcode == 0
    assert list(tmp_path.iterdir()) == []


def test_key_mismatch_names_the_keys():
    weights = checkpoint.weights_of(Regression())
    other = Regression()
    other.head = nn.Linear(8, 1, bias=False)
    other.extra = nn.Linear(1, 1)
    with pytest.raises(UserError) as error:
        checkpoint.load_weights(other, weights, "somewhere")
    assert "not in the checkpoint: extra.bias, extra.weight" in str(error.value)
    assert "not in the model: head.bias" in str(error.value)


def test_state_is_plain_json(tmp_path):
    checkpoint.write(tmp_path / "c", {}, {"x": 0.1 + 0.2})
    assert json.loads((tmp_path / "c/state.json").read_text())["x"] == 0.1 + 0.2
