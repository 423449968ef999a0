"""Rows that cannot be read: they raise, or are left out and noted."""

from __future__ import annotations

from pretrial.errors import UserError

#: Where the reasons are noted; None raises at the first.
Skipped = list[str] | None


def bad(reason: str, skipped: Skipped, mend: str) -> None:
    """Says or notes that a row cannot be read.

    Raises:
        UserError: there is nowhere to note it.
    """
    if skipped is None:
        raise UserError(f"{reason}: {mend}, or leave bad rows out with --skip-bad")
    skipped.append(reason)
