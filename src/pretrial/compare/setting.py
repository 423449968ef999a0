"""The setting of a trial: plain values from which any process makes the same trial again."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pretrial import discover
from pretrial.checkpoints.packaged import place_of
from pretrial.compare.code import code_digest
from pretrial.compare.kit.on_labels import Way
from pretrial.compare.making import make_one
from pretrial.compare.ranking import compose
from pretrial.compare.started import Start, start_of
from pretrial.compare.trial import Arm, Trial
from pretrial.data.reading.sources import Renamed
from pretrial.errors import UserError
from pretrial.plain import plain
from pretrial.train.budget import Budget

_DATA = ("data", "corpus")  # what trials call the option that names data


@dataclass(frozen=True)
class Setting:
    """Everything that decides a trial's outcome, as plain values.

    Attributes:
        slugs: the method on trial; several are set side by side (`pretrial compare`).
        options: arguments of the methods' `trial()`.
        seeds: of the runs, in the order of the looks; none is the trial's own number.
        arms: names of the arms, in the order of the trial.
        budget: of one arm with one seed, or None for the trial's own.
        fields: where the data on trial names its fields otherwise, as {wanted: found}.
        start: what all arms begin with instead of the trial's own.
        labels: how methods side by side are asked for the labels of the data, "probe" or
            "finetune"; "" measures them as the trial of the first does.
    """

    slugs: tuple[str, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    seeds: tuple[int, ...] = ()
    arms: tuple[str, ...] = ()
    budget: Budget | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    start: Start = field(default_factory=Start)
    labels: Way | Literal[""] = ""

    def make(self) -> Trial:
        """The trial, with the budget asked for.

        Raises:
            UserError: a method has no trial, the methods cannot be compared, or there are fields
                to rename and no data is named.
        """
        options = self._renamed()
        if len(self.slugs) == 1:
            trial = make_one(self.slugs[0], options)
        else:
            trial = compose(self.slugs, options, self.labels)
        return self.start.of(trial).with_budget(self.budget)

    @property
    def marks(self) -> tuple[str, ...]:
        """What tells records of this setting from that of the default trial, or comparison."""
        return (*([f"labels-{self.labels}"] if self.labels else []), *self.start.marks)

    def _renamed(self) -> Mapping[str, Any]:
        """The options, of which the one that names data carries the new names of its fields."""
        if not self.fields:
            return self.options
        name = next((name for name in _DATA if self.options.get(name)), None)
        if name is None:
            takes = [name for name in _DATA if name in self.options]
            raise UserError(
                "--fields renames fields of your data: give it with --" + takes[0]
                if takes
                else "--fields renames fields of your data, and this trial makes its own: leave it"
            )
        return {**self.options, name: Renamed(self.options[name], self.fields)}

    def to_json(self) -> dict[str, Any]:
        """Plain JSON; what is as by default is left out, as in records that knew of none of it."""
        return {
            "slugs": list(self.slugs),
            "options": plain(self.options),
            "seeds": list(self.seeds),
            "arms": list(self.arms),
            "budget": None if self.budget is None else dataclasses.asdict(self.budget),
            **self._changed(),
        }

    def _changed(self) -> dict[str, Any]:
        """What is not as by default."""
        fields = {"fields": dict(self.fields)} if self.fields else {}
        labels = {"labels": self.labels} if self.labels else {}
        return {**fields, **self.start.to_json(), **labels}

    def _init_files(self) -> dict[str, Any]:
        """The state of the files of the checkpoint that arms start from, where it is a folder."""
        if not self.start.init:
            return {}
        folder = Path(place_of(self.start.init))
        if not folder.is_dir():
            return {"init": _file_state(folder)}
        return {"init": {path.name: _file_state(path) for path in sorted(folder.iterdir())}}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Setting:
        """Reads what `to_json` gave."""
        return cls(
            slugs=tuple(value["slugs"]),
            options=dict(value["options"]),
            seeds=tuple(value["seeds"]),
            arms=tuple(value["arms"]),
            budget=None if value["budget"] is None else Budget(**value["budget"]),
            fields=dict(value.get("fields", {})),
            start=start_of(value),
            labels=value.get("labels", ""),
        )

    @property
    def lead(self) -> str:
        """The method whose trial gives data, task and budget: the first that has one."""
        return next((slug for slug in self.slugs if discover.load(slug).trial), self.slugs[0])

    def code(self, trial: Trial) -> str:
        """A digest of the code of the trial and of all methods that have an arm in it."""
        methods = dict.fromkeys([*self.slugs, *(arm.method for arm in trial.arms if arm.method)])
        return code_digest(tuple(methods))

    def digest(
        self, trial: Trial, arm: Arm | None, seed: int, chosen: Mapping[str, Any] | None = None
    ) -> str:
        """Names the work of one job: the same text for the same work, another for any other.

        The work of an arm is the same in the trial of a method and in a comparison that this method
        leads, whatever the arm is called there.

        Args:
            trial: made of this setting.
            arm: the job's arm; None for the preparation of a seed.
            seed: the job's seed.
            chosen: settings that an arm without a config is given beside; in one with a config they
                are there already.
        """
        slugs = (self.lead, *((arm.method,) if arm is not None and arm.method else ()))
        work = {
            "lead": self.lead,
            "code": code_digest(tuple(dict.fromkeys(slugs))),
            "options": plain(self.options),
            "files": {k: _file_state(v) for k, v in self.options.items()} | self._init_files(),
            "budget": plain(trial.budget),
            "arm": None if arm is None else _work_of(arm),
            "seed": seed,
            **({"chosen": dict(chosen)} if chosen and arm and arm.config is None else {}),
            **self._changed(),
        }
        text = json.dumps(work, sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def check_init(setting: Setting) -> None:
    """Makes sure, before anything runs, that all arms can start from the checkpoint.

    Raises:
        UserError: one cannot; it says which, and why.
    """
    trial, init = setting.make(), setting.start.init
    place = place_of(init)
    tried: set[str] = set()
    for arm in trial.arms if not setting.arms else map(trial.arm, setting.arms):
        if arm.source != place or arm.method in tried:
            continue
        tried.add(arm.method)
        try:
            discover.load(arm.method).method.build(arm.config, source=place)
        except (UserError, NotImplementedError, OSError) as error:
            raise UserError(
                f"{arm.label} cannot start from {init}: {error}; leave it out, or take another"
                " checkpoint"
            ) from error


def _work_of(arm: Arm) -> dict[str, Any]:
    """What decides the work of an arm, and not how it is shown."""
    shown = ("name", "label", "role", "default")
    work = {name: value for name, value in plain(arm).items() if name not in shown}
    return work if arm.method else work | {"name": arm.name}


def _file_state(value: Any) -> list[int] | None:
    """Size and time of a file that an option names: data that changed is other data."""
    if not isinstance(value, str | Path) or not str(value):
        return None
    try:
        path = Path(value)
        return [path.stat().st_size, path.stat().st_mtime_ns] if path.is_file() else None
    except OSError:
        return None
