"""The files of installed packages as a corpus of code: real repositories on every machine.

A package's files are those that its installer recorded. They are as they come: tests, generated
tables, vendored copies and near duplicates are among them on purpose, since telling such files from
good ones is what methods that choose their data are about. Which packages there are, and in which
version, depends on the machine, and so do figures measured with them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path, PurePath
from typing import Any

from pretrial.errors import UserError, nearest

Row = dict[str, Any]

#: Languages by the suffix of a file's name.
LANGUAGES = {
    ".py": "python",
    ".pyx": "cython",
    ".pxd": "cython",
    ".pxi": "cython",
    ".c": "c",
    ".h": "c",
    ".cc": "cpp",
    ".cpp": "cpp",
    ".cxx": "cpp",
    ".hpp": "cpp",
    ".cu": "cuda",
    ".cuh": "cuda",
    ".cs": "c_sharp",
    ".go": "go",
    ".java": "java",
    ".js": "javascript",
    ".mjs": "javascript",
    ".php": "php",
    ".rb": "ruby",
    ".rs": "rust",
    ".sh": "shell",
    ".ts": "typescript",
    ".cmake": "cmake",
}
_TEST_FOLDERS = {"test", "tests", "testing"}
_TEST_NAME = re.compile(r"test_.*|.*_test|conftest")


def installed_code(
    packages: Iterable[str] = (),
    *,
    languages: Iterable[str] = (),
    tests: bool = True,
    max_bytes: int = 0,
) -> Iterator[Row]:
    """The files of installed packages, read while one iterates, by package and then by path.

    Each row holds `text`, `path` (below the folder of packages), `repo` (the package) and
    `language`. Empty files are left out; bytes that are not UTF-8 become the replacement character.

    Args:
        packages: names, as pip lists them; none takes all but those under development.
        languages: to keep, of `LANGUAGES`; none keeps all.
        tests: whether to keep tests.
        max_bytes: leave out larger files; 0 keeps all.

    Raises:
        UserError: a package that is not installed, or an unknown language.
    """
    found = _installed()
    chosen = [_normal(name) for name in packages] or list(found)
    for name in chosen:
        if name not in found:
            raise UserError(
                f"the package {name!r} is not installed (nearest: {nearest(name, found)}):"
                f" pip install {name}, or name another"
            )
    wanted = set(languages) or set(LANGUAGES.values())
    for language in wanted.difference(LANGUAGES.values()):
        raise UserError(
            f"there is no language {language!r}; nearest: {nearest(language, LANGUAGES.values())}"
        )
    return _rows({name: found[name] for name in sorted(set(chosen))}, wanted, tests, max_bytes)


def _rows(
    found: dict[str, metadata.Distribution], languages: set[str], tests: bool, max_bytes: int
) -> Iterator[Row]:
    for repo, distribution in found.items():
        for path in sorted({file.as_posix() for file in distribution.files or ()}):
            language = LANGUAGES.get(PurePath(path).suffix)
            if language not in languages or path.startswith("..") or (not tests and is_test(path)):
                continue
            file = Path(str(distribution.locate_file(path)))
            if not file.is_file() or (max_bytes and file.stat().st_size > max_bytes):
                continue
            text = file.read_text(encoding="utf-8", errors="replace")
            if text.strip():
                yield {"text": text, "path": path, "repo": repo, "language": language}


def is_test(path: str) -> bool:
    """Whether a path names a test: by its folder or by its file."""
    pure = PurePath(path)
    return bool(_TEST_FOLDERS.intersection(pure.parts[:-1]) or _TEST_NAME.fullmatch(pure.stem))


def _installed() -> dict[str, metadata.Distribution]:
    """Packages by name in alphabetical order, without those installed from a folder of source."""
    found: dict[str, metadata.Distribution] = {}
    for distribution in metadata.distributions():
        local = '"dir_info"' in (distribution.read_text("direct_url.json") or "")
        if not local and distribution.files:
            found.setdefault(_normal(distribution.name), distribution)
    return dict(sorted(found.items()))


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name.strip()).lower()
