"""Data that stays on the disk: an index of it in the run's folder, made once."""

from __future__ import annotations

import shutil
from pathlib import Path

from pretrial import status
from pretrial.api import data, runs
from pretrial.data.reading.indexed import DiskRows, check_index, write_index
from pretrial.data.splits import side_of
from pretrial.errors import UserError
from pretrial.train import checkpoint, distributed
from pretrial.train.claim import claim

_FOLDER = "rows"
_PARTS = ("kept", "aside")


def load(
    source: data.Source, out: Path, name: str, held_out_ratio: float, seed: int
) -> tuple[DiskRows, DiskRows]:
    """The rows to train on and those held out, the same ones as `splits.hold_out` gives.

    The first process makes the index and holds the run's folder from then on.

    Args:
        source: the data, a single source.
        out: folder of the run.
        name: of the index, unique in the run.
        held_out_ratio: share of the rows to set aside.
        seed: of that choice.

    Raises:
        UserError: there are no rows, one is broken, or the data has changed since the run began.
    """
    folder = out / _FOLDER / name
    setting = source.arguments() | {"held_out_ratio": held_out_ratio, "seed": seed}

    def make() -> None:
        claim(out)
        reason = check_index(folder, setting)
        if not reason:
            return
        if folder.exists() and runs.has_begun(out):
            raise UserError(
                f"the data changed since the run in {out} began ({reason}): put the old data back,"
                " or give another --out"
            )
        shutil.rmtree(folder, ignore_errors=True)
        with checkpoint.whole_folder(folder) as partial, status.task("indexing the rows"):
            write_index(
                partial,
                data.stream_one(source),
                setting,
                side_of(held_out_ratio, seed),
                _PARTS,
                fields=data.renamed(source),
                limit=source.limit,
                skip_bad=source.skip_bad,
            )

    runs.make_folder(out)
    distributed.join().on_first(make)
    kept, aside = (DiskRows(folder, part) for part in _PARTS)
    data.tell_skipped(source, kept)
    kept.skipped = []  # what reads the rows next would tell it again
    return kept, aside
