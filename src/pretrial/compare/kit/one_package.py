"""Data to adapt a model to a domain: texts of one package, few of them labelled, and all others.

A model learns from the texts of all other packages and is then adapted to the one; what it is asked
is no word of the texts themselves, but whether each describes a function.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pretrial.compare.kit import few_labels
from pretrial.compare.trial import Data
from pretrial.data.reading.sources import load
from pretrial.data.rows import Row, require
from pretrial.errors import UserError, nearest


def one_package(source: str, package: str, num_labels: int) -> Data:
    """The docstrings of one package, of which some keep a label: whether of a function or not.

    As many of either are labelled, and tested on; no module is on both sides.

    Args:
        source: rows with `text`, `label` (the package), `kind` and `module`.
        package: to adapt to.
        num_labels: texts that keep their label.

    Returns:
        With `test` as the rows to fine-tune on and those to test on.

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
    sides: dict[bool, list[Row]] = {False: [], True: []}
    for row in own:
        named = {"text": row["text"], "label": row["kind"] == "function"}
        sides[row["module"] in aside].append(named)
    share = num_labels // 2
    train = few_labels.keep_labels(sides[False], share)
    learn = _by_class([row for row in train if "label" in row])
    labels = [row["label"] for row in sides[True]]
    most = min(labels.count(name) for name in (False, True))
    test = _by_class([row for row in few_labels.keep_labels(sides[True], most) if "label" in row])
    if share < 1 or most < 1 or len(learn) < 2 * share:
        raise UserError(
            f"package {package!r} has too few texts for {num_labels} labels: lower --num-labels, or"
            " name another --package"
        )
    name = f"{source}: {len(train)} texts of {package}, {len(learn)} with labels"
    return Data(train=train, held_out=sides[True], test=(learn, test), name=name)


def _by_class(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: row["label"])


def other_packages(source: str, package: str) -> list[Row]:
    """The rows of all packages but one, to train the model on that is then adapted."""
    return [row for row in load(source) if row["label"] != package]
