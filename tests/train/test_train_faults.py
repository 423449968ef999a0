"""The harness of bench/faults.py on a few points: every kind of fault, and the same weights."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "bench" / "faults.py"


@pytest.mark.timeout(600)
def test_a_run_that_is_hit_ends_as_one_that_is_not(tmp_path: Path) -> None:
    out = tmp_path / "faults.json"
    command = [sys.executable, SCRIPT, "--points", "6", "--seed", "3", "--out", out]
    subprocess.run([str(word) for word in command], check=True, capture_output=True)
    found = json.loads(out.read_text())
    assert found["points"] == 6
    assert found["runs_with_other_weights"] == []
    assert found["torn_files"] == []
    kinds = {hit["kind"] for hit in found["hits"]} | set(found["kinds_left_out"])
    assert kinds == {"kill", "stop", "disk", "fsync", "memory", "clock"}
    for hit in found["hits"]:
        if hit["kind"] == "kill":
            assert hit["code"] == -9
        if hit["kind"] == "disk" and hit["code"] is not None:
            assert hit["code"] == 2
            assert "is full" in hit["said"] or "No space left" in hit["said"]
