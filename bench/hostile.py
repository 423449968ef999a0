"""The sandbox under attack: hostile programs beside honest ones, many times over.

    python bench/hostile.py                        # all of it, about 15 minutes
    python bench/hostile.py --rounds 2 --programs 2000
    python bench/hostile.py --isolation rlimits    # the level that is left without namespaces

First come many short programs, all different, nine of ten honest, with the memory of this process
and of the workers on the way. Then the rounds: a round runs every program of tests/sandbox/hostile
once, in random order, between as many honest ones, half of which are right; each has a statement of
its own, so that no verdict is remembered. All verdicts must be the stated ones, and no process,
file, socket or descriptor may be left. An honest program of a round passes only if it finds its
folder empty and its limits, priority and library as they should be. Prints the figures; `--out`
keeps them as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from pretrial.sandbox import Limits, Runner, describe_isolation

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "sandbox"))
from hostile_programs import FIXTURES, HONEST, TESTS, Hostile, read, strays, why_not

CUT, ROOM = Limits(0.15, memory_mb=128), Limits(5.0, memory_mb=128)
SIMPLE = "def add(a, b):\n    return a + b\n"
SLICE = 10_000  # programs between two readings of memory
MANY = ("exit_in_call", "kills_parent", "leaves_links", "lowers_parents_limits", "speaks_in_depth")


def honest(number: int, program: str = HONEST) -> Hostile:
    """An honest program; every second one gives wrong answers."""
    text = program.replace("a + b", "a - b") if number % 2 else program
    wanted = ("FAILED_TEST", "wrong_answer") if number % 2 else ("PASSED_TEST", "")
    return Hostile("honest", text, TESTS["call"], *wanted)


def run(runner: Runner, programs: list[Hostile], mark: str) -> list[str]:
    """Run programs, each made a new one by a mark; what is wrong with their verdicts."""
    jobs = [(f"{p.program}\n_mark = '{mark} {i}'\n", p.tests) for i, p in enumerate(programs)]
    limits = [CUT if each.subtype == "timeout" else ROOM for each in programs]
    verdicts = runner.run(jobs, limits)
    return [wrong for p, v in zip(programs, verdicts, strict=True) if (wrong := p.wrong(v))]


def held(runner: Runner) -> dict[str, int]:
    """What this process and the workers hold."""
    workers = [each._process for each in runner._workers if each._process is not None]
    below = [psutil.Process(worker.pid) for worker in workers]
    below += [child for worker in below for child in worker.children()]
    own = psutil.Process()
    return {
        "processes": len(below),
        "descriptors": own.num_fds(),
        "worker_descriptors": sum(process.num_fds() for process in below),
        "sockets": sum(len(process.net_connections("all")) for process in [own, *below]),
        "host_mb": own.memory_info().rss >> 20,
        "worker_mb": sum(process.memory_info().rss for process in below) >> 20,
    }


def left_files(runner: Runner) -> list[str]:
    """Files where programs could leave some, but for the folders of the workers."""
    own = {each._folder.path for each in runner._workers if each._folder is not None}
    found = [str(path) for path in Path(tempfile.gettempdir()).iterdir() if str(path) not in own]
    places = [Path("/"), Path("/etc"), Path("/tmp"), Path("/dev/shm")]
    return found + [str(path) for place in places for path in place.glob("*was-here*")]


def attack(
    runner: Runner, hostile: list[Hostile], rounds: int, seconds: float, seed: int
) -> dict[str, Any]:
    """As many rounds as there is time for; what was found, and how often."""
    rng, done = random.Random(seed), 0
    errors: Counter[str] = Counter()
    left: Counter[str] = Counter()
    run(runner, [honest(0)] * 4, "start")
    before, began = held(runner), time.monotonic()
    while done < rounds and time.monotonic() - began < seconds:
        programs = [*hostile, *(honest(i) for i in range(len(hostile)))]
        rng.shuffle(programs)
        errors.update(run(runner, programs, f"round {done}"))
        left.update(strays(runner))
        run(runner, [honest(0)] * 4, f"between {done}")  # starts the workers that were lost
        done += 1
        print(f"round {done}: {time.monotonic() - began:.0f} s, {errors.total()} wrong,"
              f" {left.total()} strays", flush=True)  # fmt: skip
    return {
        "rounds": done,
        "programs": 2 * len(hostile) * done,
        "seconds": round(time.monotonic() - began, 1),
        "wrong_verdicts": dict(errors),
        "stray_processes": dict(left),
        "left_files": left_files(runner),
        "before": before,
        "after": held(runner),
    }


def many(runner: Runner, hostile: list[Hostile], count: int) -> dict[str, Any]:
    """Short programs; the memory after each slice of them."""
    errors: Counter[str] = Counter()
    rows, began = [], time.monotonic()
    short = [each for each in hostile if each.name in MANY]
    for start in range(0, count, SLICE):
        size = min(SLICE, count - start)
        programs = [short[i // 10 % len(short)] if i % 10 == 9 else honest(i) for i in range(size)]
        errors.update(run(runner, programs, f"many {start}"))
        row = {"programs": start + size, "seconds": round(time.monotonic() - began, 1)}
        rows.append({**row, **held(runner)})
        print(rows[-1], flush=True)
    return {"programs": count, "wrong_verdicts": dict(errors), "memory": rows}


@contextmanager
def own_folder() -> Iterator[None]:
    """Temporary files go to a new folder that other users may enter."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o711)
        tempfile.tempdir = folder
        yield
        tempfile.tempdir = None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=60.0, help="no round begins after these")
    parser.add_argument("--programs", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--isolation", default="auto")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    isolation = describe_isolation(options.isolation)
    able = [path for path in FIXTURES if not why_not(path.stem, isolation)]
    hostile = [read(path, isolation.level) for path in able]
    print(isolation)
    print(f"{len(hostile)} hostile programs, {len(FIXTURES) - len(hostile)} left out here")
    with (
        own_folder(),
        Runner(workers=options.workers, isolation=isolation.level) as runner,
    ):
        found: dict[str, Any] = {
            "kind": "hostile",
            "command": " ".join(["python", *sys.argv]),
            "isolation": {"level": isolation.level, "layers": isolation.layers},
            "machine": f"{platform.machine()}, Linux {platform.release()}",
            "hostile_programs": len(hostile),
            "workers": options.workers,
            "many": many(runner, hostile, options.programs),
            "attack": attack(runner, hostile, options.rounds, 60 * options.minutes, options.seed),
        }
    print(json.dumps(found, indent=1))
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n")
    if found["attack"]["wrong_verdicts"] or found["many"]["wrong_verdicts"]:
        raise SystemExit("some verdicts are not the stated ones")


if __name__ == "__main__":
    main()
