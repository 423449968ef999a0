"""Programs a second through the reward, beside the bare runner on the same programs.

    python bench/rewards.py                  # about a minute
    python bench/rewards.py --programs 400   # fewer

All programs are short and different, and each has five tests. The ways take turns, so that a
machine that is busy for a while is so for all of them.
"""

from __future__ import annotations

import argparse
import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

from pretrial.rewards import CodeReward, RemoteReward, as_json
from pretrial.rewards.server import RewardServer
from pretrial.sandbox import Runner
from pretrial.sandbox.tests import Tests

NUM_PROBLEMS, NUM_THREADS = 50, 32
Way = Callable[[list[str]], Sequence[float | None]]


def ways_of(stack: ExitStack, workers: int, tests: list[Tests]) -> dict[str, Way]:
    """What is compared, by name; each scores programs on the tests."""
    texts = {id(each): as_json(each) for each in tests}
    columns = [texts[id(each)] for each in tests]
    runner = stack.enter_context(Runner(workers=workers))
    everything = stack.enter_context(CodeReward(workers=workers))
    share = stack.enter_context(CodeReward(mode="share", workers=workers))
    server = RewardServer(share, port=0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    stack.callback(server.shut)
    stack.callback(server.shutdown)
    remote = RemoteReward(server.url, most=len(tests))

    def bare(programs: list[str]) -> list[float]:
        return [float(v.passed) for v in runner.run(list(zip(programs, tests, strict=True)))]

    def one_by_one(programs: list[str]) -> list[float]:
        with ThreadPoolExecutor(NUM_THREADS) as threads:
            return list(threads.map(share.compute_score, columns, programs, columns))

    return {
        "the bare runner": bare,
        "CodeReward, all": lambda programs: everything(programs, tests=columns),
        "CodeReward, share": lambda programs: share(programs, tests=columns),
        f"compute_score, {NUM_THREADS} threads": one_by_one,
        "over HTTP, one batch": lambda programs: remote(programs, tests=columns),
    }


def main() -> None:
    """Print a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--programs", type=int, default=1500)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    count, number = options.programs, 0
    problems = [
        Tests("call", "add", tuple([i, k] for i in range(5)), tuple(i + k for i in range(5)))
        for k in range(NUM_PROBLEMS)
    ]
    with ExitStack() as stack:
        tests = [problems[n % NUM_PROBLEMS] for n in range(count)]
        ways = ways_of(stack, options.workers, tests)
        seconds = dict.fromkeys(ways, 0.0)
        for name, way in [*ways.items()] * options.rounds:
            number += count
            programs = [
                f"def add(a, b):\n    c = {number + n}\n    return a + b\n" for n in range(count)
            ]
            start = time.monotonic()
            assert list(way(programs)) == [1.0] * count
            seconds[name] += time.monotonic() - start
    total = count * options.rounds
    print(f"{total} programs a way, {options.workers} workers, load {os.getloadavg()[0]:.1f}")
    for name, taken in seconds.items():
        print(f"  {name:26}  {total / taken:6.0f} a second")


if __name__ == "__main__":
    main()
