"""Noise on the words of a sentence: a few left out, swapped, written twice, or said otherwise.

It makes variants of comments, questions or captions for whatever learns that they mean the same.
Every function takes the words and a source of randomness, and gives other words.
"""

from __future__ import annotations

import random

# Words that can stand for each other in descriptions of code; each is replaced by another of its
# group.
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
_SHARE = 0.15  # of the words that an operator touches


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
