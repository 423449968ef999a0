"""Errors that are the user's to mend, as against bugs, which stay tracebacks."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Something the user can mend. The message is one sentence that names the mend.

    The command line prints it without a traceback and exits with code 2.
    """


def nearest(word: str, choices: Iterable[str], count: int = 3) -> str:
    """Text that names the choices nearest to `word`, for the end of an error message."""
    choices = sorted(choices)
    close = difflib.get_close_matches(word, choices, n=count, cutoff=0.4)
    return ", ".join(close or choices)


def missing_package(package: str, extra: str) -> UserError:
    """The error for an optional package that is not installed."""
    return UserError(f"{package} is not installed: pip install 'pretrial[{extra}]'")
