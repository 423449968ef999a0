"""The quality of written text or code: exact match, edit similarity, BLEU-4, sub-token F1."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from pretrial.errors import UserError
from pretrial.evaluate.examples import values_of
from pretrial.evaluate.result import Result
from pretrial.evaluate.retrieval import subtokens

_WORD = re.compile(r"[^\W_]+|[^\w\s]|_")


def exact_match(written: str, wanted: str) -> float:
    """1.0 where the texts are equal but for white space around them."""
    return float(written.strip() == wanted.strip())


def edit_distance(one: str, other: str) -> int:
    """Insertions, deletions and substitutions of characters that turn one text into the other.

    Takes one operation on numbers of len(one) bits for each character of the other (Hyyro 2003,
    after Myers 1999).
    """
    if not one:
        return len(other)
    places: dict[str, int] = {}
    for place, sign in enumerate(one):
        places[sign] = places.get(sign, 0) | 1 << place
    every, last = (1 << len(one)) - 1, 1 << len(one) - 1
    up, down, distance = every, 0, len(one)  # rises and falls along the column
    for sign in other:
        match = places.get(sign, 0)
        zero = (((match & up) + up) ^ up) | match | down
        rises, falls = down | ~(zero | up) & every, up & zero
        distance += bool(rises & last) - bool(falls & last)
        rises, falls = (rises << 1 | 1) & every, falls << 1 & every
        up, down = falls | ~(zero | rises) & every, rises & zero
    return distance


def edit_similarity(written: str, wanted: str) -> float:
    """1 - edit distance / length of the longer text; 1.0 for two empty texts."""
    longer = max(len(written), len(wanted))
    return 1.0 - edit_distance(written, wanted) / longer if longer else 1.0


def subtoken_f1(written: str, wanted: str) -> float:
    """Harmonic mean of precision and recall over the parts of names, each as often as it stands."""
    ours, theirs = Counter(subtokens(written)), Counter(subtokens(wanted))
    shared = (ours & theirs).total()
    return 2 * shared / (ours.total() + theirs.total()) if shared else float(ours == theirs)


def sentence_bleu(written: str, wanted: str) -> float:
    """BLEU-4 of a text in 0 .. 100, as code summarisation reports it, averaged over texts.

    One is added to the counts of pairs and longer sequences (Lin and Och 2004), and one to both
    lengths in the brevity penalty, as the evaluator of CodeBERT and CodeT5 does. Words are compared
    in lower case; signs, underscores among them, are words of their own.
    """
    ours, theirs = (_WORD.findall(text.lower()) for text in (written, wanted))
    total = 0.0
    for size in range(1, 5):
        found, there = (
            Counter(tuple(words[place : place + size]) for place in range(len(words) - size + 1))
            for words in (ours, theirs)
        )
        added = size > 1
        hits, number = (found & there).total() + added, found.total() + added
        if not hits:
            return 0.0
        total += math.log(hits / number) / 4
    penalty = min(0.0, 1 - (len(theirs) + 1) / (len(ours) + 1))
    return 100 * math.exp(total + penalty)


def text_metrics(written: Sequence[str], wanted: Sequence[str]) -> dict[str, list[float]]:
    """All metrics of each text: "exact_match", "edit_similarity", "subtoken_f1" and "bleu"."""
    metrics: dict[str, Callable[[str, str], float]] = {
        "exact_match": exact_match,
        "edit_similarity": edit_similarity,
        "subtoken_f1": subtoken_f1,
        "bleu": sentence_bleu,
    }
    pairs = list(zip(written, wanted, strict=True))
    return {name: [metric(*pair) for pair in pairs] for name, metric in metrics.items()}


def measure_generation(
    method: Any,
    data: Sequence[Any],
    *,
    source: str = "source",
    target: str = "target",
    max_new_tokens: int = 0,
    num_beams: int = 1,
    seed: int = 0,
) -> Result:
    """How near what a model writes comes to what is wanted.

    Args:
        method: with the ability `generate_texts(sources, *, max_new_tokens, num_beams) ->
            list[str]`; 0 new tokens stand for the method's own limit.
        data: rows with a source and a target.
        source: name of the field that the model is given.
        target: name of the field that it should write.
        max_new_tokens: longest text, in tokens; 0 leaves it to the method.
        num_beams: above 1, beam search.
        seed: of the bootstrap.

    Raises:
        UserError: there are no rows, or a field is missing or no text.
    """
    if not len(data):
        raise UserError("there are no rows to measure texts on: give data with some")
    wanted, sources = (values_of(data, field, text=True) for field in (target, source))
    written = method.generate_texts(sources, max_new_tokens=max_new_tokens, num_beams=num_beams)
    notes = {
        "num_texts": len(data),
        "num_empty": sum(not text.strip() for text in written),
        "decoding": f"{num_beams} beams" if num_beams > 1 else "greedy",
    }
    return Result.of_items(text_metrics(written, wanted), notes, seed)
