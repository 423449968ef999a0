"""`check`: holds one method to the contract that all methods keep."""

from __future__ import annotations

from collections.abc import Sequence

from pretrial.check.checks import CHECKS, run_checks
from pretrial.cli import options
from pretrial.errors import UserError


def check(argv: Sequence[str]) -> int:
    """Runs the contract's checks on a method; the exit code is 1 where one fails."""
    slug, rest = options.first_word(argv, "pretrial check", "the slug of a method")
    if rest:
        raise UserError(f"pretrial check takes one slug, not {rest[0]!r} as well")
    failed = run_checks(slug)
    if failed:
        print(f"{failed} of {len(CHECKS)} checks failed: each line says what to mend")
        return 1
    print(f"{slug} keeps the contract: all {len(CHECKS)} checks passed")
    return 0
