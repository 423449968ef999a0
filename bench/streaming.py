"""Training on data larger than memory: flat memory, exact resume, nothing lost between processes.

    python bench/streaming.py [--gigabytes 20] [--steps 10000] [--out results/streaming.json]

It writes shards of JSON lines (rows of 1 to 8 kB) into a temporary folder, and deletes them in the
end. Then, with what `pretrial train --data-on-disk` uses:

    index     one pass over all shards, as before a training: every row is parsed, and a hundredth
              is held out
    train     a small model learns from rows in random order, one process, the shards dropped from
              the system's cache before
    resume    the same training is killed (SIGKILL) half-way and started again; its weights must be
              those of the training that was left alone, bit for bit
    share     the positions of one epoch in one and in four processes: each row once

Memory is the resident set of the process, and the part of it that is not files (RssAnon), looked at
all the time. For comparison `load` holds the first 200 MB in memory.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pretrial.api.data import side_of
from pretrial.data.reading.indexed import DiskRows, write_index
from pretrial.data.reading.sources import load
from pretrial.data.rows import Row
from pretrial.environment import commit, environment
from pretrial.train.batches import Order
from pretrial.train.budget import Budget
from pretrial.train.loop import train
from pretrial.train.method import Method
from pretrial.train.run import Run
from pretrial.train.stage import Batch, Optim, Stage

NUM_SHARDS, BATCH, SAVE_STEPS = 8, 32, 1000
SMALL_BYTES = 200_000_000
WORDS = ("the", "of", "and", "to", "in", "is", "for", "it", "with", "as", "his", "on", "not")


class Bytes(Method):
    """Tells the share of spaces from how often every other byte comes: a model that costs little.

    Args:
        die_at: the step in which the process kills itself.
    """

    def __init__(self, die_at: int | None = None) -> None:
        super().__init__(None)
        torch.manual_seed(0)
        self.network = nn.Sequential(nn.Linear(256, 32), nn.Tanh(), nn.Linear(32, 1))
        self.die_at, self.num_batches = die_at, 0

    def batch(self, examples: Sequence[Row], generator: torch.Generator) -> Batch:
        if self.num_batches == self.die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        self.num_batches += 1
        texts = [np.frombuffer(row["text"].encode(), dtype=np.uint8) for row in examples]
        counts = np.stack([np.bincount(text, minlength=256) / len(text) for text in texts])
        found = torch.from_numpy(counts).float()
        target = found[:, 32].clone()
        found[:, 32] = 0
        return {"x": found, "y": target, "counts": {"examples": float(len(examples))}}

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        error = (self.network(batch["x"])[:, 0] - batch["y"]).square().sum()
        return {"loss": error / batch["counts"]["examples"]}

    def stages(self, run: Run) -> Iterator[Stage]:
        yield Stage("train", self, run.data, run.budget, Optim(1e-3), batch_size=BATCH)


class Memory:
    """Looks at this process's memory every half second."""

    def __init__(self) -> None:
        self.seen: list[tuple[float, float, float]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> Memory:
        self._began = time.monotonic()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while True:
            self.seen.append((time.monotonic() - self._began, *memory_mb()))
            if self._over.wait(0.5):
                return

    def report(self, count: int = 8) -> dict[str, Any]:
        """The most that was seen, and `count` moments: seconds, resident, not files (MB)."""
        places = np.linspace(0, len(self.seen) - 1, min(count, len(self.seen))).astype(int)
        return {
            "most_resident_mb": round(max(rss for _, rss, _ in self.seen)),
            "most_not_files_mb": round(max(own for _, _, own in self.seen)),
            "seconds_resident_own": [[round(n) for n in self.seen[i]] for i in places],
        }


def memory_mb() -> tuple[float, float]:
    """Resident memory of this process, and the part that is not files."""
    lines = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines())
    resident, own = (int(lines[name].split()[0]) / 1e3 for name in ("VmRSS", "RssAnon"))
    return resident, own


def generate(folder: Path, num_bytes: int) -> int:
    """Writes shards of that size together; the number of rows."""
    rng = random.Random(0)
    pool = " ".join(rng.choices(WORDS, k=4_000_000)).encode()
    number = 0
    for shard in range(NUM_SHARDS):
        with (folder / f"shard-{shard}.jsonl").open("wb", buffering=1 << 20) as file:
            size = 0
            while size < num_bytes / NUM_SHARDS:
                start = rng.randrange(len(pool) - 8000)
                text = pool[start : start + rng.randrange(1000, 8000)]
                size += file.write(b'{"n": %d, "text": "%b"}\n' % (number, text))
                number += 1
            os.fsync(file.fileno())
    return number


def forget(folder: Path) -> None:
    """Drops the shards from the system's cache."""
    for path in folder.glob("*.jsonl"):
        handle = os.open(path, os.O_RDONLY)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def learn(out: Path, index: Path, steps: int, die_at: int | None = None) -> dict[str, Any]:
    """Trains, or goes on training; seconds, and memory over time."""
    rows = DiskRows(index, "kept")
    method = Bytes(die_at)
    every = Budget(SAVE_STEPS, "steps")
    run = Run(out, rows, budget=Budget(steps), save_every=every, log_every=100, quiet=True)
    began = time.monotonic()
    with Memory() as memory:
        train(method, run)
    return {"seconds": round(time.monotonic() - began, 1), **memory.report()}


def alone(work: Any, *arguments: Any) -> Any:
    """What a function returns in a process of its own, or the exit code if that was killed."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_send, args=(theirs, work, *arguments))
    process.start()
    theirs.close()
    try:
        return ours.recv()
    except EOFError:
        process.join()
        return process.exitcode
    finally:
        process.join()


def _send(pipe: Any, work: Any, *arguments: Any) -> None:
    torch.set_num_threads(1)
    pipe.send(work(*arguments))


def make_index(shards: Path, index: Path) -> dict[str, Any]:
    """Indexes all shards; seconds, and memory over time."""
    began = time.monotonic()
    with Memory() as memory:
        rows = load(shards, streaming=True)
        write_index(index, rows, {}, side_of(0.01, 0), ("kept", "aside"))
    return {"seconds": round(time.monotonic() - began, 1), **memory.report()}


def in_memory(path: Path) -> dict[str, Any]:
    """What the rows of a small file take in memory."""
    with Memory() as memory:
        rows = load(path)
    return {"rows": len(rows), **memory.report(2)}


def share(index: Path, shards: Path) -> dict[str, Any]:
    """Whether every byte belongs to one row, and every row of an epoch to one of four processes."""
    places = [
        np.fromfile(index / f"{part}.places", "<i8").reshape(-1, 3) for part in ("kept", "aside")
    ]
    whole = np.concatenate(places)
    whole = whole[np.lexsort((whole[:, 1], whole[:, 0]))]
    for number, path in enumerate(sorted(shards.iterdir())):
        start, length = whole[whole[:, 0] == number, 1:].T
        assert start[0] == 0
        assert (start[1:] == start[:-1] + length[:-1]).all()
        assert start[-1] + length[-1] == path.stat().st_size
    num_rows, size = len(places[0]), 4
    order, block = Order(num_rows, 0, shuffle=True), BATCH // size
    seen = np.zeros(num_rows, dtype=np.int8)
    num_steps = num_rows // BATCH
    for rank in range(size):
        for step in range(num_steps):
            seen[order.take(step * BATCH + rank * block, block)] += 1
    seen[order.take(num_steps * BATCH, num_rows - num_steps * BATCH)] += 1  # begins the next step
    return {"rows": len(whole), "kept": num_rows, "each_once": bool((seen == 1).all())}


def measure(folder: Path, num_bytes: int, steps: int) -> dict[str, Any]:
    """All figures."""
    shards, index, small = folder / "shards", folder / "index", folder / "small.jsonl"
    shards.mkdir()
    index.mkdir()
    began = time.monotonic()
    num_rows = generate(shards, num_bytes)
    size = sum(path.stat().st_size for path in shards.iterdir())
    say(f"{num_rows:,} rows, {size / 1e9:.1f} GB, written in {time.monotonic() - began:.0f} s")
    found: dict[str, Any] = {"rows": num_rows, "bytes": size}
    with small.open("wb") as copy, (shards / "shard-0.jsonl").open("rb") as whole:
        copy.writelines(whole.readlines(min(SMALL_BYTES, num_bytes // NUM_SHARDS)))
    found["in_memory"] = {"bytes": small.stat().st_size, **alone(in_memory, small)}
    forget(shards)
    found["index"] = alone(make_index, shards, index)
    found["index"]["mb_per_second"] = round(size / 1e6 / found["index"]["seconds"], 1)
    found["index"]["bytes"] = sum(path.stat().st_size for path in index.iterdir())
    say(f"index: {found['index']}")
    forget(shards)
    found["train"] = alone(learn, folder / "whole", index, steps)
    found["train"]["rows"] = steps * BATCH
    found["train"]["mb_per_second"] = round(
        steps * BATCH * size / num_rows / 1e6 / found["train"]["seconds"], 1
    )
    say(f"train: {found['train']}")
    killed = alone(learn, folder / "broken", index, steps, steps // 2 + SAVE_STEPS // 3)
    assert killed == -signal.SIGKILL, killed
    alone(learn, folder / "broken", index, steps)
    weights = [
        folder / name / "stages/train/done/weights.safetensors" for name in ("whole", "broken")
    ]
    found["resume"] = {"same_weights": weights[0].read_bytes() == weights[1].read_bytes()}
    found["share"] = share(index, shards)
    say(f"resume: {found['resume']}; share: {found['share']}")
    return found


def say(text: str) -> None:
    """Prints a line at once."""
    print(text, file=sys.stderr, flush=True)


def main() -> None:
    """Measures and prints, or writes, the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=20)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    num_bytes = int(options.gigabytes * 1e9)
    if shutil.disk_usage(tempfile.gettempdir()).free < 1.2 * num_bytes:
        raise SystemExit(f"less than {1.2 * options.gigabytes:.0f} GB are free: set TMPDIR")
    with tempfile.TemporaryDirectory(prefix="streaming-") as folder:
        found = measure(Path(folder), num_bytes, options.steps)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    found = {
        "kind": "streaming",
        "command": f"python bench/streaming.py --gigabytes {options.gigabytes:g}"
        f" --steps {options.steps}",
        **found,
        "machine_memory_gb": round(memory / 1e9, 1),
        "environment": environment(),
        "commit": commit(),
    }
    text = json.dumps(found, indent=1)
    if options.out is None:
        print(text)
    else:
        options.out.write_text(text + "\n")


if __name__ == "__main__":
    main()
