"""Bad texts planted among good ones, so that a trial of filters knows what should go.

They are of four kinds, in equal parts: near duplicates, noise of symbols, good texts that end in a
licence, and good texts with their words shuffled. In the third kind only the licence is bad.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence

from pretrial.data.rows import Row

KINDS = ("duplicate", "symbols", "licence", "shuffled")
_LICENCE = (
    "Permission is hereby granted, free of charge, to any person who obtains a copy of these files,"
    " to deal in them without restriction, as long as this notice stands in all copies. They are"
    " provided as they are, without warranty of any kind, and their authors answer for no damage."
)


def plant(good: list[str]) -> list[Row]:
    """All good texts and half as many bad ones, shuffled: rows with `text` and `kind`."""
    rows: list[Row] = [{"text": text, "kind": "good"} for text in good]
    rows += _bad(good, random.Random(0))
    random.Random(1).shuffle(rows)
    return rows


def recall(rows: Sequence[Row], passed: Mapping[str, int]) -> dict[str, float]:
    """Of each kind the share that was removed, "<kind>_recall", and "good_kept".

    Args:
        rows: what `plant` gave.
        passed: how often each text was left.
    """
    counts, kinds, left = dict(passed), Counter(row["kind"] for row in rows), Counter[str]()
    for row in rows:
        if counts.get(row["text"], 0) > 0:
            counts[row["text"]] -= 1
            left[row["kind"]] += 1
    found = {f"{kind}_recall": 1 - left[kind] / max(kinds[kind], 1) for kind in KINDS}
    return found | {"good_kept": left["good"] / kinds["good"]}


def _bad(good: list[str], rng: random.Random) -> list[Row]:
    rows = []
    for number, text in enumerate(rng.sample(good, len(good) // 2)):
        kind = KINDS[number % len(KINDS)]
        if kind == "duplicate":
            bad = f"{text}\nSee also above."
        elif kind == "symbols":
            bad = "".join(rng.choices("#{}[]|<>=~ abcde", k=len(text)))
        elif kind == "licence":
            bad = f"{text}\n\n{_LICENCE}"
        else:
            parts = text.split()
            rng.shuffle(parts)
            bad = " ".join(parts)
        rows.append({"text": bad, "kind": kind})
    return rows
