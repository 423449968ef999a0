"""`audit`: are problems and their tests fit to learn from?"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pretrial.api import data, runs
from pretrial.cli import options
from pretrial.data.problems.audit import Report, audit
from pretrial.data.problems.audit.findings import CHECKS
from pretrial.data.reading import sources
from pretrial.errors import UserError
from pretrial.sandbox import Limits


@dataclass(frozen=True)
class Auditing:
    """How problems are audited.

    Attributes:
        out: a file for all findings as JSON, with the programs that show them.
        show: findings of each check that are printed; 0 prints none, -1 all.
        mutants: small bugs tried in each problem's reference.
        seconds: for the tests of one reference together.
        seed: draws the mutants.
        workers: programs that run at the same time; 0 is one for each core.
        isolation: level of the sandbox: auto, namespaces, rlimits.
        allow_packages: packages that programs may import beside the standard library.
        fields: where the data names its fields otherwise, pairs such as question=text.
        split: of a data set that has several.
        limit: take that many rows from the beginning; 0 takes all.
    """

    out: Path | None = None
    show: int = 5
    mutants: int = 12
    seconds: float = 10.0
    seed: int = 0
    workers: int = 0
    isolation: str = "auto"
    allow_packages: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()
    split: str = ""
    limit: int = 0


def audit_command(argv: Sequence[str]) -> int:
    """Audits problems; the exit code is 1 where something is wrong."""
    prog = "pretrial audit"
    if argv and argv[0] in ("-h", "--help"):
        options.parse(Auditing, argv, prog=f"{prog} PROBLEMS")
    source, rest = options.first_word(argv, prog, "a file of PROBLEMS")
    given = options.parse(Auditing, rest, prog=f"{prog} {source}")
    if given.mutants < 0 or given.seconds <= 0:
        raise UserError("--mutants must not be negative, and --seconds be positive")
    if given.out is not None:
        runs.make_folder(given.out.parent)  # which would be a pity to fail at the end
    fields = data.renamed(data.Source((source,), fields=given.fields))
    rows = sources.load(source, fields=fields, split=given.split or None, skip_bad=True)
    report = audit(
        rows[: given.limit or None],
        skipped=rows.skipped,
        num_mutants=given.mutants,
        limits=Limits(seconds=given.seconds),
        seed=given.seed,
        progress=_tell if sys.stderr.isatty() else None,
        workers=given.workers or None,
        isolation=given.isolation,
        packages=given.allow_packages,
    )
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    print(_text(report, given.show))
    if given.out is not None:
        text = json.dumps(report.to_dict(), indent=1, ensure_ascii=False) + "\n"
        runs.write_text(given.out, text)
        print(f"{given.out} holds all findings")
    return 1 if report.wrong else 0


def _tell(what: str, done: int, total: int) -> None:
    if done % 50 == 0 or done == total:
        print(f"\r\033[K{what}: {done} of {total}", end="", file=sys.stderr, flush=True)


def _text(report: Report, show: int) -> str:
    tried, killed = (sum(pair[n] for pair in report.mutants.values()) for n in (0, 1))
    share = f" ({killed / tried:.1%})" if tried else ""
    lines = [
        f"{report.num_problems} problems, {report.num_references} with a reference that passes;"
        f" {killed} of {tried} mutants are found{share}; {report.seconds:.1f} s"
    ]
    for check, count in report.counts().items():
        severity, words = CHECKS[check]
        lines.append(f"{severity:5}  {count:5}  {words} [{check}]")
        found = [each for each in report.findings if each.check == check]
        for each in found if show < 0 else found[:show]:
            name = f"{each.problem}: " if each.problem else ""
            lines.append(f"                 {name}{each.message}")
        if 0 < show < count:
            lines.append(f"                 and {count - show} more: --show -1, or --out FILE")
    wrong = len(report.wrong)
    lines.append(f"{wrong} to mend" if wrong else "nothing is wrong")
    return "\n".join(lines)
