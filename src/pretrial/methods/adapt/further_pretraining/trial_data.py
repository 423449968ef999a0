"""What the trial adapts a model to, and what that model has learnt before."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pretrial.compare.trial import Data
from pretrial.data.builtin.glyphs import glyphs
from pretrial.data.reading.sources import load
from pretrial.data.rows import Row, require
from pretrial.errors import UserError, nearest

DIGITS, DOCSTRINGS = "builtin:digits", "builtin:stdlib-docstrings"


@dataclass(frozen=True)
class Halves:
    """What is fine-tuned on, and what is tested on: rows."""

    learn: Sequence[Any]
    test: Sequence[Any]


def letters(size: int) -> list[Row]:
    """Images that the initial model of images learns from."""
    return glyphs(size)


def image_data(source: str, num_target: int, num_labels: int, num_test: int) -> Data:
    """Target images of which some keep their label, others to test on, and a few held out.

    Raises:
        UserError: there are too few images.
    """
    rows = load(source)
    require(rows, ("image", "label"))
    order = np.random.default_rng(0).permutation(len(rows))
    rows_in_order = [rows[place] for place in order]
    test, rest = rows_in_order[:num_test], rows_in_order[num_test:]
    target, held_out = rest[:num_target], rest[num_target : num_target + 300]
    names = sorted({row["label"] for row in rows}, key=str)
    share, counts = num_labels // len(names), dict.fromkeys(names, 0)
    train = []
    for row in target:
        counts[row["label"]] += 1
        kept = counts[row["label"]] <= share
        train.append(row if kept else {k: v for k, v in row.items() if k != "label"})
    if share < 1 or min(counts.values()) < share or not held_out:
        raise UserError(
            f"{source} has {len(rows)} images of {len(names)} classes, too few for {num_target}"
            f" targets with {num_labels} labels, {num_test} to test on and some held out: lower"
            " --num-labels or --num-test, or raise --num-target"
        )
    learn = [row for row in train if "label" in row]
    name = f"{source}: {len(train)} images, {len(learn)} with labels"
    return Data(train=train, held_out=held_out, test=Halves(learn, test), name=name)


def other_packages(source: str, package: str) -> list[Row]:
    """Texts that the initial model of texts learns from: those of all packages but one."""
    return [row for row in load(source) if row["label"] != package]


def text_data(source: str, package: str, num_labels: int) -> Data:
    """The docstrings of one package, of which some keep a label: whether of a function or not.

    As many of either are labelled, and tested on; no module is on both sides.

    Args:
        source: rows with `text`, `label` (the package), `kind` and `module`.
        package: to adapt to.
        num_labels: texts that keep their label.

    Raises:
        UserError: there is no such package, or it has too few texts.
    """
    rows = load(source)
    require(rows, ("text", "label", "kind", "module"))
    own = [row for row in rows if row["label"] == package]
    if not own:
        known = nearest(package, {row["label"] for row in rows})
        raise UserError(f"{source} has no package {package!r}; the nearest: {known}")
    modules = sorted({row["module"] for row in own})
    aside = set(np.random.default_rng(0).permutation(modules)[::2].tolist())
    named = [
        {"text": row["text"], "label": row["kind"] == "function", "aside": row["module"] in aside}
        for row in own
    ]
    sides: dict[bool, list[Row]] = {}
    for side in (False, True):
        classes = [[r for r in named if r["aside"] == side and r["label"] == c] for c in (0, 1)]
        most = min(map(len, classes)) if side else num_labels // 2
        sides[side] = [row for each in classes for row in each[:most]]
        if most < 1 or len(sides[side]) < 2 * most:
            raise UserError(
                f"package {package!r} has too few texts for {num_labels} labels: lower"
                " --num-labels, or name another --package"
            )
    kept = [id(row) for row in sides[False]]
    train = [
        {k: v for k, v in row.items() if k == "text" or (k == "label" and id(row) in kept)}
        for row in named
        if not row["aside"]
    ]
    name = f"{source}: {len(train)} texts of {package}, {len(kept)} with labels"
    held_out = [row for row in named if row["aside"]]
    return Data(train=train, held_out=held_out, test=Halves(sides[False], sides[True]), name=name)
