"""Any model that commands take: the folder of a run, or a plain checkpoint."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretrial import discover
from pretrial.api import runs
from pretrial.card import Card
from pretrial.errors import UserError, nearest
from pretrial.train.method import Method


@dataclass(frozen=True)
class Opened:
    """A model that has been found and not yet loaded.

    Attributes:
        source: as it was named.
        card: what it is and can do.
        kind: the class that it will be of.
        record: of the run; None of a plain checkpoint.
        make: loads it.
    """

    source: str
    card: Card
    kind: type[Method]
    record: runs.Record | None
    make: Callable[[], Method]

    def load(self) -> Method:
        """The model with its weights, in eval mode.

        Raises:
            UserError: the run is not finished, or weights are missing.
        """
        return self.make().eval()


def open_model(source: str | Path) -> Opened:
    """The model in the folder of a run or of a trial's job, or of a plain checkpoint by its name.

    Raises:
        UserError: it is neither.
    """
    folder = Path(source)
    if (folder / "job.json").is_file():  # of a trial, which becomes a run
        from pretrial.api import trials

        folder = trials.run_of(folder)
    if (folder / runs.NAME).is_file():
        return _run(folder)
    if folder.is_dir() and not any(folder.glob("*.json")):
        from pretrial.bases.plain.kinds import ACCEPTED

        raise UserError(
            f"{source} holds no run (no {runs.NAME}) and no checkpoint (no config.json): give"
            f" {ACCEPTED}"
        )
    if folder.parent.is_dir() and folder.parent != Path() and not folder.exists():
        there = [each.name for each in folder.parent.iterdir()]
        raise UserError(
            f"there is no {folder.name} in {folder.parent}; nearest there:"
            f" {nearest(folder.name, there) or 'nothing'}"
        )
    return _checkpoint(source)


def _run(folder: Path) -> Opened:
    record = runs.Record.read(folder)
    if record.slug == runs.FINETUNED:
        from pretrial.bases.plain.finetuned import CARD, Finetuned

        return Opened(
            str(folder), CARD, Finetuned, record, lambda: _load(Finetuned, record, folder)
        )
    loaded = discover.load(record.slug)
    return Opened(
        str(folder),
        loaded.card,
        loaded.method,
        record,
        lambda: _load(loaded.method, record, folder),
    )


def _load(kind: type[Method], record: runs.Record, folder: Path) -> Method:
    return runs.load_method(kind, record, folder)


def _checkpoint(source: str | Path) -> Opened:
    from pretrial.bases.plain import media, texts
    from pretrial.bases.plain.kinds import look_at

    found = look_at(source)
    kind: Any
    if found.kind in ("classify", "regress", "tag"):
        from pretrial.bases.plain.config import FinetuneConfig
        from pretrial.bases.plain.finetuned import CARD, Finetuned

        config: Any = FinetuneConfig(task=found.kind, modality=found.modality, max_length=512)
        return Opened(
            found.source, CARD, Finetuned, None, lambda: Finetuned.build(config, found.place)
        )
    if found.modality == "image":
        kind = media.ImageEncoder
    elif found.modality == "audio":
        kind = media.SoundEncoder
    else:
        kind = {
            "encoder": texts.PlainEncoder,
            "decoder": texts.PlainDecoder,
            "text_to_text": texts.PlainTextToText,
        }[found.kind]
    return Opened(
        found.source, kind.CARD, kind, None, lambda: kind.build(kind.Config(), found.place)
    )
