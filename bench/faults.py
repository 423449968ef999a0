"""`pretrial train coderl`, hit at random points of all its stages, must end as if nothing had been.

    python bench/faults.py [--points 200] [--seed 0] [--out results/faults.json]

One run is left alone; its weights are the reference. Others are hit again and again at random
moments, and started again by the same command until they end:

    kill      SIGKILL
    stop      SIGTERM
    disk      the disk that holds the run (a small tmpfs) is filled, but for a few kilobytes
    fsync     fsync fails with EIO
    memory    the address space may grow by at most a megabyte (RLIMIT_AS); a process that hangs
              then (Thread.start can, without memory) is killed after a while, and counted
    clock     the wall clock jumps, by up to ten years forwards or backwards; the run goes on

The command is the real one. It runs in a fork of a process that has run it before, so that nothing
is imported anew, and saves every two steps instead of every five minutes, so that hits fall between
the checkpoints of a run that lasts seconds. Nobody may ever see half a file: this process reads
whatever appears in a run's folder all the time, and the run itself may not read from a folder that
is still being written. Failing fsync and a jumping clock need a C compiler, the small disk needs
root: kinds that this machine cannot do are left out, and said.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from faults_tools import (
    finished,
    is_whole,
    last,
    next_of,
    preload,
    shared_orders,
    small_disk,
    visible,
    weights,
)

SAVE_STEPS = 2
PATIENCE = 600.0  # seconds after which a process that does not end is given up
PARTIAL_READ = 97  # exit code of a run that read what was still being written
KINDS = ("kill", "stop", "disk", "fsync", "memory", "clock")
COMMAND = [
    *("train", "coderl", "--tiny", "--held-out-ratio", "0.2", "--device", "cpu"),
    *("--num-samples", "2", "--max-target", "24", "--warmup-epochs", "1"),
    *("--rl-steps", "4", "--resample-every", "2", "--evaluate-every", "2"),
]


@dataclass
class Hit:
    """One fault.

    Attributes:
        kind: see the module's text.
        stage: what the run was about to finish: a stage, an artefact, or the model.
        code: exit code of the process that was hit, negative for a signal; None where it went on.
        said: the last line of what it printed.
        hung: whether it had to be killed.
    """

    kind: str
    stage: str
    code: int | None = None
    said: str = ""
    hung: bool = False


class Harness:
    """Starts the command, hits it, and looks at what it leaves.

    Args:
        folder: for everything that is not a run.
        disk: where runs are; may be filled up.
        orders: shared memory that the shim obeys; None without one.
    """

    def __init__(self, folder: Path, disk: Path, orders: Any) -> None:
        self.folder, self.disk, self.orders = folder, disk, orders
        self.data = folder / "problems.jsonl"
        self.log = folder / "log"
        self.known: set[tuple[Any, ...]] = set()  # visible files that were found to be whole
        self.torn: list[str] = []  # those that were not

    # One process

    def start(self, out: Path) -> int:
        """Forks a process that runs the command; its number."""
        pid = os.fork()
        if pid:
            return pid
        code = 1
        try:
            log = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(log, 1)
            os.dup2(log, 2)
            code = run_command(out, self.data)
        except BaseException:
            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                sys.stdout.flush()
            os._exit(code)

    def watch(self, pid: int, out: Path, seconds: float) -> int | None:
        """Reads along until the process ends; its exit code, None where it goes on after that."""
        until = time.monotonic() + seconds
        while True:
            ended, status = os.waitpid(pid, os.WNOHANG)
            self.read_along(out)
            if ended:
                return os.waitstatus_to_exitcode(status)
            if time.monotonic() >= until:
                return None
            time.sleep(min(0.02, max(until - time.monotonic(), 0)))

    def wait(self, pid: int, out: Path) -> int:
        """Reads along until the process ends, which it must."""
        code = self.watch(pid, out, PATIENCE)
        if code is None:
            os.kill(pid, signal.SIGKILL)
            raise SystemExit(f"a run did not end in {PATIENCE} s: {self.log.read_text()}")
        return code

    def read_along(self, out: Path) -> None:
        """Reads what is visible and new."""
        for path in visible(out):
            with contextlib.suppress(FileNotFoundError):  # a checkpoint that was replaced meanwhile
                stat = path.stat()
                key = (path, stat.st_ino, stat.st_mtime_ns, stat.st_size)
                if key not in self.known:
                    self.known.add(key)
                    if not is_whole(path) and path.stat():
                        self.torn.append(str(path.relative_to(out)))

    # Faults

    def hit(self, kind: str, pid: int, rng: random.Random) -> None:
        """Deals out one fault to a running process."""
        if kind == "kill":
            os.kill(pid, signal.SIGKILL)
        elif kind == "stop":
            os.kill(pid, signal.SIGTERM)
        elif kind == "memory":
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
            size = pages * resource.getpagesize() + rng.randrange(1 << 20)
            resource.prlimit(pid, resource.RLIMIT_AS, (size, size))
        elif kind == "disk":
            self.fill(rng.randrange(1 << 16))
        elif kind == "fsync":
            self.orders[0] = rng.choice((1, 1, 1, 2, 5))
        else:
            self.orders[1] = rng.randrange(-10, 11) * 365 * 86400 + rng.randrange(86400)

    def fill(self, left: int) -> None:
        """Fills the disk up to about that many bytes."""
        with (self.disk / "filler").open("wb", buffering=0) as file:
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(1 << 16))
            file.truncate(max(file.tell() - left, 0))

    def heal(self) -> None:
        """Takes the faults back."""
        (self.disk / "filler").unlink(missing_ok=True)
        if self.orders is not None:
            self.orders[0] = self.orders[1] = 0

    # One run

    def undisturbed(self) -> tuple[dict[str, bytes], list[str], float]:
        """Weights, the order in which things get finished, and seconds of a run left alone.

        The first one is in this process, which then has imported everything; the second is forked.
        """
        with self.log.open("w") as log, contextlib.redirect_stdout(log):
            code = run_command(self.disk / "first", self.data)
        out, began = self.disk / "second", time.monotonic()
        code = code or self.wait(self.start(out), out)
        if code or weights(out) != weights(self.disk / "first"):
            raise SystemExit(f"runs left alone differ, or end with {code}: {self.log.read_text()}")
        seconds = time.monotonic() - began
        plan = sorted(finished(out), key=lambda name: (out / name).stat().st_ctime_ns)
        found = weights(out)
        for name in ("first", "second"):
            shutil.rmtree(self.disk / name)
        return found, plan, seconds

    def disturbed(
        self, out: Path, plan: list[str], span: float, rng: random.Random, deck: list[str]
    ) -> list[Hit]:
        """Runs to the end; as long as the deck lasts, each of its kinds is a hit within `span`."""
        hits: list[Hit] = []
        while True:
            pid, code, hit = self.start(out), None, None
            while deck and (code := self.watch(pid, out, rng.uniform(0, span))) is None:
                hit = Hit(deck.pop(), next_of(plan, out))
                hits.append(hit)
                self.hit(hit.kind, pid, rng)
                if hit.kind == "memory":
                    code = self.watch(pid, out, 20 * span)
                    hit.hung = code is None
                    if hit.hung:
                        os.kill(pid, signal.SIGKILL)
                if hit.kind != "clock":
                    break
            if code is None:
                code = self.wait(pid, out)
            self.heal()
            said = (self.log.read_text().strip().splitlines() or [""])[-1]
            if code == 0:
                return hits
            if hit is None or hit.kind == "clock" or code == PARTIAL_READ:
                raise SystemExit(f"a run ended with {code} after {hits[-1:]}: {said}")
            hit.code, hit.said = code, said.replace(str(self.disk), "")


def run_command(out: Path, data: Path) -> int:
    """What the forked process does: the train command, with checkpoints every few steps."""
    from pretrial import cli
    from pretrial.api import training
    from pretrial.train import checkpoint, run
    from pretrial.train.budget import Budget

    def forbid(path: object) -> None:
        if ".partial-" in str(path):
            print(f"read {path}, which is still being written", flush=True)
            os._exit(PARTIAL_READ)

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and isinstance(arguments[1], str) and "r" in arguments[1]:
            forbid(arguments[0])

    def load_file(path: Path) -> Any:
        forbid(path)  # safetensors opens files out of the auditor's sight
        return load(path)

    sys.addaudithook(audit)
    load = checkpoint.load_file
    every = Budget(SAVE_STEPS, "steps")
    vars(checkpoint)["load_file"] = load_file
    vars(training)["Run"] = functools.partial(run.Run, save_every=every)
    try:
        return cli.main([*COMMAND, "--data", str(data), "--out", str(out)])
    finally:
        vars(checkpoint)["load_file"] = load


def measure(folder: Path, points: int, seed: int) -> Iterator[dict[str, Any]]:
    """Runs until `points` faults were dealt out; what was found, after every run."""
    import torch

    from pretrial.environment import commit, environment
    from pretrial.methods.code import coderl

    torch.set_num_threads(1)
    orders, disk = shared_orders(), folder / "disk"
    kinds = [kind for kind in KINDS if orders is not None or kind not in ("fsync", "clock")]
    if not small_disk(disk):
        kinds.remove("disk")
    harness = Harness(folder, disk, orders)
    harness.data.write_text("".join(json.dumps(row) + "\n" for row in coderl.CodeRL.sample_rows()))
    reference, plan, seconds = harness.undisturbed()
    rng = random.Random(seed)
    deck = [kinds[i % len(kinds)] for i in range(points)]
    rng.shuffle(deck)
    hits: list[Hit] = []
    span = seconds / 3
    runs, different, began, made_by = 0, [], time.monotonic(), commit()
    while deck:
        out = disk / f"run-{runs}"
        dealt = harness.disturbed(out, plan, span, rng, deck)
        hits += dealt
        if not dealt:
            span *= 0.7  # the machine is faster than when the run was left alone
        if weights(out) != reference:
            different.append(runs)
        shutil.rmtree(out)
        runs += 1
        print(f"run {runs}: {len(hits)} of {points} points", file=sys.stderr, flush=True)
        ends = {kind: Counter(str(hit.code) for hit in hits if hit.kind == kind) for kind in kinds}
        yield {
            "kind": "faults",
            "command": " ".join(["pretrial", *COMMAND]),
            "seed": seed,
            "points": len(hits),
            "runs": runs,
            "runs_with_other_weights": different,
            "torn_files": harness.torn,
            "kinds_left_out": sorted(set(KINDS) - set(kinds)),
            "by_stage": {name: sum(hit.stage == name for hit in hits) for name in map(last, plan)},
            "exit_codes": ends,
            "hung": sum(hit.hung for hit in hits),
            "failed_fsyncs": orders[2] if orders is not None else 0,
            "undisturbed_seconds": round(seconds, 2),
            "seconds": round(time.monotonic() - began, 1),
            "environment": environment(),
            "commit": made_by,
            "hits": [asdict(hit) for hit in hits],
        }


def main() -> None:
    """Runs the harness and prints, or writes, what it found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--points", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    os.environ.update(TOKENIZERS_PARALLELISM="false", OMP_NUM_THREADS="1")  # forks have one thread
    folder = Path(os.environ.get("PRETRIAL_FAULTS_FOLDER") or tempfile.mkdtemp(prefix="faults-"))
    if "PRETRIAL_FAULTS" not in os.environ:
        preload(folder)
    try:
        for found in measure(folder, options.points, options.seed):
            if options.out is not None:
                options.out.write_text(json.dumps(found, indent=1) + "\n")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    if options.out is None:
        print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
