"""Generated programming problems, small enough that a tiny sequence-to-sequence model learns them.

A problem is a composition of two or three typed operations on lists, strings and integers. The
statement asks for it in short English (with paraphrases) and shows two examples; ten hidden tests
judge it; a reference solution is written in up to three styles. No composition behaves like a
shorter one, no two behave alike, and no sequence of operations is in both splits, so that a test
problem is new in what it asks and not only in its wording.
"""

from __future__ import annotations

import functools
import random
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

from pretrial.data.builtin.miniops import (
    STEPS,
    Step,
    Type,
    in_range,
    nested_style,
    step_style,
    third_style,
)
from pretrial.data.problems.problem import Problem
from pretrial.errors import UserError
from pretrial.sandbox.tests import Tests

Chain = tuple[Step, ...]
Case = tuple[Any, Any]

_NUM_EXAMPLES = 2
_NUM_PROBES = 24
_OPENINGS: dict[Type, tuple[str, ...]] = {
    "list": ("Given a list of numbers", "For a list of numbers"),
    "str": ("Given a text", "For a text"),
    "int": ("Given a number", "For a number"),
}
_JOINERS = (", then ", " and then ", ". Then ")
_WORDS = (
    *("ant", "bee", "cat", "cow", "dog", "eel", "fox", "hen", "owl"),
    *("pig", "rat", "bear", "crab", "deer", "duck", "frog", "goat", "lion"),
)
_READ: dict[Type, str] = {
    "list": "[int(v) for v in input().split()]",
    "str": "input()",
    "int": "int(input())",
}


@dataclass(frozen=True)
class MiniApps:
    """The two splits; no sequence of operations, and no behaviour, is in both."""

    train: list[Problem]
    test: list[Problem]


def mini_apps(
    num_train: int = 1500,
    num_test: int = 300,
    *,
    solved: int | None = None,
    kind: Literal["call", "stdin"] = "call",
    style: Literal["question", "completion"] = "question",
    num_tests: int = 10,
    num_examples: int = 2,
    ways: Literal["all", "steps"] = "all",
    seed: int = 0,
) -> MiniApps:
    """Makes problems; the same arguments give the same problems.

    Args:
        num_train: training problems.
        num_test: test problems.
        solved: training problems that keep their solutions; the others have tests only. None keeps
            all. Test problems always keep theirs.
        kind: "call" (a function `f` of `x`) or "stdin" (a program that reads a line and prints).
        style: "question", or "completion" in the manner of HumanEval: the statement is the head of
            the function with a docstring, and a solution is its body. Of kind "call" only.
        num_tests: hidden tests a problem.
        num_examples: that the statement shows, 1 or 2.
        ways: how references are written: "all" is up to three styles; "steps" is one, step by step
            in the order of the statement, which a tiny model learns several times faster.
        seed: of everything random.

    Raises:
        UserError: an unknown kind, or more problems than there are distinct compositions.
    """
    if kind not in ("call", "stdin"):
        raise UserError(f"mini-apps are of kind 'call' or 'stdin', not {kind!r}")
    if style not in ("question", "completion") or (style == "completion" and kind != "call"):
        raise UserError("mini-apps have the style 'question' or, of kind 'call', 'completion'")
    if num_train < 0 or num_test < 0 or num_train + num_test == 0 or num_tests < 5:
        raise UserError("mini-apps needs at least one problem and num_tests of at least 5")
    if num_examples not in (1, _NUM_EXAMPLES) or ways not in ("all", "steps"):
        raise UserError("mini-apps show 1 or 2 examples, and ways is 'all' or 'steps'")
    rng = random.Random(f"mini-apps {seed}")
    sides: dict[tuple[str, ...], str] = {}
    made: dict[str, list[Problem]] = {"train": [], "test": []}
    wanted = {"train": num_train, "test": num_test}
    for steps in _in_random_order(rng):
        names = tuple(step.op.name for step in steps)
        is_test = rng.random() * (num_train + num_test) < num_test
        side = sides.setdefault(names, "test" if is_test else "train")
        if len(made[side]) == wanted[side]:
            if all(len(made[name]) == wanted[name] for name in wanted):
                break
            continue
        cases = _cases(steps, num_tests, rng)
        if cases:
            keep = side == "test" or solved is None or len(made[side]) < solved
            name = f"mini-apps/{side}/{len(made[side])}/{'+'.join(names)}"
            shown, hidden = cases[:num_examples], cases[_NUM_EXAMPLES:]
            written = solutions(steps, kind, ways) if keep else ()
            made[side].append(_problem(name, steps, (shown, hidden), kind, written, rng))
    if any(len(made[name]) < wanted[name] for name in wanted):
        raise UserError(
            f"mini-apps has no more than {len(made['train'])} train and {len(made['test'])} test"
            f" problems in these proportions, not {num_train} and {num_test}: ask for fewer"
        )
    if style == "completion":
        made = {side: [_as_completion(p) for p in problems] for side, problems in made.items()}
    return MiniApps(made["train"], made["test"])


def _as_completion(problem: Problem) -> Problem:
    """The same problem with its statement in the docstring of the function asked for."""
    signature = "def f(x):\n"
    docstring = textwrap.indent(f'"""{problem.question}\n"""\n', "    ")
    bodies = tuple(solution.removeprefix(signature) for solution in problem.solutions)
    return replace(problem, question=signature + docstring, solutions=bodies, style="completion")


def _in_random_order(rng: random.Random) -> list[Chain]:
    """All compositions. Pairs come early, as if there were three times as many.

    They are a tenth of all, and a small model needs some easy problems.
    """
    places = [rng.random() / (3 if len(chain) == 2 else 1) for chain in _distinct()]
    order = sorted(range(len(places)), key=places.__getitem__)
    return [_distinct()[i] for i in order]


@functools.cache
def _distinct() -> tuple[Chain, ...]:
    """Compositions of which none behaves like another or like a shorter one on random inputs.

    No operation comes twice running. Of those that behave alike a random one is kept.
    """
    rng = random.Random("mini-apps compositions")
    seen: set[tuple[Any, ...]] = set()
    kept: list[Chain] = []
    level: list[tuple[Chain, list[Any]]] = []
    for source in _OPENINGS:
        probes = [_sample(source, rng) for _ in range(_NUM_PROBES)]
        seen.add((source, *map(repr, probes)))
        level += [((step,), probes) for step in STEPS if step.op.source == source]
    for length in (1, 2, 3):
        rng.shuffle(level)
        longer = []
        for chain, values in level:
            last = chain[-1].op
            outcomes = [_outcome(chain[-1:], value) for value in values]
            behaviour = (chain[0].op.source, *map(repr, outcomes))
            if length > 1 and behaviour not in seen:
                kept.append(chain)
            seen.add(behaviour)
            longer += [
                ((*chain, step), outcomes)
                for step in STEPS
                if step.op.source == last.target and step.op is not last
            ]
        level = longer
    return tuple(kept)


def _types(chain: Chain) -> tuple[Type, Type] | None:
    """What the composition takes and gives; None where its steps do not fit together."""
    if any(a.op.target != b.op.source for a, b in pairwise(chain)):
        return None
    return chain[0].op.source, chain[-1].op.target


def _outcome(steps: Sequence[Step], value: Any) -> Any:
    """What the composition makes of a value; None where it is not defined or leaves the range."""
    for step in steps:
        try:
            value = None if value is None else step(value)
        except ValueError:  # the maximum of nothing, the digits of -3
            return None
    return value if value is not None and in_range(value) else None


def _sample(source: Type, rng: random.Random) -> Any:
    """A random input of a type."""
    if source == "int":
        return rng.randint(10, 999)
    if source == "str":
        return " ".join(rng.choice(_WORDS) for _ in range(rng.randint(2, 4)))
    signs = (1, 1, 1, -1)
    return [rng.choice(signs) * rng.randint(0, 9) for _ in range(rng.randint(4, 6))]


def _cases(steps: Chain, num_tests: int, rng: random.Random) -> list[Case] | None:
    """Inputs and outputs, examples first; None if these would not tell right from wrong.

    Wrong are the single steps and the composition with a step left out; and no output may be that
    of more than 40 % of the tests, so that no constant passes many.
    """
    source, target = steps[0].op.source, steps[-1].op.target
    found: dict[str, Case] = {}
    for _ in range(10 * (num_tests + _NUM_EXAMPLES)):
        if len(found) == num_tests + 3 * _NUM_EXAMPLES:  # a few to choose the examples from
            break
        value = _sample(source, rng)
        output = _outcome(steps, value)
        if output is not None:
            found.setdefault(repr(value), (value, output))
    telling = [c for c in found.values() if c[1] not in ([], "", 0, c[0])]
    examples = telling[:1] + [c for c in telling[1:] if c[1] != telling[0][1]][:1]
    hidden = [c for c in found.values() if c not in examples][:num_tests]
    if len(examples) < _NUM_EXAMPLES or len(hidden) < num_tests:
        return None
    if Counter(repr(output) for _, output in hidden).most_common(1)[0][1] > 0.4 * num_tests:
        return None
    wrong: list[Chain] = [(step,) for step in STEPS]
    wrong += [steps[:i] + steps[i + 1 :] for i in range(len(steps))]
    wrong = [chain for chain in wrong if _types(chain) == (source, target)]
    if any(all(_outcome(chain, x) == y for x, y in hidden) for chain in wrong):
        return None
    return examples + hidden


def _problem(
    name: str,
    steps: Chain,
    cases: tuple[list[Case], list[Case]],
    kind: str,
    written: tuple[str, ...],
    rng: random.Random,
) -> Problem:
    examples, tests = (_tests(part, kind) for part in cases)
    return Problem(
        id=name,
        question=_statement(steps, examples, rng),
        tests=tests,
        examples=examples,
        solutions=written,
        difficulty=f"{len(steps)} steps",
    )


def _tests(cases: list[Case], kind: str) -> Tests:
    if kind == "call":
        return Tests("call", "f", tuple([x] for x, _ in cases), tuple(y for _, y in cases))
    texts = [tuple(_line(value) for value in column) for column in zip(*cases, strict=True)]
    return Tests("stdin", inputs=texts[0], outputs=texts[1])


def _line(value: Any) -> str:
    return (" ".join(map(str, value)) if isinstance(value, list) else str(value)) + "\n"


def _statement(steps: Chain, examples: Tests, rng: random.Random) -> str:
    """Short English and the examples, as a doctest or under APPS headings."""
    orders = [rng.choice(step.op.phrases).format(k=step.k) for step in steps]
    opening = rng.choice(_OPENINGS[steps[0].op.source])
    lines = [f"{opening}, {rng.choice(_JOINERS).join(orders)}."]
    for value, output in zip(examples.inputs, examples.outputs, strict=True):
        if examples.kind == "call":
            lines += [f">>> f({value[0]!r})", repr(output)]
        else:
            lines += ["-----Sample Input-----", value + "-----Sample Output-----", output[:-1]]
    return "\n".join(lines)


def solutions(steps: Chain, kind: str, ways: str = "all") -> tuple[str, ...]:
    """The reference programs: nested, step by step, and with a loop or in two lines."""
    programs = []
    styles = nested_style(steps), step_style(steps), third_style(steps)
    for lines in styles if ways == "all" else styles[1:2]:
        if lines is None:
            continue
        *body, result = lines
        if kind == "call":
            program = ["def f(x):", *(f"    {line}" for line in body), f"    return {result}"]
        else:
            star = "*" if steps[-1].op.target == "list" else ""
            program = [f"x = {_READ[steps[0].op.source]}", *body, f"print({star}{result})"]
        programs.append("\n".join(program))
    return tuple(dict.fromkeys(programs))
