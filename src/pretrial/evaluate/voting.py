"""The answer that several chains of thought agree on, for whatever writes more than one."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

_NUMBER = re.compile(r"-?\d+(?:[.,]\d+)*")


def answer_in(text: str, marker: str) -> str:
    """What a chain of thought ends in.

    It is what follows the last `marker` in its sentence, else the last number, else the text.
    """
    _, found, rest = text.rpartition(marker)
    if found:
        return re.split(r"\.\s|\n", rest.strip(" :"))[0].strip().rstrip(".")
    numbers = _NUMBER.findall(text)
    return numbers[-1] if numbers else text.strip()


def vote(answers: Sequence[str]) -> tuple[str, float]:
    """The answer given most often, of several the first, and its share; empty ones do not count."""
    counts = Counter(filter(None, answers))
    if not counts:
        return "", 0.0
    answer, number = counts.most_common(1)[0]
    return answer, number / len(answers)
