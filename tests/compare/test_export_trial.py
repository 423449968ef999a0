"""The model of a trial's arm: exported from its record, or made again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pretrial.cli import main


@pytest.fixture
def held(tmp_path: Path, in_this_process: None) -> Path:
    """A folder in which ELECTRA's trial was held with one seed."""
    folder = tmp_path / "held"
    places = ["--out", str(folder / "results"), "--runs", str(folder / "runs")]
    arms = ["--arms", "electra", "--seeds", "1", "--workers", "1"]
    assert main(["trial", "electra", "--tiny", *arms, *places]) == 0
    return folder


def export(held: Path, to: Path, *more: str) -> int:
    words = ["export", str(held / "results" / "electra.json"), "--to", str(to)]
    return main([*words, "--runs", str(held / "runs"), *more])


def job(held: Path, arm: str) -> Path:
    [found] = held.glob(f"runs/electra/{arm}-seed100-*")
    return found


def test_the_model_of_an_arm_is_exported_used_from_its_job_and_trained_again_if_gone(
    held: Path, tmp_path: Path, capsys
) -> None:
    assert export(held, tmp_path / "one", "--arm", "mlm", "--seed", "100") == 0
    assert str(job(held, "mlm")) in capsys.readouterr().out
    weights = load_file(tmp_path / "one" / "model.safetensors")
    [trained] = job(held, "mlm").glob("run/stages/*/done/weights.safetensors")
    kept = {name.removeprefix("network."): value for name, value in load_file(trained).items()}
    shared = weights.keys() & kept.keys()
    assert len(shared) > 10
    assert all(torch.equal(weights[name], kept[name]) for name in shared)
    data = tmp_path / "texts.jsonl"
    data.write_text('{"text": "a list of names"}\n')
    for folder in (job(held, "mlm"), job(held, "mlm") / "run"):
        assert main(["predict", str(folder), "--data", str(data), "--ability", "encode"]) == 0
        assert len(json.loads(capsys.readouterr().out.splitlines()[-1])["encode"]) == 32

    shutil.rmtree(held / "runs")
    assert export(held, tmp_path / "two", "--arm", "mlm") == 0
    assert "it is trained again, which took" in capsys.readouterr().out
    again = load_file(tmp_path / "two" / "model.safetensors")
    assert all(torch.equal(weights[name], again[name]) for name in weights)


def test_mistakes_name_what_there_is(held: Path, tmp_path: Path, capsys) -> None:
    record = held / "results" / "electra.json"

    def fails(word: Path, *more: str, runs: str = "held/runs") -> str:
        where = ["--to", str(tmp_path / "to"), "--runs", str(tmp_path / runs)]
        assert main(["export", str(word), *where, *more]) == 2
        return capsys.readouterr().err

    assert "the nearest: electra" in fails(record, "--arm", "electro")
    told = fails(record, "--arm", "mlm", "--seed", "7")
    assert "did not run with seed 7: give one of 100" in told
    assert "name one of" in fails(record)
    assert "there is no record" in fails(tmp_path / "none.json")
    assert "is none" in fails(job(held, "mlm"), "--arm", "mlm")
    changed = json.loads(record.read_text())
    arm = changed["arms"][0]
    arm["config"]["width"] = 48
    record.write_text(json.dumps(changed))
    assert "width is 32, and was 48" in fails(record, "--arm", arm["name"], runs="gone")
    assert not (tmp_path / "to").exists()
