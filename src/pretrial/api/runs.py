"""The record of a run, `run.json`: what was trained, from what, with what, by which version."""

from __future__ import annotations

import dataclasses
import json
import os
import types
import typing
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pretrial import status
from pretrial.errors import UserError
from pretrial.files import disk_explained, write_whole
from pretrial.plain import flat, option_value
from pretrial.train.budget import Budget
from pretrial.train.extension import is_done

if TYPE_CHECKING:
    from pretrial.train.method import Method
    from pretrial.train.run import Run

NAME = "run.json"
MODEL = "model"
ADAPTER = "adapter"
SPENT = "spent.json"
#: The slug of a run that fine-tuned something, which is no method of its own.
FINETUNED = "finetuned"
REPEAT = "run.yaml"


@dataclass(frozen=True)
class Record:
    """What `run.json` holds.

    Attributes:
        slug: the method.
        config: its Config, as JSON.
        arguments: the other options that decide what is learnt, by name.
        num_examples: examples trained on.
        num_held_out: examples held out.
        environment: versions of the packages beneath, and the machine.
        commit: of this project's checkout, "" where it is installed without one.
        init_dtype: type of the weights in the checkpoint that it started from; "" without one.
        defaults: what config and arguments are where nothing is given, so that pages can tell what
            was; empty in runs of before.
        preset: that gave the config its defaults, "paper NAME" for a published one; runs of earlier
            versions have "", which was "base" or not noted.
        extensions: budgets that the run was extended by, in their order.
    """

    slug: str
    config: dict[str, Any]
    arguments: dict[str, Any]
    num_examples: int
    num_held_out: int
    environment: dict[str, str | int]
    commit: str
    init_dtype: str = ""
    defaults: dict[str, Any] = dataclasses.field(default_factory=dict)
    preset: str = ""
    extensions: list[str] = dataclasses.field(default_factory=list)

    def difference(self, older: Record) -> tuple[str, Any, Any] | None:
        """The first option that an older run was given otherwise: its name, the older value, ours.

        None where this command asks for the older run.
        """
        if older.slug != self.slug:
            return "slug", older.slug, self.slug
        before = {**older.arguments, **flat(older.config)}
        now = {**self.arguments, **flat(self.config)}
        for name in sorted(before.keys() | now.keys()):
            if before.get(name) != now.get(name):
                return name, before.get(name), now.get(name)
        return None

    def check_options(self, older: Record, folder: Path) -> None:
        """Makes sure that this command asks for the run that `folder` holds.

        Raises:
            UserError: it does not; the message names the first option that differs.
        """
        found = self.difference(older)
        if found is None:
            return
        name, before, now = found
        if name == "slug":
            raise UserError(f"{folder} holds a run of {before}, not of {now}: give another --out")
        option = "--" + name.replace("_", "-")
        raise UserError(
            f"{folder} holds a run with {option} {option_value(before)}, not {option_value(now)}:"
            " give the old value, another --out, or --overwrite"
        )

    def check_data(self, older: Record, folder: Path) -> None:
        """Makes sure that the data is as large as when the run in `folder` began.

        Raises:
            UserError: it is not.
        """
        for name in ("num_examples", "num_held_out"):
            if getattr(older, name) != getattr(self, name):
                raise UserError(
                    f"the data changed: the run in {folder} began with {getattr(older, name)}"
                    f" as {name}, now there are {getattr(self, name)}: give another --out"
                )

    def extended(self, budget: str, folder: Path) -> Record:
        """The record of the finished run in a folder, with one more extension.

        An extension that was stopped is gone on with, where the same one is asked for.

        Raises:
            UserError: the run, or another extension of it, is not finished.
        """
        wanted = Budget.parse(budget)
        if not is_finished(folder):
            raise UserError(
                f"the run in {folder} is not finished, so there is nothing to extend: run the same"
                " command without --extend first"
            )
        if self.extensions and not is_done(folder, len(self.extensions)):
            if Budget.parse(self.extensions[-1]) != wanted:
                raise UserError(
                    f"the run in {folder} is being extended by {self.extensions[-1]}: finish that"
                    f" first, with --extend {self.extensions[-1]}"
                )
            return self
        return dataclasses.replace(self, extensions=[*self.extensions, budget])

    def write(self, folder: Path) -> None:
        """Writes `run.json`, all or nothing."""
        write_text(folder / NAME, json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Record:
        """Reads `run.json`.

        Raises:
            UserError: the folder holds no run, or its record is damaged.
        """
        path = folder / NAME
        if not path.is_file():
            raise UserError(f"{folder} holds no run (no {NAME}): give what train --out named")
        try:
            found = cls(**json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError, RecursionError) as error:
            raise UserError(
                f"{path} is no record of a run ({error}): write it as it was, or train anew"
            ) from error
        for field, kind in (("slug", str), ("config", dict), ("arguments", dict)):
            if not isinstance(getattr(found, field), kind):
                raise UserError(
                    f"{path} is no record of a run ({field} is no {kind.__name__}): write it as it"
                    " was, or train anew"
                )
        return found


def has_begun(folder: Path) -> bool:
    """Whether a run has left anything to go on from; a mistake at the start leaves nothing."""
    made = any(folder.glob("stages/*/*")) or any(folder.glob("artefacts/*"))
    return made and (folder / NAME).is_file()


def is_finished(folder: Path) -> bool:
    """Whether the run in a folder has left its model."""
    return (folder / MODEL).is_dir()


def numbered(base: Path) -> list[Path]:
    """The folders BASE, BASE-2, BASE-3, ... that hold a run which has begun, in that order."""
    found = {1: base} if has_begun(base) else {}
    for folder in base.parent.glob(f"{base.name}-*"):
        number = folder.name.removeprefix(f"{base.name}-")
        if number.isdecimal() and has_begun(folder):
            found[int(number)] = folder
    return [found[number] for number in sorted(found)]


def next_folder(base: Path) -> Path:
    """The folder behind the last of `numbered`: BASE where there is none."""
    taken = numbered(base)
    if not taken:
        return base
    last = taken[-1].name.removeprefix(f"{base.name}-")
    return base.with_name(f"{base.name}-{int(last) + 1 if last.isdecimal() else 2}")


def folder_for(base: Path, asks_for: Callable[[Record], bool]) -> tuple[Path, str]:
    """Where a run goes whose folder was not named, and what to tell of it.

    Args:
        base: the folder of the first such run; others stand beside it, see `numbered`.
        asks_for: whether the record of a run is that of the command.

    Returns:
        The folder of an unfinished or finished run of this very command, or a free one; and a
        sentence, "" where there is nothing to tell.
    """
    same = [folder for folder in numbered(base) if asks_for(Record.read(folder))]
    unfinished = [folder for folder in same if not is_finished(folder)]
    if unfinished:
        return unfinished[0], f"{unfinished[0]} holds this run, which was stopped: it goes on"
    if same:
        told = f"{same[0]} holds this run already; give --out FOLDER to train it once more"
        return same[0], told
    free = next_folder(base)
    return free, f"{base} holds another run: this one goes into {free}" if free != base else ""


def load_method(kind: type[Method], record: Record, folder: Path) -> Method:
    """The method with the weights that a run trained, in eval mode.

    Args:
        kind: its class.
        record: of the run.
        folder: of the run.

    Raises:
        UserError: the run is not finished.
    """
    if not is_finished(folder):
        raise UserError(f"the run in {folder} is not finished: run its command again")
    config = read_config(kind.Config, record.config)
    with status.task(f"loading the model of {folder}"):
        return kind.build(config, source=folder / MODEL).eval()


def last_evaluation(folder: Path) -> dict[str, float]:
    """What a run measured last on its held-out data, by metric; {} where it did not."""
    from pretrial.train.log import METRICS, read_rows

    found: dict[str, float] = {}
    for row in read_rows(folder / METRICS):
        own = {name.removeprefix("eval/"): v for name, v in row.items() if name.startswith("eval/")}
        found = {name: value for name, value in own.items() if value is not None} or found
    return found


def adapter_of(folder: Path) -> Path:
    """The adapter that a run with LoRA has trained, in peft's layout.

    Raises:
        UserError: there is none.
    """
    found = folder / ADAPTER
    if not found.is_dir():
        raise UserError(
            f"{folder} holds no adapter: it was trained without --lora-rank, or has more than an"
            " adapter can hold, as its training said at the end: export without --adapter"
        )
    return found


def leave_page(run: Run) -> None:
    """Writes beside the model of a finished run what was spent on it, and the run's page."""
    from pretrial.compare.report.run_page import write_run_page

    write_text(run.folder / SPENT, json.dumps(run.spent.by_purpose, indent=1) + "\n")
    with disk_explained(run.folder):
        write_run_page(run.folder, state="finished")


def read_config(kind: Any, value: dict[str, Any]) -> Any:
    """The Config of a method that `plain` made JSON of.

    Raises:
        UserError: it was made by another version, or somebody has damaged it.
    """
    try:
        return from_json(kind, value)
    except UserError:
        raise
    except (TypeError, ValueError, AttributeError, LookupError, ArithmeticError) as error:
        raise UserError(
            f"the config in {NAME} does not make sense ({error}): write it as it was, or train anew"
        ) from error


def from_json(kind: Any, value: Any) -> Any:
    """The value of a type, such as a Config, that `plain` made JSON of."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        kinds = [option for option in typing.get_args(kind) if option is not type(None)]
        return value if value is None or len(kinds) != 1 else from_json(kinds[0], value)
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        hints = typing.get_type_hints(kind)
        unknown = value.keys() - hints.keys()
        if unknown:
            raise UserError(
                f"the run was trained by another version of pretrial: its config has"
                f" {', '.join(sorted(unknown))}, which {kind.__qualname__} lacks"
            )
        return kind(**{name: from_json(hints[name], item) for name, item in value.items()})
    if isinstance(value, list) and (typing.get_origin(kind) or kind) is tuple:
        args = typing.get_args(kind)
        each = args[:1] * len(value) if args[-1:] == (...,) else args
        return tuple(from_json(k, item) for k, item in zip(each, value, strict=True))
    return Path(value) if kind is Path else value


def make_folder(folder: Path) -> None:
    """Makes a folder that the user named, where it is not there yet.

    Raises:
        UserError: it cannot be, or nothing can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror
    else:
        reason = "" if os.access(folder, os.W_OK) else "permission denied"
    if reason:
        raise UserError(f"cannot write into {folder} ({reason}): give another folder")


def device(name: str) -> str:
    """The device of that name; "auto" is the accelerator where there is one.

    Raises:
        UserError: there is no such device on this machine.
    """
    import torch

    found = torch.accelerator.current_accelerator(check_available=True)
    own = found.type if found else "cpu"
    if name == "auto":
        return own
    if name.partition(":")[0] not in (own, "cpu"):
        choices = " or ".join(dict.fromkeys(("auto", "cpu", own)))
        raise UserError(f"--device {name} is not on this machine: give {choices}")
    return name


def write_text(path: Path, text: str) -> None:
    """Writes a file that is whole or as before, whatever happens.

    Raises:
        UserError: it cannot be written.
    """
    make_folder(path.parent)
    try:
        write_whole(path, text)
    except OSError as error:
        raise UserError(
            f"cannot write {path} ({error.strerror}): make room there or give another folder, and"
            " run the same command again"
        ) from error
