"""Errors that are the user's to mend, as against bugs, which stay tracebacks."""

from __future__ import annotations

import difflib
import importlib.util
from collections.abc import Iterable, Mapping

#: What is imported only where it is wanted: its name on the index, and the extra that brings it.
OPTIONAL: Mapping[str, tuple[str, str]] = {
    "PIL": ("pillow", "vision"),
    "bm25s": ("bm25s", "text"),
    "gguf": ("gguf", "code"),
    "jsonschema": ("jsonschema", "trial"),
    "peft": ("peft", "lora"),
    "ray": ("ray", "cluster"),
    "scipy": ("scipy", "trial"),
    "sklearn": ("scikit-learn", "text"),
}


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


def require_packages(*names: str) -> None:
    """Looks whether packages are there, before the work that needs them at its end.

    Args:
        names: by which they are imported; see `OPTIONAL`.

    Raises:
        UserError: some are not installed; it names all of them.
    """
    lacking = [OPTIONAL[name] for name in dict.fromkeys(names) if not _is_installed(name)]
    if lacking:
        packages = " and ".join(package for package, _ in lacking)
        extras = ",".join(dict.fromkeys(extra for _, extra in lacking))
        raise UserError(
            f"{packages} {'is' if len(lacking) == 1 else 'are'} not installed: pip install"
            f" 'pretrial[{extras}]'"
        )


def _is_installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):  # of a module that something has put out of the way
        return False
