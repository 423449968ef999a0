"""A package of an extra that is not installed is told before the work, not after it."""

from __future__ import annotations

import importlib
import importlib.abc
import inspect
import json
import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pretrial import discover
from pretrial.cli import main
from pretrial.compare.making import make_one
from pretrial.errors import OPTIONAL, UserError, require_packages
from pretrial.train.lora import LoraOptions

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
#: What a measure calls that imports a package.
CALLS = {
    "sklearn": r"few_labels\.(plain_)?accuracies|packages\.measure|encoder_trial\(|\bprobe\(",
    "bm25s": r"bm25_scores\(",
}


class Blocker(importlib.abc.MetaPathFinder):
    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if name.split(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


@pytest.fixture
def hide(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Makes packages as if they were not installed."""

    def run(*names: str) -> None:
        monkeypatch.setattr(sys, "meta_path", [Blocker(names), *sys.meta_path])
        for module in [each for each in sys.modules if each.split(".")[0] in names]:
            monkeypatch.delitem(sys.modules, module)

    return run


def test_the_extras_are_those_of_the_project(hide: Callable[..., None]) -> None:
    for package, extra in OPTIONAL.values():
        wanted = [re.split(r"\W*[>=]", each)[0] for each in PROJECT["optional-dependencies"][extra]]
        assert package in wanted
    hide("scipy", "sklearn", "jsonschema")
    with pytest.raises(UserError, match=r"scikit-learn and scipy .* 'pretrial\[text,trial\]'"):
        require_packages("sklearn", "torch", "scipy", "sklearn")
    require_packages("torch")


@pytest.mark.parametrize("slug", sorted(discover.methods()))
def test_trials_name_the_packages_of_their_measures(slug: str) -> None:
    function = discover.load(slug).trial
    if function is None:
        pytest.skip("no trial")
    source = inspect.getsource(inspect.getmodule(function))  # type: ignore[arg-type]
    known = inspect.signature(function).parameters
    made = make_one(slug, {"tiny": True} if "tiny" in known else {})
    for package, call in CALLS.items():
        if re.search(call, source):
            assert package in made.packages, package


@pytest.mark.parametrize(
    ("words", "hidden", "told"),
    [
        (("trial", "mp3", "--tiny"), ("sklearn",), r"scikit-learn is .*'pretrial\[text\]'"),
        (("trial", "unixcoder", "--tiny"), ("bm25s",), r"bm25s is .*'pretrial\[text\]'"),
        (("trial", "polycom", "--tiny"), ("scipy",), r"scipy is .*'pretrial\[trial\]'"),
        (("trial", "polycom", "--tiny"), ("jsonschema",), r"jsonschema is .*'pretrial\[trial\]'"),
        (("trial", "electra", "--tiny"), ("sklearn", "scipy"), r"'pretrial\[trial,text\]'"),
        (("compare", "electra", "mlm", "--tiny"), ("sklearn",), r"'pretrial\[text\]'"),
        (("compare", "electra", "mlm", "--tiny"), ("scipy",), r"'pretrial\[trial\]'"),
    ],
)
def test_a_trial_begins_with_all_that_it_needs(
    words: tuple[str, ...],
    hidden: tuple[str, ...],
    told: str,
    tmp_path: Path,
    hide: Callable[..., None],
    fails: Callable[..., str],
) -> None:
    hide(*hidden)
    runs, out = tmp_path / "runs", tmp_path / "out"
    assert re.search(told, fails(*words, "--runs", runs, "--out", out))
    assert not list(runs.glob("*"))


def test_a_task_begins_with_all_that_it_needs(
    tmp_path: Path,
    hide: Callable[..., None],
    fails: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = tmp_path / "texts.jsonl"
    rows = [{"text": f"gull {i} on the wall", "label": i % 2, "target": "a"} for i in range(64)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = tmp_path / "run"
    train = ["train", "mlm", "--tiny", "--budget", "1steps", "--data", str(data)]
    assert main([*train, "--out", str(run), "--device", "cpu"]) == 0
    hide("sklearn", "bm25s")
    method = discover.load("mlm").method

    def encode(*args: Any, **options: Any) -> None:
        raise AssertionError("vectors were made first")

    monkeypatch.setattr(method, "encode", encode)
    probe = ("eval", run, "--data", data, "--task", "probe", "--num-train", "8")
    assert "pip install 'pretrial[text]'" in fails(*probe)
    search = ("eval", run, "--data", data, "--task", "retrieval", "--label", "label")
    assert "bm25s is not installed" in fails(*search, "--baseline")
    capsys.readouterr()
    tune = ["eval", str(run), "--data", str(data), "--task", "finetune", "--num-train", "32"]
    assert main([*tune, "--epochs", "1"]) == 0  # which needs none of them
    assert "accuracy" in capsys.readouterr().out


def test_a_training_that_watches_a_probe_says_so_before_its_first_step(
    tmp_path: Path, hide: Callable[..., None], fails: Callable[..., str]
) -> None:
    images = np.random.default_rng(0).integers(0, 255, (64, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "images.npz", image=images, label=np.arange(64) % 2)
    hide("sklearn")
    words = ("train", "further_pretraining", "--tiny", "--budget", "4steps", "--held-out-ratio")
    told = fails(*words, "0.3", "--data", tmp_path / "images.npz", "--out", tmp_path / "run")
    assert "scikit-learn is not installed" in told
    log = tmp_path / "run" / "metrics.jsonl"
    assert not log.exists() or not log.read_text()


def test_adapters_without_peft_name_its_extra(hide: Callable[..., None]) -> None:
    hide("peft")
    with pytest.raises(UserError, match=r"peft is not installed: pip install 'pretrial\[lora\]'"):
        LoraOptions(lora_rank=4).check("a-checkpoint")
