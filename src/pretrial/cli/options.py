"""Options of a command: dataclasses and signatures in, parsed values or one clear sentence out."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import io
import itertools
import re
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import tyro

from pretrial.errors import UserError, nearest

T = TypeVar("T")


def parse(cls: type[T], argv: Sequence[str], *, prog: str, description: str = "") -> T:
    """Reads the options that are the fields of a dataclass; `--help` prints them and exits.

    Raises:
        UserError: an option is unknown (it names the nearest), missing or of the wrong type.
    """
    known = set(_names(cls))
    for word in argv:
        option = word.split("=")[0].replace("_", "-")
        if option.startswith("--") and option not in {*known, "--help"}:
            raise UserError(f"{prog} has no option {option}; the nearest: {nearest(option, known)}")
    with _one_sentence(prog):
        return tyro.cli(cls, args=_gathered(cls, argv), prog=prog, description=description)


def peek(cls: type[T], argv: Sequence[str], *, prog: str) -> T:
    """Reads some of the options, which decide what the others are, and passes over the rest."""
    with _one_sentence(prog):
        value, _ = tyro.cli(
            cls, args=_gathered(cls, argv), prog=prog, add_help=False, return_unknown_args=True
        )
        return value


def values_of(value: Any, prefix: str = "") -> dict[str, Any]:
    """The options that a dataclass holds, by their names on the command line without dashes.

    Args:
        value: of a type that `parse` takes.
        prefix: of all names.
    """
    found: dict[str, Any] = {}
    for field in dataclasses.fields(value):
        own, name = getattr(value, field.name), prefix + field.name.replace("_", "-")
        if dataclasses.is_dataclass(own):
            found |= values_of(own, f"{name}.")
        else:
            found[name] = own
    return found


def names(cls: Any) -> list[str]:
    """Spellings of all options of a dataclass, or of an instance of one."""
    return list(_names(cls if isinstance(cls, type) else type(cls)))


def is_given(option: str, argv: Sequence[str]) -> bool:
    """Whether an option stands in the command line."""
    return any(word.split("=")[0].replace("_", "-") == option for word in argv)


def merge(**parts: Any) -> type:
    """One dataclass whose options are those of all the parts, side by side.

    Args:
        **parts: a dataclass, or an instance of one, whose values are then the defaults.
    """
    fields: list[Any] = []
    for name, part in parts.items():
        kind = part if isinstance(part, type) else type(part)
        default = dataclasses.field() if kind is part else dataclasses.field(default=part)
        fields.append((name, typing.Annotated[kind, tyro.conf.arg(name="")], default))
    return dataclasses.make_dataclass("Options", fields, frozen=True, kw_only=True)


def from_signature(function: Callable[..., Any], name: str) -> type:
    """A dataclass of a function's keyword-only parameters, documented by its `Args:` section."""
    # what it returns is no option, and may be imported for the type checker alone
    given = {name: hint for name, hint in function.__annotations__.items() if name != "return"}
    only = types.SimpleNamespace(__annotations__=given)
    hints = typing.get_type_hints(only, inspect.unwrap(function).__globals__)
    fields: list[Any] = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind is not parameter.KEYWORD_ONLY:
            continue
        default: Any = (
            dataclasses.field()
            if parameter.default is parameter.empty
            else dataclasses.field(default=parameter.default)
        )
        fields.append((parameter.name, hints.get(parameter.name, str), default))
    made = dataclasses.make_dataclass(name, fields, frozen=True, kw_only=True)
    made.__doc__ = inspect.getdoc(function) or ""
    return made


def words_of(name: str, value: Any) -> list[str]:
    """An option with its value as words of the command line.

    Args:
        name: of the option, without dashes before it; "_" may stand for "-".
        value: a truth value, several values, or one.
    """
    option = name.replace("_", "-")
    if isinstance(value, bool):
        return [f"--{option}" if value else f"--no-{option}"]
    if isinstance(value, list | tuple):
        return [f"--{option}", *map(str, value)]
    return [f"--{option}={value}"]


def first_word(argv: Sequence[str], prog: str, what: str) -> tuple[str, list[str]]:
    """Takes the word that a command begins with, such as a slug or the folder of a run.

    Raises:
        UserError: there is none.
    """
    if not argv or argv[0].startswith("-"):
        raise UserError(f"{prog} needs {what}: {prog} {what.split()[-1].upper()} [options]")
    return argv[0], list(argv[1:])


def _names(cls: Any) -> Iterator[str]:
    """Spellings of all options of a dataclass."""
    for option, kind in _options(cls):
        yield option
        if kind is bool:
            parent, _, name = option.removeprefix("--").rpartition(".")
            yield f"--{parent}{parent and '.'}no-{name}"


def _options(cls: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """All options of a dataclass with their types, nested ones as --outer.inner."""
    hints = typing.get_type_hints(cls, include_extras=True)
    for field in dataclasses.fields(cls):
        hint = hints[field.name]
        merged = typing.get_origin(hint) is typing.Annotated
        kind = typing.get_args(hint)[0] if merged else hint
        name = field.name.replace("_", "-")
        if dataclasses.is_dataclass(kind):
            yield from _options(kind, prefix if merged else f"{prefix}{name}.")
        else:
            yield f"--{prefix}{name}", kind


def _gathered(cls: Any, argv: Sequence[str]) -> list[str]:
    """The words, in which an option of several values stands once, however often it was given."""
    several = {option for option, kind in _options(cls) if typing.get_origin(kind) is tuple}
    rest: list[str] = []
    values: dict[str, list[str]] = {}
    into = rest
    for word in argv:
        option, equals, value = word.partition("=")
        if word.startswith("--"):
            name = option.replace("_", "-")
            into = values.setdefault(name, []) if name in several else rest
            if name in several:
                into += [value] if equals else []
                continue
        into.append(word)
    return rest + [word for name, given in values.items() for word in (name, *given)]


@contextlib.contextmanager
def _one_sentence(prog: str) -> Iterator[None]:
    """Turns tyro's complaint, a box on stderr and an exit, into a UserError."""
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            yield
    except SystemExit as exit_:
        if not exit_.code:
            raise
        sentence = _sentence(complaint.getvalue()).replace(f"Missing from {prog}:", "missing")
        raise UserError(f"{prog}: {sentence}") from None


def _sentence(box: str) -> str:
    """The text of tyro's error box: between its title and its first rule, on one line."""
    lines = [line.strip("│ ") for line in re.sub(r"\x1b\[[\d;]*m", "", box).splitlines()[1:]]
    return " ".join(itertools.takewhile(lambda line: line[:1] not in "─╰", lines))
