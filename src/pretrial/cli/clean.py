"""`clean`: documents in, the good ones out, with an account of what was left out and why."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretrial.cli import data, options, runs
from pretrial.data.cleaning.cascade import Cascade, draw
from pretrial.data.cleaning.cascade_stages import Options
from pretrial.data.reading.sources import load
from pretrial.errors import UserError
from pretrial.files import whole_file


@dataclass(frozen=True)
class Texts:
    """What is learnt from, and where the result goes.

    Attributes:
        out: a file of JSON lines for the documents that pass; the account goes beside it, under its
            name with .report.json at the end.
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
    source, texts = parsed.source, parsed.texts
    report = texts.out.with_name(texts.out.name + ".report.json")
    if texts.out.exists():
        raise UserError(f"{texts.out} exists already: give --out a file that does not")
    rows = data.stream(source)
    reference = _texts(texts.reference)
    cascade = Cascade.of(
        parsed.options,
        reference=reference,
        harmful=_texts(texts.harmful),
        sample=draw(rows, texts.sample, parsed.options.seed) if reference else (),
    )
    runs.make_folder(texts.out.parent)
    with whole_file(texts.out) as file:
        for row in cascade.run(rows):
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    runs.write_text(report, json.dumps(cascade.report(), indent=1, ensure_ascii=False) + "\n")
    print(cascade.table())
    print(f"{texts.out} holds what passed, {report} the account with examples")


def _texts(source: str) -> list[str]:
    return [row["text"] for row in load(source, streaming=True)] if source else []
