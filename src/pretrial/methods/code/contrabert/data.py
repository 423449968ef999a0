"""Samples of code, and variants of them: five operators on code, four on comments.

One of the four translates a comment to another language and back, by two public checkpoints; the
others touch a share of its words.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from pretrial.code_views import View, view
from pretrial.code_views.rewrites import PRESERVING, Rewrite, sample_lines
from pretrial.corrupt.words import copy_words, delete_words, reword, switch_words
from pretrial.data.rows import mapped, read_as
from pretrial.errors import UserError

#: Operators on code; the first four keep what it does.
CODE_OPERATORS: dict[str, Rewrite] = {**PRESERVING, "sample_lines": sample_lines}

# What lies further on is never read, and a line of megabytes would take minutes to be rewritten.
_MOST_CHARACTERS = 100_000

TextOperator = Callable[[list[str], random.Random], list[str]]


@dataclass(frozen=True)
class Sample:
    """A row.

    Attributes:
        code: source code.
        comment: what it does; "" for none.
        language: one that `code_views.languages` names.
    """

    code: str
    comment: str = ""
    language: str = "python"


def read_samples(rows: Sequence[dict[str, Any]]) -> Sequence[Sample]:
    """Samples of rows with `code`, and `comment` and `language` where they have them.

    Raises:
        UserError: a field is missing or no string, or a row has no code.
    """
    return mapped(read_as(rows, Sample), _tidy)


def _tidy(number: int, sample: Sample) -> Sample:
    if not sample.code.strip():
        raise UserError(f"'code' of row {number} is empty: leave the row out")
    return replace(
        sample, comment=sample.comment.strip(), language=sample.language or Sample.language
    )


@lru_cache(maxsize=4096)
def seen(code: str, language: str) -> View:
    """A view of a sample's code, as far as it can be read, kept for the next epoch."""
    return view(code[:_MOST_CHARACTERS], language)


#: Operators on comments; "back_translate" is `reword` where there is no translation.
TEXT_OPERATORS: dict[str, TextOperator] = {
    "back_translate": reword,
    "delete_words": delete_words,
    "switch_words": switch_words,
    "copy_words": copy_words,
}


@dataclass(frozen=True)
class Variants:
    """Draws variants of samples.

    Attributes:
        code_operators: names in `CODE_OPERATORS`.
        text_operators: names in `TEXT_OPERATORS`.
        num_operators: applied one after the other.
        translations: comments by the text that they were translated from and back.
    """

    code_operators: tuple[str, ...]
    text_operators: tuple[str, ...]
    num_operators: int = 1
    translations: Mapping[str, str] | None = None

    def draw(self, sample: Sample, rng: random.Random) -> tuple[Sample, tuple[str, ...]]:
        """A variant of one side of a sample, its code or its comment, and the operators' names.

        Operators are tried in random order until one can be applied; where none can, the sample
        comes back with no names.
        """
        sides = []
        if self.code_operators:
            sides.append("code")
        if self.text_operators and sample.comment:
            sides.append("comment")
        side = rng.choice(sides) if sides else ""
        names: list[str] = []
        for _ in range(self.num_operators if side else 0):
            operators = self.code_operators if side == "code" else self.text_operators
            for name in rng.sample(operators, len(operators)):
                changed = self._apply(name, side, sample, rng)
                if changed is not None and changed != getattr(sample, side):
                    sample = replace(sample, **{side: changed})
                    names.append(name)
                    break
        return sample, tuple(names)

    def _apply(self, name: str, side: str, sample: Sample, rng: random.Random) -> str | None:
        """The changed side; None where the operator cannot be applied."""
        if side == "code":
            return CODE_OPERATORS[name](seen(sample.code, sample.language), rng)
        if name == "back_translate" and self.translations is not None:
            return self.translations.get(sample.comment)
        return " ".join(TEXT_OPERATORS[name](sample.comment.split(), rng))
