"""Every method learns from rows on the disk what it learns from them in memory, and holds few.

The rows here come anew each time they are asked for, and how many of their texts, images and the
like are alive is counted: a method that gathers its data is found by that.
"""

from __future__ import annotations

import json
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pretrial import discover
from pretrial.data.windows import cutting as windows
from pretrial.train.budget import Budget
from pretrial.train.checkpoint import weights_of
from pretrial.train.loop import train
from pretrial.train.run import Run

METHODS = discover.methods()
NUM_ROWS, NUM_HELD_OUT = 1500, 60
#: The library that learns vocabularies takes 256 texts at once.
MOST_ALIVE = 500
#: Methods that hold their data, and why; docs/reliability.md names them.
HOLD = {
    "api_continual": "the code of a library is joined and cut when its turn comes",
    "coderl": "problems are few: each is solved over and over, and its programs are run",
    "codet5": "examples are parsed once, and looked through by task",
    "multimend": "bugs are made of each function once",
    "unixcoder": "syntax trees are made once, and kept as token ids",
}


class Text(str):
    """A text that a weak reference can be made to."""


class Rows(Sequence[dict[str, Any]]):
    """So many rows, the given ones over and over, as if they were read from the disk.

    Attributes:
        alive: values that somebody holds.
        most: the most that were alive at a time.
    """

    on_disk = True
    source = "watched rows"

    def __init__(self, rows: Sequence[dict[str, Any]], count: int) -> None:
        self.rows, self.count = rows, count
        self.alive = self.most = 0

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(self.count))]
        return self._watched(self.rows[range(self.count)[index] % len(self.rows)])

    def _watched(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._watched(each) for name, each in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(self._watched(each) for each in value)
        if not isinstance(value, (str, np.ndarray)):
            return value
        made = Text(value) if isinstance(value, str) else value.copy()
        self.alive += 1
        self.most = max(self.most, self.alive)
        weakref.finalize(made, self._gone).atexit = False
        return made

    def _gone(self) -> None:
        self.alive -= 1


def learnt(slug: str, folder: Path, rows: Any, held_out: Any) -> tuple[Any, list[Any]]:
    """Weights and log of a short training."""
    loaded = discover.load(slug)
    torch.manual_seed(0)
    data, aside = (loaded.method.read(part) for part in (rows, held_out))
    method = loaded.method.build(loaded.config.tiny(), data=data)
    train(method, Run(folder, data, aside, Budget(6, "steps"), quiet=True, log_every=1))
    log = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    shown = [{k: v for k, v in row.items() if "seconds" not in k} for row in log]
    return weights_of(method), shown


@pytest.mark.parametrize("slug", [slug for slug in sorted(METHODS) if slug not in HOLD])
def test_rows_on_the_disk(slug: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(windows, "_TEXTS_AT_ONCE", 64)
    rows = discover.load(slug).method.sample_rows()
    on_disk = Rows(rows, NUM_ROWS), Rows(rows, NUM_HELD_OUT)
    in_memory = [[rows[place % len(rows)] for place in range(part.count)] for part in on_disk]
    weights, log = learnt(slug, tmp_path / "memory", *in_memory)
    again, shown = learnt(slug, tmp_path / "disk", *on_disk)
    fields = max(1, *(len(row) for row in rows))
    assert on_disk[0].most <= fields * MOST_ALIVE, f"{on_disk[0].most} values were in memory"
    assert shown == log
    assert again.keys() == weights.keys()
    for name, weight in weights.items():
        assert torch.equal(again[name], weight), name
