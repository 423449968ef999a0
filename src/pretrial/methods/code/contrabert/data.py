"""Samples of code, and variants of them: five operators on code, four on comments.

One of the four translates a comment to another language and back, by two public checkpoints.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from pretrial.checkpoints.keys import load_pretrained, load_tokenizer
from pretrial.code_views import View, view
from pretrial.code_views.rewrites import PRESERVING, Rewrite, sample_lines
from pretrial.data.rows import mapped, read_as
from pretrial.errors import UserError
from pretrial.train.run import Run

#: Operators on code; the first four keep what it does.
CODE_OPERATORS: dict[str, Rewrite] = {**PRESERVING, "sample_lines": sample_lines}

# Words of comments that can stand for each other; each is replaced by another one of its group.
_SYNONYMS = (
    ("return", "give", "yield"), ("returns", "gives", "yields"), ("get", "fetch", "obtain"),
    ("set", "assign"), ("make", "create", "build"), ("remove", "delete", "drop"),
    ("check", "test", "verify"), ("find", "locate", "look up"), ("list", "sequence"),
    ("dictionary", "mapping"), ("function", "routine"), ("value", "item"), ("number", "count"),
    ("string", "text"), ("object", "instance"), ("file", "document"), ("name", "label"),
    ("begin", "start"), ("end", "finish"), ("given", "specified"), ("all", "every"),
    ("if", "when"), ("convert", "turn", "transform"), ("print", "show", "display"),
    ("argument", "parameter"), ("arguments", "parameters"), ("error", "failure"),
    ("compute", "calculate", "work out"), ("use", "apply"), ("add", "append"),
    ("read", "load"), ("write", "store", "save"), ("call", "invoke"), ("change", "modify"),
)  # fmt: skip
_OTHERS = {word: [w for w in group if w != word] for group in _SYNONYMS for word in group}
_SHARE = 0.15  # of the words that an operator on comments touches; assumed
# What lies further on is never read, and a line of megabytes would take minutes to be rewritten.
_MOST_CHARACTERS = 100_000

_TRANSLATIONS = "translations.json"
_AT_ONCE = 32  # comments that are translated together

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


# -- comments -------------------------------------------------------------------------------------


def delete_words(words: list[str], rng: random.Random) -> list[str]:
    """Leaves a few words out, never all."""
    gone = set(_some(words, rng, most=len(words) - 1))
    return [word for place, word in enumerate(words) if place not in gone]


def switch_words(words: list[str], rng: random.Random) -> list[str]:
    """Swaps a few pairs of words, wherever they stand."""
    changed = list(words)
    for one in _some(words, rng, most=len(words)):
        two = rng.randrange(len(words))
        changed[one], changed[two] = changed[two], changed[one]
    return changed


def copy_words(words: list[str], rng: random.Random) -> list[str]:
    """Writes a few words twice."""
    twice = set(_some(words, rng, most=len(words)))
    return [word for place, word in enumerate(words) for _ in range(1 + (place in twice))]


def reword(words: list[str], rng: random.Random) -> list[str]:
    """What stands for back-translation where no translator is: synonyms, and another order.

    Words with a synonym are replaced half of the time, and one pair of neighbours is swapped.
    """
    changed = []
    for word in words:
        others = _OTHERS.get(word.lower().strip(".,:;"))
        changed.append(rng.choice(others) if others and rng.random() < 0.5 else word)
    if len(changed) > 2:
        place = rng.randrange(len(changed) - 1)
        changed[place : place + 2] = reversed(changed[place : place + 2])
    return changed


def _some(words: list[str], rng: random.Random, most: int) -> list[int]:
    """Places of a few words: a share of all, one at least, `most` at most."""
    return rng.sample(range(len(words)), min(max(round(_SHARE * len(words)), 1), most))


#: Operators on comments; "back_translate" is `reword` where there is no translation.
TEXT_OPERATORS: dict[str, TextOperator] = {
    "back_translate": reword,
    "delete_words": delete_words,
    "switch_words": switch_words,
    "copy_words": copy_words,
}


# -- variants -------------------------------------------------------------------------------------


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


# -- translation ----------------------------------------------------------------------------------


def back_translations(
    comments: Sequence[str], translators: Sequence[str], run: Run
) -> dict[str, str]:
    """Each comment's translation back, computed once a run and kept with it.

    Args:
        comments: in the language that the first translator reads.
        translators: two sequence-to-sequence checkpoints, such as Helsinki-NLP/opus-mt-en-de and
            Helsinki-NLP/opus-mt-de-en.
        run: keeps them.

    Raises:
        UserError: a translator cannot be loaded.
    """

    def make(folder: Path) -> None:
        texts = list(dict.fromkeys(comments))
        found = texts
        for name in translators:
            found = translate(found, name, run.device)
        pairs = dict(zip(texts, found, strict=True))
        (folder / _TRANSLATIONS).write_text(json.dumps(pairs), encoding="utf-8")

    folder = run.once("translations", make)
    return json.loads((folder / _TRANSLATIONS).read_text(encoding="utf-8"))


@torch.no_grad()
def translate(texts: Sequence[str], name: str, device: torch.device | str = "cpu") -> list[str]:
    """What a translator gives for each text, by greedy search.

    Args:
        texts: in the language that it reads.
        name: name or folder of a sequence-to-sequence checkpoint.
        device: where it runs.

    Raises:
        UserError: it cannot be loaded.
    """
    from transformers import AutoModelForSeq2SeqLM

    tokenizer: Any = load_tokenizer(name)
    model: Any = load_pretrained(AutoModelForSeq2SeqLM, name)
    model.eval().to(device)
    found: list[str] = []
    for start in range(0, len(texts), _AT_ONCE):
        some = list(texts[start : start + _AT_ONCE])
        inputs = tokenizer(some, padding=True, truncation=True, max_length=256, return_tensors="pt")
        ids = model.generate(
            input_ids=inputs["input_ids"].to(device),
            attention_mask=inputs["attention_mask"].to(device),
            max_new_tokens=2 * inputs["input_ids"].shape[1],
            num_beams=1,
            do_sample=False,
        )
        found += tokenizer.batch_decode(ids, skip_special_tokens=True)
    return found
