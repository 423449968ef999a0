"""bench/gpu.py where there is no GPU: what it says, what it writes, and parts that fail."""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "bench" / "gpu.py"


@pytest.fixture
def bench():
    spec = importlib.util.spec_from_file_location("bench_gpu", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_without_a_gpu_nothing_is_measured(bench, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(bench, "measure_all", lambda options: pytest.fail("it measured"))
    assert bench.main([]) == 0
    assert "no CUDA device here" in capsys.readouterr().out


def test_only_a_whole_measurement_becomes_the_record(bench):
    assert bench.parsed([]).out == bench.RECORD
    assert bench.parsed(["--only", "loop"]).out is None
    assert bench.parsed(["--device", "cpu", "--tiny"]).out is None
    with pytest.raises(SystemExit):
        bench.parsed(["--device", "cpu"])


def test_a_part_that_fails_is_recorded_and_the_others_go_on(bench, monkeypatch, tmp_path, capsys):
    row = {"name": "a", "unit": "ms", "median": 2.0, "lowest": 1.0, "highest": 3.0, "count": 3}
    rows = [row | {"ratio": 1.0}, row | {"name": "b", "ratio": 1.5, "against": "a"}]

    def in_process(command, out, seconds):
        if "loop" in command:
            return {"seconds": 1.0, "error": "ValueError: no"}
        return {"seconds": 1.0, "rows": rows, "cut": True, "far": {"x": 0.25}}

    monkeypatch.setattr(bench, "in_process", in_process)
    out = tmp_path / "gpu.json"
    words = ["--device", "cpu", "--tiny", "--only", "loop", "bf16", "--out", str(out)]
    assert bench.main(words) == 1
    record = json.loads(out.read_text())
    assert record["parts"]["loop"]["error"] == "ValueError: no"
    assert record["ratios"] == {"bf16": {"b / a": 1.5}}
    assert record["rehearsal"]
    said = capsys.readouterr().out
    assert "failed: ValueError: no" in said
    assert "bf16, 1 s, cut" in said
    assert "far: x 0.25" in said


def test_how_a_process_ends(bench, tmp_path):
    def run(code, seconds=30.0):
        out = tmp_path / "out.json"
        out.unlink(missing_ok=True)
        return bench.in_process([sys.executable, "-c", code, str(out)], out, seconds)

    good = "import sys; open(sys.argv[1], 'w').write('{\"rows\": []}')"
    assert run(good)["rows"] == []
    assert run("raise SystemExit('no memory')")["error"] == "it ended with code 1: no memory"
    began = time.monotonic()
    assert run("import time; time.sleep(60)", 1)["error"] == "it was killed after its 1 s"
    assert time.monotonic() - began < 30
