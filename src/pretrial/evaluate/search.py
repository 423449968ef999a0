"""The task of solving problems with their example tests at hand, such as critic sampling."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any, Literal

from pretrial.evaluate.passk import Execution, Written, as_problems, pass_at_k
from pretrial.evaluate.result import Result
from pretrial.evaluate.self_test import SelfTest


def measure_search(
    method: Any,
    data: Sequence[Any],
    *,
    num_samples: int = 20,
    num_rounds: int = 1,
    num_repaired: int = 1,
    choose: Literal["likelihood", "critic", "random"] = "likelihood",
    kinds: Literal["both", "refine", "repair"] = "both",
    keep_first: bool = True,
    k: tuple[int, ...] = (1, 5),
    n: tuple[int, ...] = (1, 5),
    temperature: float = 0.6,
    top_p: float = 0.95,
    seed: int = 0,
    seconds: float = 4.0,
    compare: Literal["strict", "apps"] = "strict",
    isolation: Literal["auto", "namespaces", "rlimits", "none"] = "auto",
    allow_packages: tuple[str, ...] = (),
) -> Result:
    """pass@k and n@k over all the programs that a search wrote, of every round.

    Set it against the task "passk" with as many programs in all: `num_samples` of a search with
    r further rounds are (1 + r) times as many of plain sampling.

    Args:
        method: with the ability `solve(problems, *, num_samples, num_rounds, num_repaired, choose,
            kinds, keep_first, temperature, top_p, seed, isolation, allow_packages)` that yields a
            row a problem with its "candidates", as many for each; their programs are run on the
            hidden tests here for the first time.
        data: problems, or rows of a layout that `read_problems` knows.
        num_samples: programs a problem and round.
        num_rounds: rounds after the first.
        num_repaired: failed programs that are repaired.
        choose: what programs are gone on with: by the model's own likelihood, by its critic, or at
            random.
        kinds: what follows the first round: refining, repairing, or both.
        keep_first: leave the programs of the first round among the candidates.
        k: the k of pass@k.
        n: the n of n@k.
        temperature: of sampling.
        top_p: of nucleus sampling.
        seed: of sampling and of the bootstrap.
        seconds: that a program's tests may take together.
        compare: "strict" or "apps", how outputs are compared.
        isolation: of programs: auto, namespaces, rlimits, or none (they run with your rights).
        allow_packages: that programs and tests may import, with what these require.

    Returns:
        As `measure_programs`; the notes also count candidates by how they came about.
    """
    problems = as_problems(data)
    for size in k:
        pass_at_k(num_samples * (num_rounds + (keep_first or not num_rounds)), 0, size)

    def write(tested: SelfTest) -> Written:
        began = time.monotonic()
        rows = method.solve(
            tested.of(problems),
            num_samples=num_samples,
            num_rounds=num_rounds,
            num_repaired=num_repaired,
            choose=choose,
            kinds=kinds,
            keep_first=keep_first,
            temperature=temperature,
            top_p=top_p,
            seed=seed,
            isolation=isolation,
            allow_packages=allow_packages,
        )
        groups = [row["candidates"] for row in rows]
        return [[c["program"] for c in group] for group in groups], {
            "decoding": f"{num_samples} programs a round, {num_rounds} rounds after the first,"
            f" chosen by {choose}; top-p {top_p}, temperature {temperature}",
            "first round": "kept" if keep_first else "dropped",
            "kinds": dict(Counter(c["kind"] for group in groups for c in group)),
            "generate_seconds": round(time.monotonic() - began, 2),
        }

    execution = Execution(seconds, compare, "local", isolation, allow_packages)
    return execution.score(problems, write, k=k, n=n, seed=seed)
