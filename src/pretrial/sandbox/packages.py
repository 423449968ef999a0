"""Which packages programs may import: a list, with what belongs to each of them on this machine."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from importlib import metadata
from typing import Any

from pretrial.errors import UserError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True)
class Packages:
    """Packages that programs may import.

    Attributes:
        imports: those that were asked for, by the names of their modules.
        names: all modules that may be imported, those that they require included.
        paths: files and folders that they consist of.
        folders: where these are installed.
    """

    imports: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()

    def to_row(self) -> dict[str, Any]:
        """A form that JSON can hold."""
        return {name: list(value) for name, value in asdict(self).items()}


def names_of(packages: Sequence[str]) -> tuple[str, ...]:
    """Names of packages; one of them may be given as a text."""
    return (packages,) if isinstance(packages, str) else tuple(packages)


@lru_cache(maxsize=64)
def find_packages(wanted: tuple[str, ...]) -> Packages:
    """Packages and all that they require.

    Args:
        wanted: names of modules, such as "numpy", or of what is installed, such as "scikit-learn".

    Raises:
        UserError: one of them is not installed, or is no name of a package.
    """
    imports: dict[str, None] = {}
    modules: dict[str, None] = {}
    paths: dict[str, None] = {}
    folders: dict[str, None] = {}
    for name in wanted:
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise UserError(f"packages are given by name, such as numpy, not {name!r:.40}")
        if name in sys.stdlib_module_names:
            continue
        found = _distribution(name)
        own = [] if found is None else [m for part in _parts(found) if (m := _module(part))]
        if not own:  # it lies on the search path, without or beside what is installed
            path = _loose(name)
            own = [name]
            modules[name] = paths[path] = folders[os.path.dirname(path)] = None
        imports |= dict.fromkeys([name] if name in own else own)
        for each in _with_requirements(found) if found else ():
            folder = os.path.abspath(str(each.locate_file("")))
            for part in _parts(each):
                paths[os.path.join(folder, part)] = folders[folder] = None
                if module := _module(part):
                    modules[module] = None
    return Packages(*map(tuple, (imports, modules, paths, folders)))


def missing(name: str) -> bool:
    """Whether a module is not installed on this machine."""
    try:
        return importlib.util.find_spec(name) is None
    except (ImportError, ValueError):
        return True


def _distribution(name: str) -> metadata.Distribution | None:
    """What is installed under a name, or holds a module of that name."""
    try:
        return metadata.distribution(name)
    except metadata.PackageNotFoundError:
        holders = metadata.packages_distributions().get(name, ())
        return metadata.distribution(holders[0]) if holders else None


def _loose(name: str) -> str:
    """The file or folder of a module that was not installed but lies on the search path."""
    spec = None if missing(name) or "." in name else importlib.util.find_spec(name)
    if spec is None:
        raise UserError(
            f"programs cannot be allowed the package {name!r}, which is not installed here: pip"
            f" install {name}, or leave it out"
        )
    places = spec.submodule_search_locations
    path = next(iter(places)) if places else spec.origin
    assert path is not None
    return os.path.abspath(path)


def _with_requirements(first: metadata.Distribution) -> Iterator[metadata.Distribution]:
    """A distribution and those that it requires, without its extras, as far as they are there."""
    todo, seen = [first], {first.metadata["Name"]}
    while todo:
        each = todo.pop()
        yield each
        for line in each.requires or ():
            name = re.match(r"[\w.-]+", line)
            if name is None or "extra ==" in line.replace("extra==", "extra =="):
                continue
            try:
                further = metadata.distribution(name[0])
            except metadata.PackageNotFoundError:
                continue
            if further.metadata["Name"] not in seen:
                seen.add(further.metadata["Name"])
                todo.append(further)


def _parts(found: metadata.Distribution) -> Sequence[str]:
    """The files and folders beside each other that a distribution consists of."""
    first = {path.parts[0] for path in found.files or ()}
    folder = str(found.locate_file(""))
    return sorted(
        part
        for part in first - {"..", "__pycache__", "/"}
        if not part.endswith(".pth") and os.path.exists(os.path.join(folder, part))
    )


def _module(part: str) -> str:
    """The module that a file or folder is; "" if it is none, such as a folder of libraries."""
    name = part.split(".")[0]
    file = part.endswith((".py", ".so", ".pyd"))
    return name if name.isidentifier() and (file or "." not in part) else ""


NO_PACKAGES = Packages()
