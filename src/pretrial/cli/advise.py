"""`pretrial advise`: does training help on my data?"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pretrial.api import data, runs
from pretrial.cli import config_file, options


@dataclass(frozen=True)
class AdviseOptions:
    """What is asked, and within which time.

    Attributes:
        minutes: in all, on all cores of this machine.
        label: field of the label, where it is not called so.
        test: rows to be tested on; by default a quarter is set aside.
        methods: slugs to try, separated by commas; by default those that fit.
        out: folder; what was stopped goes on from there.
        workers: processes at a time; 0 is one a core.
    """

    minutes: float = 10.0
    label: str = ""
    test: str = ""
    methods: str = ""
    out: Path = Path("runs/advise")
    workers: int = 0


def advise(argv: Sequence[str]) -> None:
    """Looks at data, tries what fits it for some minutes, and says what to take."""
    began = time.monotonic()
    made: Any = options.merge(source=data.Source, own=AdviseOptions)
    parsed = options.parse(
        made,
        argv,
        prog="pretrial advise",
        description="Looks at your data and tries what fits it: what needs no training, a public"
        " checkpoint, a few methods; with several numbers of labels. Says what to take.",
    )
    from pretrial.api.advising import course
    from pretrial.api.advising.page import advice_page

    own = parsed.own
    question = course.Question(
        parsed.source,
        own.test,
        own.label,
        own.minutes,
        tuple(slug for slug in own.methods.split(",") if slug),
        own.workers,
    )
    found = course.advise(question, own.out, lambda text: print(text, flush=True), began)
    advice = found.advice()
    path = advice_page(found).write(found.folder / "advice.html")
    repeat = config_file.repeat_of("advise", parsed.source, own)
    runs.write_text(found.folder / runs.REPEAT, repeat)
    made = [f"to make it: {command}" for command in found.commands()]
    print("\n".join(["", advice.headline, *advice.further, *made, f"page {path}"]))
