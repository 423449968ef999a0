"""Whether a busy machine changes verdicts: the same programs alone, and beside many processes.

    python bench/verdicts.py                        # 10,000 programs, beside 0 and 15 others
    python bench/verdicts.py --programs 1000 --others 15

Most programs are short; some need most of their processor time, some more than it, some never end
and some wait. Every process beside them wants a core all the time.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from pretrial.sandbox import Limits, Runner

LIMITS = Limits(seconds=0.5)
SCRIPT = "assert add(1, 2) == 3\nassert add(-1, 1) == 0\n"
ADD = "def add(a, b):\n    return a {} b\n"
WORK = "import time\nbegan = time.process_time()\nwhile time.process_time() - began < {}: pass\n"
SLEEP = "import time\ntime.sleep({})\n"
#: What comes before the function, and how many of 1,000 programs have it.
KINDS = {
    "short": ("", 975),
    "60 % of the limit": (WORK.format(0.3), 10),
    "150 % of the limit": (WORK.format(0.75), 5),
    "without an end": ("while True: pass\n", 4),
    "a short sleep": (SLEEP.format(0.2), 3),
    "a long sleep": (SLEEP.format(100), 3),
}


def make(number: int, seed: int) -> list[tuple[str, str]]:
    """Programs of all kinds, no two alike, a third of the short ones wrong."""
    rng = random.Random(seed)
    kinds = list(
        itertools.chain.from_iterable([before] * share for before, share in KINDS.values())
    )
    programs = []
    for place in range(number):
        body = ADD.format("-" if rng.random() < 1 / 3 else "+")
        programs.append((f"{kinds[place % len(kinds)]}number = {place}\n{body}", SCRIPT))
    rng.shuffle(programs)
    return programs


def busy() -> None:
    """Wants a core for ever."""
    while True:
        pass


@contextmanager
def beside(number: int) -> Iterator[None]:
    """So many processes that want the processor."""
    others = [multiprocessing.Process(target=busy, daemon=True) for _ in range(number)]
    for process in others:
        process.start()
    try:
        yield
    finally:
        for process in others:
            process.kill()
            process.join()


def main() -> None:
    """Runs the programs alone and beside others, and compares the verdicts."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--programs", type=int, default=10_000)
    parser.add_argument("--others", type=int, nargs="+", default=[0, 15])
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    jobs = make(args.programs, args.seed)
    first: list[tuple[str, str]] = []
    for others in args.others:
        with beside(others), Runner() as runner:
            began = time.monotonic()
            verdicts = [(v.outcome.name, v.subtype) for v in runner.run(jobs, LIMITS)]
            seconds = time.monotonic() - began
        first = first or verdicts
        different = sum(one != other for one, other in zip(first, verdicts, strict=True))
        print(
            f"{others} others, load {os.getloadavg()[0]:.1f}: {len(jobs) / seconds:.0f} programs/s,"
            f" {different} of {len(jobs)} verdicts differ from the first, {dict(Counter(verdicts))}"
        )


if __name__ == "__main__":
    main()
