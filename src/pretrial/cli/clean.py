"""`clean`: documents in, the good ones out, with an account of what was left out and why."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretrial import status
from pretrial.api import data, runs
from pretrial.cli import config_file, options
from pretrial.data.as_json import as_json_line
from pretrial.data.cleaning.cascade import Cascade, draw
from pretrial.data.cleaning.cascade_stages import Options
from pretrial.data.reading.sources import load
from pretrial.data.rows import Row, leaving_out, require, text_in, texts
from pretrial.errors import UserError
from pretrial.files import whole_file


@dataclass(frozen=True)
class Texts:
    """What is learnt from, and where the result goes.

    Attributes:
        out: a file of JSON lines for the documents that pass; beside it go the account, under its
            name with .report.json at the end, and what repeats the command, with .run.yaml.
        reference: a source of texts as they are wanted; without one, perplexity, quality and topics
            are not looked at.
        harmful: a source of texts as they are not wanted.
        sample: documents of the data, drawn at random, that quality and topics are learnt from.
    """

    out: Path
    reference: str = ""
    harmful: str = ""
    sample: int = 2000


def clean(argv: Sequence[str]) -> None:
    """Sends documents through the cascade of filters."""
    prog = "pretrial clean"
    parts = options.merge(source=data.Source, texts=Texts, options=Options())
    told = "leave out bad documents, from cheap filters to dear ones"
    parsed: Any = options.parse(parts, argv, prog=prog, description=told)
    source, out = parsed.source, parsed.texts.out
    report = out.with_name(out.name + ".report.json")
    if out.exists():
        raise UserError(f"{out} exists already: give --out a file that does not")
    rows = _Usable(data.stream(source), source.skip_bad)
    reference = _texts(parsed.texts.reference)
    cascade = Cascade.of(
        parsed.options,
        reference=reference,
        harmful=_texts(parsed.texts.harmful),
        sample=draw(rows, parsed.texts.sample, parsed.options.seed) if reference else (),
    )
    runs.make_folder(out.parent)
    with whole_file(out) as file:
        for row in status.each(cascade.run(rows), "cleaning, documents that passed"):
            file.write(as_json_line(row) + "\n")
    config_file.leave_beside(out, ["clean"], source, parsed.texts, parsed.options)
    runs.write_text(report, json.dumps(cascade.report(), indent=1, ensure_ascii=False) + "\n")
    data.tell_skipped(source, rows)
    print(cascade.table())
    print(f"{out} holds what passed, {report} the account with examples")


class _Usable:
    """The rows of a stream that have a text, each time one iterates.

    Attributes:
        skipped: why rows were left out in the last iteration.
    """

    def __init__(self, rows: Iterable[Row], skip_bad: bool) -> None:
        self.rows, self.skip_bad = rows, skip_bad
        self.skipped: list[str] = []

    def __iter__(self) -> Iterator[Row]:
        self.skipped = []
        require(self.rows, ("text",))
        for number, row in enumerate(self.rows):
            try:
                text_in({"text": None} | row, number)
            except UserError as error:
                if not self.skip_bad:
                    raise UserError(f"{error}; --skip-bad leaves such rows out") from error
                self.skipped.append(str(error))
            else:
                yield row


def _texts(source: str) -> list[str]:
    """The texts of a source of examples; rows without one are told and left out."""
    if not source:
        return []
    reasons: list[str] = []
    with leaving_out(reasons):
        found = texts(load(source))
    if reasons:
        print(f"left out {len(reasons)} rows of {source}, the first: {reasons[0]}", file=sys.stderr)
    return list(found)
