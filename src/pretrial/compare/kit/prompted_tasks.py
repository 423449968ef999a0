"""Prompted tasks for language models: eight that a procedure makes, and which sentence comes next.

Many at once are what multitask fine-tuning learns from, and two that are left out of it measure
what carries over; their choices are ranked by `evaluate.rank`.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence
from typing import Any

from pretrial.data.rows import Row

#: Tasks that no model is fine-tuned on; each has kin whose answers have the same form.
HELD_OUT = ("copy", "membership")

_WORDS = (
    "list",
    "file",
    "name",
    "key",
    "value",
    "line",
    "path",
    "text",
    "class",
    "item",
    "node",
    "index",
    "table",
    "error",
    "event",
    "type",
)
_NUM_CHOICES = 4
_NAMED = re.compile(r"^([\w-]+): |\(([\w-]+)\)\?$")


def procedural(number: int, docstrings: Sequence[Row], seed: int) -> list[Row]:
    """Rows of all eight tasks in turn, each with `input`, `choices`, `target`, `task`, `prompt`.

    Args:
        number: of rows of each task.
        docstrings: rows with `text` and `label`, for the task that names the package.
        seed: of the draws.
    """
    rng = random.Random(seed)
    makers: dict[str, Callable[[random.Random], tuple[str, str, list[str]]]] = {
        "copy": _copy,
        "reverse": _reverse,
        "sort": _sort,
        "membership": _membership,
        "count": _count,
        "comparison": _comparison,
        "odd-one-out": _odd_one_out,
    }
    rows = []
    for _ in range(number):
        for task, make in makers.items():
            text, target, choices = make(rng)
            rows.append(_row(task, text, target, choices, rng))
        rows.append(_package(docstrings, rng))
    return rows


def _row(task: str, text: str, target: str, choices: list[str], rng: random.Random) -> Row:
    """One row by one of two prompts."""
    rng.shuffle(choices)
    plain = rng.random() < 0.5
    return {
        "input": f"{task}: {text}" if plain else f"{text} What is the answer ({task})?",
        "target": target,
        "choices": choices,
        "task": task,
        "prompt": "plain" if plain else "question",
    }


def task_of(prompt: str) -> str:
    """The task that a prompt of `procedural` names."""
    found = _NAMED.search(prompt)
    return (found[1] or found[2]) if found else ""


def _orders(target: list[str], rng: random.Random) -> list[str]:
    """The target and other orders of its words."""
    choices = {" ".join(target)}
    while len(choices) < _NUM_CHOICES:
        choices.add(" ".join(rng.sample(target, len(target))))
    return sorted(choices)


def _copy(rng: random.Random) -> tuple[str, str, list[str]]:
    words = rng.sample(_WORDS, 4)
    return " ".join(words), " ".join(words), _orders(words, rng)


def _reverse(rng: random.Random) -> tuple[str, str, list[str]]:
    words = rng.sample(_WORDS, 4)
    return " ".join(words), " ".join(words[::-1]), _orders(words[::-1], rng)


def _sort(rng: random.Random) -> tuple[str, str, list[str]]:
    words = rng.sample(_WORDS, 4)
    return " ".join(words), " ".join(sorted(words)), _orders(sorted(words), rng)


def _membership(rng: random.Random) -> tuple[str, str, list[str]]:
    words, inside = rng.sample(_WORDS, 5), rng.random() < 0.5
    asked = rng.choice(words[:4]) if inside else words[4]
    return f"{asked} in {' '.join(words[:4])}", "yes" if inside else "no", ["yes", "no"]


def _count(rng: random.Random) -> tuple[str, str, list[str]]:
    number = rng.randint(1, 5)
    return " ".join(rng.sample(_WORDS, number)), str(number), [str(each) for each in range(1, 6)]


def _comparison(rng: random.Random) -> tuple[str, str, list[str]]:
    one, other = rng.sample(range(100), 2)
    return f"{one} more than {other}", "yes" if one > other else "no", ["yes", "no"]


def _odd_one_out(rng: random.Random) -> tuple[str, str, list[str]]:
    usual, odd = rng.sample(_WORDS, 2)
    words = [usual] * 3 + [odd]
    rng.shuffle(words)
    return " ".join(words), odd, [usual, odd]


def _package(docstrings: Sequence[Row], rng: random.Random) -> Row:
    labels = sorted({row["label"] for row in docstrings})
    row = rng.choice(docstrings)
    others = [label for label in labels if label != row["label"]]
    choices = [row["label"], *rng.sample(others, min(_NUM_CHOICES - 1, len(others)))]
    start = " ".join(row["text"].split()[:20])
    return _row("package", start, row["label"], choices, rng)


def next_sentence(docstrings: Sequence[Row], number: int, seed: int) -> list[Row]:
    """Which of four sentences follows another: the right one and three of other texts."""
    rng = random.Random(seed)
    parted: list[tuple[str, str]] = []
    for row in docstrings:
        sentences = [each.strip() for each in re.split(r"(?<=\.)\s+", row["text"]) if each.strip()]
        if len(sentences) > 1 and all(4 <= len(each.split()) <= 20 for each in sentences[:2]):
            parted.append((" ".join(sentences[0].split()), " ".join(sentences[1].split())))
    rows: list[Any] = []
    for first, second in rng.sample(parted, min(number, len(parted))):
        others = rng.sample([other for _, other in parted if other != second], _NUM_CHOICES - 1)
        choices = [f" {each}" for each in (second, *others)]
        rng.shuffle(choices)
        rows.append(
            {"input": first, "target": f" {second}", "choices": choices, "task": "next-sentence"}
        )
    return rows
