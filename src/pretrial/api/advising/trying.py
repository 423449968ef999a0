"""One try, in a process of its own: `python -m pretrial.api.advising.trying FOLDER`.

FOLDER/try.json says what to do and in how many seconds; FOLDER/result.json is written anew after
every number of labels, the largest first, so that what was reached stays when the time is over.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pretrial import discover
from pretrial.api import data
from pretrial.api.advising.choosing import Try, config_for
from pretrial.api.advising.looking import Looked, look
from pretrial.compare.worker import end_with_parent
from pretrial.errors import UserError
from pretrial.files import write_whole
from pretrial.train.budget import Budget

RESULT = "result.json"
_PRETRAINED_RATIO = 0.4  # of the time of a try, for learning without labels
_TEST_RATIO = 0.25  # of the time that is left, for being tested
_CUT, _PIECES = 800, 2  # characters of a piece of a text that is predicted; pieces of a text


@dataclass
class Attempt:
    """A try as it goes.

    Attributes:
        one: what is tried.
        looked: the data.
        sizes: numbers of labels to learn from, the largest first.
        seconds: in all, from now.
        folder: of the try.
        result: what has been reached so far, as JSON.
    """

    one: Try
    looked: Looked
    sizes: Sequence[int]
    seconds: float
    folder: Path
    result: dict[str, Any] = field(default_factory=lambda: {"series": {}, "notes": []})
    began: float = field(default_factory=time.monotonic)

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self.seconds - (time.monotonic() - self.began)

    def reached(self, name: str, size: int, items: Sequence[float], note: str = "") -> None:
        """Keeps what was measured with so many labels: a value a test row, the first ones."""
        points = self.result["series"].setdefault(name, {})
        points[str(size)] = {"items": [round(float(v), 6) for v in items], "note": note}
        self.keep()

    def keep(self) -> None:
        """Writes what was reached."""
        self.result["seconds"] = round(time.monotonic() - self.began, 1)
        write_whole(self.folder / RESULT, json.dumps(self.result) + "\n")


def run(folder: Path) -> int:
    """Does what try.json says; exit code 0, or 2 for what a user can mend."""
    import torch

    threading.Thread(target=end_with_parent, daemon=True).start()
    torch.set_num_threads(1)
    work = json.loads((folder / "try.json").read_text())
    try:
        looked = look(data.Source(**work["source"]), work["test"], work["label"])
        attempt = Attempt(Try(**work["try"]), looked, work["sizes"], work["seconds"], folder)
        do(attempt)
    except UserError as error:
        print("pretrial:", " ".join(str(error).split()), file=sys.stderr)
        return 2
    attempt.result["done"] = True
    attempt.keep()
    return 0


def do(attempt: Attempt) -> None:
    """One try, whatever it is."""
    from pretrial.train.run import seed_everything

    seed_everything(0)
    if attempt.one.way == "floor":
        _floor(attempt)
        return
    method = _method(attempt)
    attempt.result["parameters"] = sum(p.numel() for p in method.parameters())
    if attempt.one.way == "nll":
        _predict(attempt, method)
    elif attempt.one.way == "vectors":
        _probe(attempt, method)
    else:
        _finetune(attempt, method)


# -- the model ------------------------------------------------------------------------------------


def _method(attempt: Attempt) -> Any:
    """What is tried, trained without labels where that is part of it."""
    one = attempt.one
    if not one.slug:
        from pretrial.api.opening import open_model

        return open_model(one.init).load()
    from pretrial.api.advising.tuning import SAVE_EVERY
    from pretrial.train.loop import train
    from pretrial.train.run import Run

    loaded = discover.load(one.slug)
    config = config_for(one.slug, attempt.looked, one.init)
    source = None
    if one.init:
        from pretrial.checkpoints.packaged import place_of

        source = place_of(one.init)
    rows = [{k: v for k, v in row.items() if k != "label"} for row in attempt.looked.train]
    examples = loaded.method.read(rows)
    method = loaded.method.build(config, source=source, data=examples)
    ratio = 0.85 if one.way == "nll" else _PRETRAINED_RATIO
    budget = Budget(max(attempt.left * ratio, 1.0), "seconds")
    own = Run(attempt.folder / "pretrain", examples, budget=budget, quiet=True,
              save_every=SAVE_EVERY)  # fmt: skip
    with closing(own):
        train(method, own)
    steps = own.spent.total("steps")
    attempt.result["notes"].append(f"{steps:.0f} steps without labels")
    return method.eval()


# -- labels ---------------------------------------------------------------------------------------


def _sides(attempt: Attempt, size: int) -> tuple[Sequence[Any], list[int], list[int]]:
    """The rows to learn from, their classes, and those of the rows to be tested on."""
    looked = attempt.looked
    place = {name: number for number, name in enumerate(looked.classes)}
    learn = looked.learn[:size]
    return (
        learn,
        [place[str(row["label"])] for row in learn],
        [place[str(row["label"])] for row in looked.test],
    )


def _floor(attempt: Attempt) -> None:
    """What needs no training, with every number of labels; of texts without labels, counts."""
    if not attempt.looked.labelled:
        from pretrial.compare.kit.floors import ByteTrigrams

        counts = ByteTrigrams([row["text"] for row in attempt.looked.train])
        items = _bits(counts, _pieces(attempt.looked.test))
        attempt.reached("counts of three bytes", len(attempt.looked.train), items)
        return
    from pretrial.evaluate.floors import floor_of

    for size in attempt.sizes:
        learn, _, _ = _sides(attempt, size)
        for each in floor_of(learn, attempt.looked.test, attempt.looked.kind):
            attempt.reached(each.name, size, each.right.tolist())


def _probe(attempt: Attempt, method: Any) -> None:
    """A linear classifier on vectors, which are computed once."""
    from pretrial.api.advising.tuning import affordable_rows
    from pretrial.evaluate.examples import examples_of
    from pretrial.evaluate.probe import probe_log_probs

    looked, name = attempt.looked, attempt.one.label
    learn, targets, places = _sides(attempt, attempt.sizes[0])
    test = examples_of(method, looked.test)
    method.encode(test[:2])  # the first time is no measure
    began = time.monotonic()
    method.encode(test[:16])
    each = (time.monotonic() - began) / min(16, len(test))
    num_test = affordable_rows(attempt.left * _TEST_RATIO, each, len(test))
    num_learn = affordable_rows(attempt.left * (1 - _TEST_RATIO) * 0.8, each, len(learn))
    asked = method.encode(test[:num_test]).float().numpy()
    known = method.encode(examples_of(method, learn[:num_learn])).float().numpy()
    for size in attempt.sizes:
        own = min(size, num_learn)
        said = probe_log_probs(known[:own], targets[:own], asked, len(looked.classes))
        right = (said.argmax(-1) == np.array(places[:num_test])).astype(float)
        note = f"only {own} labels in this time" if own < size else ""
        attempt.reached(name, size, right.tolist(), note)


def _finetune(attempt: Attempt, method: Any) -> None:
    """All weights, and a new head, on every number of labels that there is time for."""
    from pretrial.api.advising.tuning import Tuning

    tuning = Tuning(method, attempt.looked, bool(attempt.one.init))
    sizes = tuning.affordable(attempt.sizes, attempt.left)
    left_out = [str(size) for size in attempt.sizes if size not in sizes]
    if left_out:
        text = f"no time for an epoch with {' and '.join(left_out)} labels too"
        attempt.result["notes"].append(text)
    for place, size in enumerate(sizes):
        seconds = attempt.left / sum((each / size) ** 0.5 for each in sizes[place:])
        right, note = tuning.tuned(size, seconds, attempt.folder / f"labels-{size}")
        attempt.reached(attempt.one.label, size, right.astype(float).tolist(), note)


# -- texts without labels -------------------------------------------------------------------------


def _pieces(rows: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """Of each text some pieces, evenly spread, that everybody predicts."""
    found = []
    for row in rows:
        text = row["text"].strip()
        starts = range(0, max(len(text), 1), _CUT)
        chosen = starts[:: max(1, len(starts) // _PIECES)][:_PIECES]
        pieces = [text[at : at + _CUT] for at in chosen]
        found.append([piece for piece in pieces if piece.strip()])
    return [pieces for pieces in found if pieces]


def _bits(method: Any, texts: Sequence[Sequence[str]]) -> list[float]:
    """Bits per byte of each text, over its pieces."""
    nll, sizes = method.nll([piece for pieces in texts for piece in pieces])
    found, at = [], 0
    for pieces in texts:
        end = at + len(pieces)
        found.append(sum(nll[at:end]) / np.log(2) / sum(sizes[at:end]))
        at = end
    return found


def _predict(attempt: Attempt, method: Any) -> None:
    """Bits per byte of texts, as many as the time allows."""
    texts = _pieces(attempt.looked.test)
    items: list[float] = []
    for at in range(0, len(texts), 4):
        items += _bits(method, texts[at : at + 4])
        attempt.reached(attempt.one.label, len(attempt.looked.train), items)
        spent = attempt.seconds - attempt.left
        if attempt.left < spent / max(len(items), 1) * 4 and not attempt.one.slug:
            break
        if attempt.left < 0:
            break


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1])))
