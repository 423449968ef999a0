"""`train --data-on-disk`: the same model, and what is said of data that changed."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pretrial.cli import main

Fails = Callable[..., str]


def command(texts: Path, out: Path, *more: object) -> list[str]:
    words = ["train", "bigram", "--data", texts, "--budget", "20steps", "--out", out]
    words += ["--preset", "base", *more]
    return [str(word) for word in words]


def same_model(one: Path, two: Path) -> bool:
    files = [out / "model" / "weights.safetensors" for out in (one, two)]
    return files[0].read_bytes() == files[1].read_bytes()


@pytest.mark.parametrize("more", [(), ("--limit", 30), ("--held-out-ratio", 0)])
def test_the_model_is_that_of_data_in_memory(
    texts: Path, tmp_path: Path, more: tuple[object, ...]
) -> None:
    memory, disk = tmp_path / "memory", tmp_path / "disk"
    assert main(command(texts, memory, *more)) == 0
    assert main(command(texts, disk, "--data-on-disk", *more)) == 0
    assert same_model(memory, disk)
    index = disk / "rows" / "data" / "index.json"
    made = index.stat().st_mtime_ns
    assert main(command(texts, disk, "--data-on-disk", *more)) == 0  # ends at once
    assert index.stat().st_mtime_ns == made
    sizes = [json.loads((out / "run.json").read_text())["num_examples"] for out in (memory, disk)]
    assert sizes[0] == sizes[1] > 0


def test_windows_of_tokens_stay_on_the_disk_too(texts: Path, tmp_path: Path) -> None:
    outs = [tmp_path / "memory", tmp_path / "disk"]
    for out, more in zip(outs, ([], ["--data-on-disk"]), strict=True):
        words = ["train", "mlm", "--tiny", "--budget", "3steps", "--data", texts, "--out", out]
        assert main([str(word) for word in [*words, *more]]) == 0
    one, two = (out / "model" / "model.safetensors" for out in outs)
    assert one.read_bytes() == two.read_bytes()
    assert sorted(path.name for path in outs[1].glob("artefacts/*")) == [
        "windows-data-22",
        "windows-held-out-22",
    ]


def test_held_out_data_of_its_own(texts: Path, tmp_path: Path) -> None:
    memory, disk = tmp_path / "memory", tmp_path / "disk"
    more = ("--held-out", texts, "--skip-bad")
    assert main(command(texts, memory, *more)) == 0
    assert main(command(texts, disk, "--data-on-disk", *more)) == 0
    assert same_model(memory, disk)
    assert (disk / "rows" / "held-out" / "index.json").exists()


def test_data_that_changes_after_the_run_began(texts: Path, tmp_path: Path, fails: Fails) -> None:
    out = tmp_path / "run"
    assert main(command(texts, out, "--data-on-disk")) == 0
    with texts.open("a") as file:
        file.write('{"text": "one more"}\n')
    told = fails(*command(texts, out, "--data-on-disk"))
    assert "the data changed since the run" in told
    assert "bytes and has" in told
    assert "give another --out" in told
    assert main(command(texts, tmp_path / "other", "--data-on-disk")) == 0


def test_an_index_out_of_date_is_made_again_while_nothing_is_trained(
    texts: Path, tmp_path: Path, fails: Fails, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    with texts.open("a") as file:
        file.write('{"text": "not all of i')
    assert "line 41 is not finished" in fails(*command(texts, out, "--data-on-disk"))
    assert not list(out.glob("rows/*"))
    capsys.readouterr()
    assert main(command(texts, out, "--data-on-disk", "--skip-bad", "--dry-run")) == 0
    assert capsys.readouterr().err.count("left out 1 rows") == 1
    with texts.open("a") as file:
        file.write('t"}\n')
    assert main(command(texts, out, "--data-on-disk", "--skip-bad")) == 0
    record = json.loads((out / "run.json").read_text())
    assert record["num_examples"] + record["num_held_out"] == 41


def test_data_larger_than_memory_names_the_option(
    texts: Path, tmp_path: Path, fails: Fails, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sysconf", lambda name: 10)
    told = fails(*command(texts, tmp_path / "run"))
    assert "leave the data on the disk with --data-on-disk" in told
    assert main(command(texts, tmp_path / "run", "--limit", 30)) == 0
