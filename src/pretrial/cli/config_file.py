"""`--config FILE`: the options of a command from a file, and the file that would repeat a command.

The file is YAML: `command`, such as `train electra`, and the options by their names on the command
line, without the dashes in front. Under `settings` are those of the method, which a preset that is
given anew replaces. What stands on the command line goes before what the file says.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pretrial.errors import UserError
from pretrial.plain import plain

FLAG = "--config"
#: What sets the defaults of a method's settings; given anew, those in the file no longer count.
_PRESETS = ("preset", "tiny", "small", "paper")


def expanded(words: Sequence[str]) -> list[str]:
    """A command line in which the options of its --config stand instead of it.

    Args:
        words: the command and what follows.

    Raises:
        UserError: there is no such file, it is not of this form, or of another command.
    """
    place = next((i for i, word in enumerate(words) if word.split("=")[0] == FLAG), None)
    if place is None:
        return list(words)
    _, equals, name = words[place].partition("=")
    behind = place + (1 if equals else 2)
    if not equals:
        name = words[place + 1] if place + 1 < len(words) else ""
    if not name or name.startswith("-"):
        raise UserError(f"{FLAG} needs a file, such as the run.yaml of a run")
    command, options = _read(Path(name))
    given = [*words[:place], *words[behind:]]
    if given[: len(command)] != command:
        # the words behind the command may be left out, as the file has them
        before = given[: next((i for i, w in enumerate(given) if w.startswith("-")), len(given))]
        if before != command[: len(before)]:
            raise UserError(
                f"{name} is of pretrial {shlex.join(command)}, not of pretrial {shlex.join(before)}"
            )
        given = [*command, *given[len(before) :]]
    own = given[len(command) :]
    kept = _without(options, own)
    return [*command, *(word for item in kept.items() for word in _words(*item)), *own]


def text_of(
    command: str, options: Mapping[str, Any], settings: Mapping[str, Any] | None = None
) -> str:
    """The file that repeats a command.

    Args:
        command: with the words that follow it, such as a slug.
        options: by their names; those that are empty are left out.
        settings: of the method, where the command trains one.
    """
    import yaml

    place = "--to" if "to" in options else "--out"
    head = f"# the same again: pretrial {command.split()[0]} {FLAG} THIS_FILE {place} OTHER\n"
    kept = {name: value for name, value in plain(options).items() if value not in ("", [], None)}
    found = {"command": command, **kept} | ({"settings": plain(settings)} if settings else {})
    return head + yaml.safe_dump(found, sort_keys=False, allow_unicode=True)


def repeat_of(command: str, *parts: Any) -> str:
    """The file that repeats a command whose options are those of some dataclasses."""
    from pretrial.cli.options import values_of

    return text_of(command, {n: value for part in parts for n, value in values_of(part).items()})


def leave_beside(out: Path, words: Sequence[str], *parts: Any) -> None:
    """Writes the file that repeats a command beside what it made, as OUT.run.yaml.

    Args:
        out: the file or folder that it made.
        words: the command, with the words that follow it.
        parts: dataclasses that hold its options.
    """
    from pretrial.api import runs

    text = repeat_of(shlex.join(words), *parts)
    runs.write_text(out.with_name(f"{out.name}.{runs.REPEAT}"), text)


def _read(path: Path) -> tuple[list[str], dict[str, Any]]:
    """The words of the command, and the options."""
    import yaml

    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}): give the file of a run") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no YAML ({' '.join(str(error).split())}): mend it") from error
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        raise UserError(f"{path} holds no options: write lines such as budget: 10min")
    command = found.pop("command", None)
    if not isinstance(command, str) or not command:
        raise UserError(f"{path} does not say of which command: add a line command: train SLUG")
    settings = found.get("settings") or {}
    if not isinstance(settings, dict):
        raise UserError(f"settings in {path} holds no options: write lines such as lr: 0.001")
    found["settings"] = _spelt(settings)
    return shlex.split(command), _spelt(found)


def _spelt(options: Mapping[Any, Any]) -> dict[str, Any]:
    return {str(name).replace("_", "-"): value for name, value in options.items()}


def _without(options: dict[str, Any], given: Sequence[str]) -> dict[str, Any]:
    """The options of the file that the command line does not give itself."""
    names = {w[2:].split("=")[0].replace("_", "-") for w in given if w.startswith("--")}
    names |= {name.removeprefix("no-") for name in names if name.startswith("no-")}
    if names & set(_PRESETS):
        names |= {*_PRESETS, *options["settings"]}
    flat = {name: value for name, value in options.items() if name != "settings"}
    every = flat | options["settings"]
    return {name: value for name, value in every.items() if name not in names}


def _words(name: str, value: Any) -> list[str]:
    """An option as words of the command line."""
    if isinstance(value, Mapping):
        raise UserError(f"{name} in the file holds further names: write them as {name}.NAME: VALUE")
    from pretrial.cli.options import words_of

    return words_of(name, value)
