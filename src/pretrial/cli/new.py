"""`new`: a method of one's own to begin with, which trains at once."""

from __future__ import annotations

import keyword
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pretrial import discover
from pretrial.api import runs
from pretrial.cli import options
from pretrial.errors import UserError

_TEMPLATES = Path(discover.__file__).parent / "templates"
#: For each template its slug, its class, and data to try it on.
_KINDS = {
    "text": ("masked_text", "MaskedText", "builtin:stdlib-docstrings"),
    "vision": ("masked_image", "MaskedImage", "builtin:digits"),
}
_OF_IMAGES = ("vision", "video", "multimodal", "generation")
_SHARED = ("conftest.py", "test_contract.py")
_METHODS, _TESTS = Path("src/pretrial/methods"), Path("tests/methods")
_TOLD = """\
wrote
{files}
try
{export}\
  pretrial check {slug}
  pretrial train {slug} --data {data} --tiny --budget 100steps
  pretrial trial {slug} --tiny
  pytest {test}
then make it yours: docs/contributing.md goes through it"""


@dataclass(frozen=True)
class NewOptions:
    """What is written, and where.

    Attributes:
        name: of the class, as the paper spells it; without one it is made of the slug.
        template: "text" hides tokens of texts, "vision" patches of images; without one the family
            decides.
        into: a folder of your own methods; without one the first that PRETRIAL_METHODS names, and
            where it names none, my_methods.
        here: make it a part of the project instead; to be run in the root of its repository.
    """

    name: str = ""
    template: Literal["", "text", "vision"] = ""
    into: Path | None = None
    here: bool = False


def new(argv: Sequence[str]) -> None:
    """Writes a method, its trial and its test, and says what to do next."""
    words = [word for word in argv[:2] if not word.startswith("-")]
    if len(words) < 2 and "--help" not in argv:
        raise UserError("pretrial new needs a family and a slug: pretrial new text my_idea")
    told = "write a method of your own, which trains at once, with its trial and its test"
    parsed: Any = options.parse(NewOptions, argv[2:], prog="pretrial new", description=told)
    family, slug = words
    named = [Path(text) for text in os.environ.get(discover.OWN, "").split(os.pathsep) if text]
    into = parsed.into or (named or [Path("my_methods")])[0]
    if not parsed.here:
        runs.make_folder(into)
    _check_names(family, slug, parsed.name)
    template = parsed.template or ("vision" if family in _OF_IMAGES else "text")
    files = _files(family, slug, template, parsed, into)
    for path in files:
        if path.exists() and path.name not in _SHARED:
            raise UserError(f"{path} exists already: give another slug, or take it away")
    for path, text in files.items():
        if not path.exists():
            runs.make_folder(path.parent)
            runs.write_text(path, text)
    export = "" if parsed.here or into in named else f"  export {discover.OWN}={into}\n"
    test = list(files)[2] if parsed.here else into
    listed = "\n".join(f"  {path}" for path in files)
    print(_TOLD.format(files=listed, export=export, slug=slug, data=_KINDS[template][2], test=test))


def _check_names(family: str, slug: str, name: str) -> None:
    """Makes sure that files and classes can be called so.

    Raises:
        UserError: they cannot, or a method has that slug.
    """
    for word in (family, slug):
        if not re.fullmatch(r"[a-z][a-z0-9_]*", word) or keyword.iskeyword(word):
            raise UserError(f"{word!r} cannot name a file: give lower-case letters, digits and _")
    if name and (not name.isidentifier() or keyword.iskeyword(name)):
        raise UserError(f"--name {name} cannot name a class: give letters and digits")
    if slug in discover.methods():
        raise UserError(f"there is a method {slug!r} already: give another slug")


def _files(family: str, slug: str, template: str, given: NewOptions, into: Path) -> dict[Path, str]:
    """What is written, by path."""
    old, old_class, _ = _KINDS[template]
    name = given.name or "".join(part.capitalize() for part in slug.split("_"))
    if given.here:
        if not _METHODS.is_dir() or not _TESTS.is_dir():
            raise UserError(f"--here finds no {_METHODS} in this folder: run it in the repository")
        methods, tests = _METHODS, _TESTS / family
    else:
        methods, tests = into, into / "tests"
    pairs = {
        methods / family / slug / "__init__.py": f"{template}/{old}/__init__.py",
        methods / family / slug / "trials.py": f"{template}/{old}/trials.py",
        tests / f"test_{slug}.py": f"tests/test_{old}.py",
    }
    if not given.here:
        pairs |= {tests / file: f"tests/{file}" for file in _SHARED}
    if given.here and not (methods / family).is_dir():
        pairs[methods / family / "__init__.py"] = ""
    texts = {to: (_TEMPLATES / found).read_text() if found else "" for to, found in pairs.items()}
    return {to: text.replace(old, slug).replace(old_class, name) for to, text in texts.items()}
