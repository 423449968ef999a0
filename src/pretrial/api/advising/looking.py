"""What the data is: kind, size, labels, what repeats; rows to learn from and to be tested on."""

from __future__ import annotations

import dataclasses
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pretrial.api import data
from pretrial.data.cleaning.dedup import NearDuplicates
from pretrial.data.labels import label_in
from pretrial.data.origins import KINDS, Kind, content_key, kind_of, origin_of
from pretrial.data.rows import Row, Rows, field_names, likely, spread
from pretrial.data.splits import split_by_group
from pretrial.errors import UserError

LEAST = 40  # labelled rows: with fewer no difference could be told from chance
MOST_TEST = 1000
_MOST_ROWS = 20_000  # that are looked at and learnt from
_TEST_RATIO = 0.25
_MOST_CLASSES = 200
_NEAR_LIMIT = 5000  # texts compared for near duplicates
_SAMPLE = 500  # rows whose lengths and letters are looked at


@dataclass(frozen=True)
class Looked:
    """Data that has been looked at.

    Attributes:
        source: its name.
        kind: what the rows hold.
        labelled: whether labels are to be told; else texts are to be predicted.
        classes: the labels, as text, sorted.
        train: rows to learn from, in the order in which labels are added.
        test: rows to be tested on, in the order in which they are asked.
        facts: what was found, in sentences.
        warnings: what is wrong with the data, in sentences.
    """

    source: str
    kind: Kind
    labelled: bool
    classes: tuple[str, ...]
    train: Sequence[Row]
    test: Sequence[Row]
    facts: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    @property
    def learn(self) -> Sequence[Row]:
        """The training rows that have a label."""
        return [row for row in self.train if row.get("label") is not None]


def look(source: data.Source, test: str = "", label: str = "") -> Looked:
    """Looks at data, and splits it.

    Args:
        source: the data.
        test: rows to be tested on; "" sets a quarter aside.
        label: the field of the label; "" is `label`.

    Raises:
        UserError: what is there cannot be used; it says what to give instead.
    """
    rows = _read(source, label)
    kind = _kind_of(rows, source.name)
    chosen = list(spread(rows, _MOST_ROWS))
    labelled = [row for row in chosen if row.get("label") is not None]
    classes = _classes(labelled, chosen, source.name, kind)
    facts, warnings = [_size(rows, kind)], [str(text) for text in getattr(rows, "skipped", ())][:1]
    if len(chosen) < len(rows):
        facts.append(f"Of these {len(chosen)}, evenly spread, are looked at and learnt from.")
    if labelled and len(labelled) < len(chosen):
        facts.append(f"{len(labelled)} rows have a label, {len(chosen) - len(labelled)} none.")
    own = _read(dataclasses.replace(source, data=(test,)), label) if test else ()
    other = list(spread(own, MOST_TEST))
    facts.append(_balance(labelled, classes) if classes else _without_labels(chosen))
    repeats = _repeats(chosen, kind, bool(classes))
    train, tested, leaks = _split(chosen, other, kind, bool(classes), source.name, test)
    if classes:
        known = {str(row["label"]) for row in train if row.get("label") is not None}
        tested = [row for row in tested if str(row["label"]) in known]
    facts.append(
        f"{len(train)} rows to learn from, {len(tested)} to be tested on"
        + (f" ({test})." if test else ", of one origin or equal ones on one side.")
    )
    _check_enough(train, tested, bool(classes), source.name)
    return Looked(
        source.name, kind, bool(classes), classes, train, tested,
        tuple(facts), (*warnings, *repeats, *leaks),
    )  # fmt: skip


def _read(source: data.Source, label: str) -> Any:
    """The rows, whose label is called `label`; labels that are none are taken out."""
    rows = data.load(source)
    if label and label != "label":
        names = field_names(rows[:20])
        if all(row.get(label) is None for row in rows):
            raise UserError(
                f"no row of {source.name} has a label {label!r} (fields: {', '.join(names)}): give"
                f" --label {likely(label, names)}"
            )
        named = [{**row, "label": row.get(label)} for row in rows]
        rows = Rows(named, rows.source, skipped=rows.skipped)
    for number, row in enumerate(rows):
        label_in(row.get("label"), number)  # which says what is wrong with it
    return rows


def _kind_of(rows: Any, source: str) -> Kind:
    """What the rows hold.

    Raises:
        UserError: nothing that can be looked at, or different things.
    """
    counts = Counter(kind_of(row) or "" for row in rows)
    kinds = [kind for kind in KINDS if counts[kind]]
    if not kinds:
        names = ", ".join(dict.fromkeys(name for row in rows[:20] for name in row))
        raise UserError(
            f"{source} has no field text, image or audio (found: {names}): name the one to look at"
            " with --fields, such as --fields text=body"
        )
    if len(kinds) > 1 or counts[""]:
        mixed = ", ".join(f"{counts[kind]} {kind or 'with neither'}" for kind in counts)
        raise UserError(f"{source} holds different things ({mixed}): give a file or folder of one")
    return kinds[0]


def _size(rows: Sequence[Row], kind: Kind) -> str:
    """How many rows there are, how long they are, and of texts which letters they have."""
    sample = list(spread(rows, _SAMPLE))
    if kind == "image":
        from pretrial.data.media.image import size_of

        sizes = Counter(size_of(row["image"]) for row in sample[:50])
        (height, width, channels), _ = sizes.most_common(1)[0]
        shape = f"{width} x {height} pixels, {'grey' if channels == 1 else 'in colour'}"
        return f"{len(rows)} images of {shape}" + (" and other sizes." if len(sizes) > 1 else ".")
    if kind == "audio":
        from pretrial.data.media.audio import samples

        seconds = [len(samples(row["audio"], 8000)) / 8000 for row in sample[:50]]
        return f"{len(rows)} recordings of {np.median(seconds):.2g} s (median)."
    texts = [str(row["text"]) for row in sample]
    sizes_ = np.array([len(text.encode("utf-8", "replace")) for text in texts])
    low, middle, high = np.percentile(sizes_, [5, 50, 95])
    total = sizes_.mean() * len(rows)
    return (
        f"{len(rows)} texts of {middle:.0f} bytes (median; {low:.0f} to {high:.0f} for nine of ten)"
        f", {total / 1e6:.2g} MB in all; letters: {_scripts(texts)}."
    )


def _scripts(texts: Sequence[str]) -> str:
    """The scripts of the letters, such as "Latin 98 %, Greek 2 %"."""
    letters = Counter(letter for text in texts for letter in text[:2000] if letter.isalpha())
    scripts: Counter[str] = Counter()
    for letter, count in letters.items():
        scripts[unicodedata.name(letter, "other").split()[0].capitalize()] += count
    total = max(scripts.total(), 1)
    shown = [f"{name} {100 * count / total:.0f} %" for name, count in scripts.most_common(3)]
    return ", ".join(text for text in shown if not text.endswith(" 0 %")) or "none"


def _classes(
    labelled: Sequence[Row], rows: Sequence[Row], source: str, kind: Kind
) -> tuple[str, ...]:
    """The labels, sorted; none where texts have none, which are then to be predicted.

    Raises:
        UserError: images or recordings have none; there is one label, or nearly one a row.
    """
    classes = sorted({str(row["label"]) for row in labelled})
    if not labelled:
        if kind == "text":
            return ()
        raise UserError(
            f"{source} has {len(rows)} {kind} rows and no labels, so there is nothing to tell"
            " methods apart by: put them into one folder a class, or name the field with --label"
        )
    if len(classes) == 1:
        raise UserError(
            f"all {len(labelled)} labels of {source} are {classes[0]!r}: there is nothing to tell"
            " apart; name another field with --label"
        )
    if len(labelled) < LEAST:
        raise UserError(
            f"{source} has {len(labelled)} labelled rows, and fewer than {LEAST} cannot tell"
            " methods apart: label more, or take TF-IDF or raw pixels with a logistic regression"
        )
    if len(classes) > min(_MOST_CLASSES, len(labelled) // 2):
        raise UserError(
            f"{source} has {len(classes)} different labels in {len(labelled)} rows, more than can"
            " be learnt: name a field with fewer with --label"
        )
    return tuple(classes)


def _balance(labelled: Sequence[Row], classes: Sequence[str]) -> str:
    counts = Counter(str(row["label"]) for row in labelled)
    (most, count), (least, fewest) = counts.most_common()[0], counts.most_common()[-1]
    share = 100 * count / len(labelled)
    return (
        f"{len(classes)} labels; the most frequent, {most}, has {count} rows ({share:.0f} %), the"
        f" rarest, {least}, {fewest}."
    )


def _without_labels(rows: Sequence[Row]) -> str:
    """That texts are to be predicted, and which fields might be labels instead."""
    likeliest = []
    for name in field_names(rows[:_SAMPLE]):
        values = [row.get(name) for row in rows[:_SAMPLE]]
        short = all(isinstance(value, str | int) and len(str(value)) < 60 for value in values)
        if short and 1 < len(set(values)) <= len(values) // 5:
            likeliest.append(name)
    text = "There are no labels (no field `label`), so texts are to be predicted."
    if likeliest:
        text += f" If {' or '.join(likeliest)} is what is to be told, give --label {likeliest[0]}."
    return text


def _repeats(rows: Sequence[Row], kind: Kind, labelled: bool) -> list[str]:
    """Equal rows, of texts nearly equal ones, and equal ones with different labels."""
    labels: dict[str, set[str]] = {}
    for row in rows:
        labels.setdefault(content_key(row[kind]), set()).add(str(row.get("label")))
    found = []
    if len(labels) < len(rows):
        found.append(f"{len(rows) - len(labels)} rows repeat an earlier one.")
    torn = sum(len(each - {"None"}) > 1 for each in labels.values())
    if labelled and torn:
        found.append(f"{torn} contents stand there with different labels, so none can be right.")
    if kind == "text":
        texts = [str(row["text"]) for row in spread(rows, _NEAR_LIMIT)]
        near = sum(number >= 0 for number in NearDuplicates().add(texts))
        near -= len(texts) - len({content_key(text) for text in texts})
        if near > 0:
            found.append(
                f"{near} of {len(texts)} texts nearly repeat an earlier one; `pretrial clean`"
                " leaves such texts out."
            )
    return found


def _split(
    rows: Sequence[Row], other: Sequence[Row], kind: Kind, labelled: bool, source: str, test: str
) -> tuple[list[Row], list[Row], list[str]]:
    """Rows to learn from, rows to be tested on, and what was in both.

    Raises:
        UserError: all that is to be tested on is among the rows to learn from; or it has no labels.
    """
    if not other:
        shares = {"test": _TEST_RATIO, "train": 1 - _TEST_RATIO}
        parts = split_by_group(rows, origin_of, shares)
        tested = [row for row in parts["test"] if not labelled or row.get("label") is not None]
        return _shuffled(parts["train"]), _shuffled(tested)[:MOST_TEST], []
    if any(row.get(kind) is None for row in other):
        raise UserError(f"a row of {test} has no {kind}, as those of {source} have: give such rows")
    tested = [row for row in other if not labelled or row.get("label") is not None]
    if not tested:
        raise UserError(f"no row of {test} has a label: give labelled rows, or leave --test out")
    asked = {content_key(row[kind]) for row in tested}
    train = [row for row in rows if content_key(row[kind]) not in asked]
    both = asked & {content_key(row[kind]) for row in rows}
    if len(both) == len(asked):
        raise UserError(
            f"every row of {test} is among the rows of {source}, so that nothing could be told:"
            " give other rows, or leave --test out"
        )
    leaks = []
    if both:
        leaks.append(
            f"{len(both)} rows to be tested on were among those to learn from, and were left out"
            " there: what was measured with them before is too good."
        )
    return _shuffled(train), _shuffled(tested), leaks


def _shuffled(rows: Sequence[Row]) -> list[Row]:
    order = np.random.default_rng(0).permutation(len(rows))
    return [rows[int(place)] for place in order]


def _check_enough(train: Sequence[Row], test: Sequence[Row], labelled: bool, source: str) -> None:
    learn = [row for row in train if not labelled or row.get("label") is not None]
    classes = {str(row.get("label")) for row in learn}
    if len(learn) < 8 or len(test) < 4 or (labelled and len(classes) < 2):
        raise UserError(
            f"{source} leaves {len(learn)} rows to learn from and {len(test)} to be tested on,"
            " which is too little: give more, or of more origins"
        )
