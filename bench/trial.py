"""What the trial engine costs over running the same arms by hand.

    python bench/trial.py [--steps 600]

A toy method (tests/compare/toy_methods) runs with two arms and three seeds, once by hand - one
process that builds, trains and measures them all one after another, the least that it can cost -
and once as a trial, with its record and page. Processor seconds are compared, of the parent and all
its children, so that other work on the machine hardly matters. What the engine adds hardly depends
on how long a run takes: it is given in seconds, as a share of the default trial, whose six runs
take about 100 s each, and as the length of a trial of which it is 2 %. Idle time is measured with
runs that mostly sleep: the share of the workers' time in which no run was training.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

TOYS = Path(__file__).parents[1] / "tests" / "compare" / "toy_methods"
RUN_SECONDS = 100.0
BY_HAND = """
import sys, torch
from pretrial import discover
from pretrial.train.loop import train
from pretrial.train.run import Run, seed_everything
torch.set_num_threads(1)
folder, steps, *jobs = sys.argv[1:]
trial = discover.load("line").trial(steps=int(steps))
data = trial.data()
for job in jobs:
    name, seed = job.split("-")
    run = Run(f"{folder}/{job}", data.train, budget=trial.budget, seed=int(seed), quiet=True)
    seed_everything(int(seed))
    line = discover.load("line").method.build(trial.arm(name).config, data=data.train)
    train(line, run)
    print(trial.measure(line, data, int(seed)))
"""


def processor_seconds() -> float:
    """Of this process and its children that have ended."""
    rows = [resource.getrusage(w) for w in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(row.ru_utime + row.ru_stime for row in rows)


def cost(work: Callable[[], object]) -> float:
    """Processor seconds of `work`."""
    before = processor_seconds()
    work()
    return processor_seconds() - before


def by_hand(folder: Path, jobs: list[tuple[str, int]], steps: int) -> None:
    """One process for all runs."""
    words = [str(folder), str(steps), *(f"{name}-{seed}" for name, seed in jobs)]
    subprocess.run([sys.executable, "-c", BY_HAND, *words], check=True, stdout=subprocess.DEVNULL)


def trial_command(folder: Path, steps: int) -> None:
    """The same runs as a trial, from the command line to the page."""
    words = [
        "--steps",
        str(steps),
        "--seeds",
        "5",
        "--arms",
        "line",
        "--runs",
        str(folder / "runs"),
    ]
    subprocess.run(
        [sys.executable, "-m", "pretrial", "trial", "line", *words, "--out", str(folder / "out")],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--sleep-seconds", type=float, default=20.0, help="of a sleeping run")
    given = parser.parse_args()
    os.environ |= {"PRETRIAL_METHODS": str(TOYS), "OMP_NUM_THREADS": "1"}

    from pretrial.compare.engine import Placement, hold
    from pretrial.compare.setting import Setting
    from pretrial.environment import cores

    names = ("line", "flat")
    jobs = [(name, seed) for seed in range(5) for name in names]
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        hand = cost(lambda: by_hand(folder / "hand", jobs, given.steps))
        engine = cost(lambda: trial_command(folder / "trial", given.steps))
        began = time.monotonic()
        options = {"steps": 20, "sleep": given.sleep_seconds / 20}
        setting, place = (
            Setting(("line",), options, (0, 1), names),
            Placement(folder / "s", quiet=True),
        )
        record = hold(setting, place)
        wall = time.monotonic() - began
    working = sum(sum(arm["seconds"]) for arm in record["arms"])
    added, workers = engine - hand, min(cores(), 4)
    print(f"by hand           {hand:6.2f} processor seconds, {len(jobs)} runs in one process")
    print(f"as a trial        {engine:6.2f}")
    print(
        f"the engine adds   {added:6.2f}: {added / len(jobs) / RUN_SECONDS:.2%} of a default trial"
    )
    print(f"                  2 % of a trial of {added / 0.02:.0f} s in all its runs")
    print(f"workers idle      {workers * wall - working:6.2f} s in all, mostly at the start")


if __name__ == "__main__":
    main()
