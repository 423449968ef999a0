"""The code that a job runs, as a digest: another code may give other numbers."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from pretrial import discover

_PACKAGE = Path(__file__).parents[1]
# What every job runs, beside what its method imports.
_WORKER = _PACKAGE / "compare" / "worker.py"
_IMPORT = re.compile(
    r"^\s*(?:from\s+(pretrial[\w.]*)\s+import\s+(\([^)]*\)|[^\n#]+)|import\s+(pretrial[\w.]*))",
    re.MULTILINE,
)
# What is imported for the type checker alone is not run.
_FOR_TYPES = re.compile(r"^if TYPE_CHECKING:\n(?:[ \t]+.*\n|\n)+", re.MULTILINE)


@cache
def code_digest(slugs: tuple[str, ...]) -> str:
    """A digest of the files of this package that the methods import, directly or through others.

    Files are looked through and not imported. What other packages hold is left to their versions.

    Args:
        slugs: of the methods.
    """
    left = [_WORKER]
    for slug in slugs:
        path = discover.find(slug).path
        left += path.parent.rglob("*.py") if path.name == "__init__.py" else [path]
    seen: dict[Path, str] = {}
    while left:
        path = left.pop()
        if path not in seen:
            seen[path] = path.read_text(encoding="utf-8")
            left += _imported(seen[path])
    digest = hashlib.blake2b(digest_size=8)
    for path in sorted(seen):
        digest.update(f"{path.name}\0{seen[path]}\0".encode())
    return digest.hexdigest()


def _imported(text: str) -> Iterator[Path]:
    """Files of the modules, and of the packages around them, that a file imports."""
    for match in _IMPORT.finditer(_FOR_TYPES.sub("", text)):
        module, names, plain = match.groups()
        for name in re.findall(r"\w+", re.sub(r"\bas\s+\w+", "", names or "")) or [""]:
            parts = (module or plain).split(".")[1:]
            for count in range(len(parts) + 1):
                yield from _files(parts[:count])
            yield from _files([*parts, name])


def _files(parts: list[str]) -> Iterator[Path]:
    place = _PACKAGE.joinpath(*parts)
    for path in (place / "__init__.py", place.with_suffix(".py")):
        if path.is_file():
            yield path
