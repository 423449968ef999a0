"""Methods are found by folder: `methods/<family>/<slug>.py`, or a package of that name.

A card is read out of the source text and never by import, so that listing all methods costs
milliseconds and no torch. Folders of one's own, laid out like `methods`, join the search through
the environment variable PRETRIAL_METHODS (separated like PATH).
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pretrial.card import Card, Claim, Field
from pretrial.errors import UserError, missing_package, nearest

if TYPE_CHECKING:
    from types import ModuleType

    from pretrial.train.method import Method

#: The variable of the environment that names folders of one's own methods.
OWN = "PRETRIAL_METHODS"
_BUILTIN = Path(__file__).parent / "methods"
_CONSTRUCTORS: dict[str, type] = {"Card": Card, "Claim": Claim, "Field": Field}
# Only the card is parsed: parsing whole files would take longer than all the rest of `list`.
_CARD = re.compile(r"^CARD\b[^=\n]*= (Card\(.*?^\))", re.MULTILINE | re.DOTALL)
# Import names that differ from the name of the package that brings them.
_PACKAGES = {"sklearn": "scikit-learn"}


@dataclass(frozen=True)
class Entry:
    """Where a method is, and its card.

    Attributes:
        family: name of the folder that it lies in.
        path: the module's file.
        module: the name under which the module is imported.
        card: what its file says of it.
    """

    family: str
    path: Path
    module: str
    card: Card


@dataclass(frozen=True)
class Loaded:
    """A method's module, imported.

    Attributes:
        card: what its file says of it.
        method: the Method subclass.
        config: the class of its configuration, a dataclass with `tiny` and `paper`.
        module: the module itself.
    """

    card: Card
    method: type[Method]
    config: Any
    module: ModuleType

    @cached_property
    def trial(self) -> Callable[..., Any] | None:
        """Makes its Trial; None where it has none. It is imported now, and not with the method."""
        return self._on_demand("trial")

    @cached_property
    def demo(self) -> Callable[..., Any] | None:
        """Runs its demonstration; its parameters are options of `pretrial demo`. Else None."""
        return self._on_demand("demo")

    def _on_demand(self, name: str) -> Callable[..., Any] | None:
        """What the method's file, or `trials` in its folder, calls so."""
        if hasattr(self.module, name) or not hasattr(self.module, "__path__"):
            return getattr(self.module, name, None)
        trials = f"{self.module.__name__}.trials"
        try:
            return getattr(importlib.import_module(trials), name, None)
        except ModuleNotFoundError as error:
            if error.name == trials:
                return None
            raise missing(error, self.card.extra) or error from error


def methods() -> dict[str, Entry]:
    """All methods by slug, in the order of families and slugs. Files without a card are helpers."""
    found: dict[str, Entry] = {}
    for root in (_BUILTIN, *_own_folders()):
        files = [path for path in root.glob("*/*.py") if path.name != "__init__.py"]
        for path in sorted([*files, *root.glob("*/*/__init__.py")]):
            slug = path.parent.name if path.name == "__init__.py" else path.stem
            family = path.relative_to(root).parts[0]
            text = path.read_text(encoding="utf-8")
            match = _CARD.search(text)
            if match is None:
                continue
            if slug in found:
                raise UserError(f"two methods are called {slug}: {found[slug].path} and {path}")
            prefix = "pretrial.methods" if root is _BUILTIN else "pretrial_methods"
            found[slug] = Entry(
                family, path, f"{prefix}.{family}.{slug}", _read_card(match.group(1), path)
            )
    return dict(sorted(found.items(), key=lambda item: (item[1].family, item[0])))


def _own_folders() -> list[Path]:
    """The folders that PRETRIAL_METHODS names."""
    own = os.environ.get(OWN, "")
    roots = [Path(text) for text in own.split(os.pathsep) if text]
    for root in roots:
        if not root.is_dir():
            raise UserError(f"{OWN} names {root}, which is not a folder")
    return roots


def find(slug: str) -> Entry:
    """The method of that name.

    Raises:
        UserError: there is none; it names the nearest ones.
    """
    entries = methods()
    if slug not in entries:
        names = (f"*/{slug}.py", f"*/{slug}/__init__.py")
        files = [path for root in _own_folders() for name in names for path in root.glob(name)]
        if files:
            raise UserError(f"{files[0]} has no CARD = Card(...): add it, and the method is found")
        raise UserError(f"there is no method {slug!r}; the nearest: {nearest(slug, entries)}")
    return entries[slug]


def load(slug: str) -> Loaded:
    """Imports the method of that name.

    Raises:
        UserError: there is none, or it needs a package that is not installed.
    """
    entry = find(slug)
    try:
        module = _import(entry)
    except ModuleNotFoundError as error:
        raise missing(error, entry.card.extra) or error from error
    from pretrial.train.method import Method

    classes = [
        value
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, Method)
        and value.__module__.startswith(module.__name__)
    ]
    if len(classes) != 1:
        raise UserError(f"{entry.path} must hold one Method, it holds {len(classes)}")
    return Loaded(
        card=entry.card,
        method=classes[0],
        config=classes[0].Config,
        module=module,
    )


def card_of(method: object) -> Card | None:
    """The card of a method's class, or in the file that it or one beneath it comes from."""
    for kind in type(method).__mro__:
        if isinstance(own := vars(kind).get("CARD"), Card):
            return own
        name = kind.__module__
        while name:
            card = getattr(sys.modules.get(name), "CARD", None)
            if isinstance(card, Card):
                return card
            name = name.rpartition(".")[0]
    return None


def missing(error: ModuleNotFoundError, extra: str = "") -> UserError | None:
    """The error for an optional package that is not installed, or None where it is not optional.

    Args:
        error: what the import raised.
        extra: the extra to name where none of our own is known to bring the package.
    """
    from importlib.metadata import PackageNotFoundError, requires

    name = (error.name or "").split(".")[0]
    if not name:  # raised by hand, by a library that looks for something else
        return None
    package = _PACKAGES.get(name, name).replace("_", "-")
    try:
        needs = requires("pretrial") or []
    except PackageNotFoundError:  # run from a bare source tree
        needs = []
    for need in needs:
        match = re.match(rf"{re.escape(package)}\b(?!-).*extra == ['\"](\w+)['\"]", need)
        if match:
            return missing_package(package, match.group(1))
    if extra and not name.startswith("pretrial"):
        return missing_package(package, extra)
    return None


def _import(entry: Entry) -> ModuleType:
    """Imports by name where the module is ours, else from its file."""
    if entry.path.is_relative_to(_BUILTIN):
        return importlib.import_module(entry.module)
    if entry.module in sys.modules:
        return sys.modules[entry.module]
    package = [str(entry.path.parent)] if entry.path.name == "__init__.py" else None
    spec = importlib.util.spec_from_file_location(
        entry.module, entry.path, submodule_search_locations=package
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[entry.module] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[entry.module]
        raise
    return module


def _read_card(text: str, path: Path) -> Card:
    card = _literal(ast.parse(text, mode="eval").body, path)
    assert isinstance(card, Card)
    return card


def _literal(node: ast.expr, path: Path) -> Any:
    """The value of a literal in which calls of Card, Claim and Field may stand."""
    if isinstance(node, ast.Tuple):
        return tuple(_literal(item, path) for item in node.elts)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        if node.func.id in _CONSTRUCTORS:
            given = [_literal(item, path) for item in node.args]
            named = {str(word.arg): _literal(word.value, path) for word in node.keywords}
            try:
                return _CONSTRUCTORS[node.func.id](*given, **named)
            except TypeError as error:
                text = str(error).replace(".__init__()", "")
                raise UserError(f"{path}: {text}: mend CARD") from None
        raise UserError(f"{path}: CARD may call Card, Claim and Field, not {node.func.id}")
    try:
        return ast.literal_eval(node)
    except ValueError:
        raise UserError(f"{path}: CARD must be a literal, not {ast.unparse(node)}") from None
