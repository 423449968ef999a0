"""What the trial engine costs over running the same arms by hand.

    python bench/trial.py [--steps 600]

A toy method (tests/compare/toy_methods) runs with two arms and three seeds, once by hand - one
process a run that builds, trains and measures, which is what a user would write - and once as a
trial. Processor seconds are compared, of the parent and all its children, so that other work on the
machine hardly matters. The difference is a fixed price: it is given for each run, and as a share of
the default trial, whose runs take about 100 s each. Idle time is measured with runs that mostly
sleep: the share of the trial's worker time in which no run was training.
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
folder, name, seed, steps, sleep = sys.argv[1:]
trial = discover.load("line").trial(steps=int(steps), sleep=float(sleep))
data = trial.data()
run = Run(folder, data.train, budget=trial.budget, seed=int(seed), quiet=True)
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
    """One process after the other."""
    for name, seed in jobs:
        words = [str(folder / f"{name}-{seed}"), name, str(seed), str(steps), "0"]
        subprocess.run(
            [sys.executable, "-c", BY_HAND, *words], check=True, stdout=subprocess.DEVNULL
        )


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--sleep-seconds", type=float, default=20.0, help="of a sleeping run")
    given = parser.parse_args()
    os.environ |= {"PRETRIAL_METHODS": str(TOYS), "OMP_NUM_THREADS": "1"}

    from pretrial.compare.engine import Where, hold
    from pretrial.compare.report.trial_page import trial_page
    from pretrial.compare.setting import Setting

    names, seeds = ("line", "flat"), (0, 1, 2)
    jobs = [(name, seed) for seed in seeds for name in names]
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        hand = cost(lambda: by_hand(folder / "hand", jobs, given.steps))

        def engine() -> None:
            setting = Setting(("line",), {"steps": given.steps}, seeds, names)
            trial_page(hold(setting, Where(folder / "runs", quiet=True))).render()

        added = (cost(engine) - hand) / len(jobs)
        began = time.monotonic()
        options = {"steps": 20, "sleep": given.sleep_seconds / 20}
        record = hold(Setting(("line",), options, (0, 1), names), Where(folder / "s", quiet=True))
        wall = time.monotonic() - began
    working = sum(sum(arm["seconds"]) for arm in record["arms"])
    idle = 2 * wall - working
    print(f"by hand           {hand / len(jobs):6.2f} processor seconds a run")
    print(f"as a trial        {hand / len(jobs) + added:6.2f}")
    print(f"the engine adds   {added:6.2f} a run: {added / RUN_SECONDS:.2%} of a default trial's")
    print(f"between two runs  {idle / 4:6.2f} s of a worker, starting Python and importing torch")


if __name__ == "__main__":
    main()
