"""`pretrial report`: the page of a run, or the pages of all trials. It does without torch."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pretrial.cli import options
from pretrial.errors import UserError
from pretrial.files import write_whole

_LONGEST_STILL = 30.0  # seconds after which a page is written anew though nothing was logged


@dataclass(frozen=True)
class ReportOptions:
    """What is rendered, and where to.

    Attributes:
        results: folder of the records.
        out: folder for the pages: one a record, and index.html over all methods.
        readme: file whose table between the markers is rendered anew.
        check: write nothing; say what is stale, if anything is.
    """

    results: Path = Path("results")
    out: Path = Path("results/pages")
    readme: Path | None = None
    check: bool = False


@dataclass(frozen=True)
class WatchOptions:
    """How the page of a run is written.

    Attributes:
        watch: write it anew while the run trains, and until it ends.
        every: seconds between two looks.
    """

    watch: bool = False
    every: float = 5.0


def report(argv: Sequence[str]) -> None:
    """Renders the page of the run that the first word names, or without one those of all trials."""
    if argv and not argv[0].startswith("-"):
        _run_report(Path(argv[0]), argv[1:])
    else:
        _trials_report(argv)


def _run_report(folder: Path, argv: Sequence[str]) -> None:
    from pretrial.compare.report.run_page import write_run_page

    parsed = options.parse(WatchOptions, argv, prog=f"pretrial report {folder}")
    if parsed.every <= 0:
        raise UserError("--every is a number of seconds, such as 5")
    if not parsed.watch:
        print(f"wrote {write_run_page(folder)}")
        return
    if not (folder / "run.json").exists():
        print(f"waits until a run begins in {folder}", flush=True)
        while not (folder / "run.json").exists():
            time.sleep(parsed.every)
    page = write_run_page(folder, renewed=parsed.every)
    print(f"open {page.absolute().as_uri()}: it is renewed until the run ends", flush=True)
    try:
        _watch(folder, parsed.every)
    finally:
        write_run_page(folder)  # one that stands still


def _watch(folder: Path, every: float) -> None:
    """Writes the page as often as something new is logged, as long as the run trains."""
    from pretrial.compare.report.run_folder import state_of
    from pretrial.compare.report.run_page import write_run_page

    log, seen, written = folder / "metrics.jsonl", -1, 0.0
    while state_of(folder) == "training":
        size = log.stat().st_size if log.exists() else 0
        if size != seen or time.monotonic() - written > _LONGEST_STILL:
            write_run_page(folder, renewed=every)
            seen, written = size, time.monotonic()
        time.sleep(every)


def _trials_report(argv: Sequence[str]) -> None:
    """Renders the page of each record, the gallery over all methods, and the README's table."""
    from pretrial.compare.report import site

    parsed = options.parse(ReportOptions, argv, prog="pretrial report")
    files = site.render(parsed.results, parsed.out, parsed.readme)
    if not parsed.check:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, text)
        print(f"wrote {len(files)} files; open {parsed.out / 'index.html'}")
        return
    stale = [
        str(path)
        for path, text in files.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    if stale:
        raise UserError(f"stale: {', '.join(stale)}; run `pretrial report` without --check")
