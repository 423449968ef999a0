"""A trial with another start, other sizes, a fixed learning rate: `--init`, `--preset`, `--lr`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from pretrial import discover
from pretrial.bases.config import PRESETS, preset_of, presets_of
from pretrial.checkpoints.packaged import place_of
from pretrial.compare.trial import Arm, Trial, Tuning
from pretrial.errors import UserError


@dataclass(frozen=True)
class Start:
    """What a trial's arms are told to begin with, instead of what the trial says.

    Attributes:
        init: checkpoint that all arms that train start from, also by the name of a package (see
            `checkpoints.packaged`); "" is the trial's own start.
        preset: size that all arms have; "" is the trial's own.
        lr: learning rate of all arms, which then choose none; 0 is the trial's own.
    """

    init: str = ""
    preset: str = ""
    lr: float = 0.0

    def __post_init__(self) -> None:
        if self.preset not in ("", *PRESETS):
            raise UserError(f"--preset is one of {', '.join(PRESETS)}, not {self.preset!r}")
        if self.lr < 0:
            raise UserError(f"--lr is a learning rate above 0, not {self.lr}")

    def to_json(self) -> dict[str, Any]:
        """What is not the trial's own."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value}

    @property
    def marks(self) -> tuple[str, ...]:
        """What tells records with this start from that of the default trial."""
        init = "".join(c if c.isalnum() else "-" for c in Path(self.init).name.lower())
        return (
            *([f"from-{init.strip('-')}"] if init else []),
            *([self.preset] if self.preset else []),
            *([f"lr-{self.lr:g}"] if self.lr else []),
        )

    def of(self, trial: Trial) -> Trial:
        """The trial with this start.

        Raises:
            UserError: an arm has no such size, cannot start from a checkpoint, or has no learning
                rate.
        """
        if self.preset:
            trial = _resized(trial, self.preset)
        if self.lr:
            trial = _at_rate(trial, self.lr)
        return _begun(trial, self.init) if self.init else trial


def _begun(trial: Trial, init: str) -> Trial:
    """All arms that train, and the model before them, start from the checkpoint.

    The checkpoint as it is becomes a trivial arm: training must better what anybody can download.
    """
    for arm in trial.arms:
        if arm.trains and arm.run is not None:
            raise UserError(
                f"--init: {arm.label} makes its own start, so that it cannot begin with a"
                " checkpoint; leave --init out"
            )

    place = place_of(init)

    def start(arm: Arm) -> Arm:
        before = not arm.trains and arm.source is None and trial.prepare is not None
        own = arm.method and (arm.trains or before)
        return dataclasses.replace(arm, source=place) if own else arm

    arms = tuple(start(arm) for arm in trial.arms)
    trivial = trial.gate.trivial
    if not any(arm.source == place and not arm.trains for arm in arms):
        first = next(arm for arm in arms if arm.source == place)
        as_it_is = dataclasses.replace(
            first, name="init", label=f"{Path(init).name} as it is", role="control", trains=False,
            default=True,
        )  # fmt: skip
        arms, trivial = (*arms, as_it_is), (*trivial, "init")
    return dataclasses.replace(
        trial, arms=arms, gate=dataclasses.replace(trial.gate, trivial=trivial), prepare=None
    )


def _at_rate(trial: Trial, lr: float) -> Trial:
    """All arms learn at this rate; none chooses one."""

    def fix(arm: Arm) -> Arm:
        if arm.config is None:
            return arm
        if not hasattr(arm.config, "lr"):
            raise UserError(f"--lr: {arm.label} has no setting lr; leave --lr out")
        return dataclasses.replace(arm, config=dataclasses.replace(arm.config, lr=lr))

    tuned = trial.tuning is not None and trial.tuning.field == "lr"
    makes_own = [arm.label for arm in trial.arms if arm.trains and arm.run is not None]
    if makes_own and not tuned:
        raise UserError(f"--lr: {makes_own[0]} has a learning rate of its own; leave --lr out")
    tuning = Tuning((lr,)) if tuned else trial.tuning
    return dataclasses.replace(trial, arms=tuple(map(fix, trial.arms)), tuning=tuning)


def _resized(trial: Trial, preset: str) -> Trial:
    """All arms have the sizes of the preset; an ablation keeps what makes it one."""
    main: dict[str, Any] = {}  # by method the settings that its ablations differ from
    for arm in sorted(trial.arms, key=lambda arm: arm.role != "method"):
        if arm.method:
            main.setdefault(arm.method, arm.config)
        elif arm.trains:
            raise UserError(f"--preset: {arm.label} makes its own network; leave --preset out")

    def sized(slug: str, config: Any) -> Any:
        own = vars(config)
        base = vars(main.get(slug, config))
        changed = {k: v for k, v in own.items() if v != base.get(k)}
        return dataclasses.replace(_settings(slug, preset), **changed)

    def follow(made: Any) -> Any:
        """The same function of the preset's settings, where it has any among its arguments."""
        if isinstance(made, partial):
            slug = next((a for a in made.args if isinstance(a, str)), "")
            args = [sized(slug, a) if _is_config(slug, a) else a for a in made.args]
            return partial(made.func, *args, **made.keywords)
        if dataclasses.is_dataclass(made) and not isinstance(made, type):
            fields = vars(made)
            if _is_config(fields.get("slug", ""), fields.get("config")):
                return dataclasses.replace(made, config=sized(fields["slug"], fields["config"]))
        return made

    arms = tuple(
        dataclasses.replace(arm, config=sized(arm.method, arm.config))
        if arm.method
        else dataclasses.replace(arm, run=follow(arm.run))
        for arm in trial.arms
    )
    rates = _rates_around(arms, trial)
    return dataclasses.replace(trial, arms=arms, tuning=rates, prepare=follow(trial.prepare))


def _rates_around(arms: Sequence[Arm], trial: Trial) -> Tuning | None:
    """The choice of learning rates, around that of the preset of the baseline."""
    lr = getattr(next(a.config for a in arms if a.name == trial.reference().name), "lr", None)
    if trial.tuning is None or trial.tuning.field != "lr" or lr is None:
        return trial.tuning
    return Tuning((lr / 2, lr, 2 * lr))


def _is_config(slug: str, value: Any) -> bool:
    """Whether a value is the settings of the method of that name."""
    if not slug or not dataclasses.is_dataclass(value) or isinstance(value, type):
        return False
    return slug in discover.methods() and isinstance(value, discover.load(slug).config)


def _settings(slug: str, preset: str) -> Any:
    """The settings of a method that have this name.

    Raises:
        UserError: it has none of that name.
    """
    kind = discover.load(slug).config
    if preset not in (has := presets_of(kind)):
        raise UserError(f"{slug} has no preset {preset!r}: it has {' and '.join(has)}")
    return preset_of(kind, preset)


def start_of(value: Mapping[str, Any]) -> Start:
    """Reads what `Start.to_json` gave, among other things."""
    names = [field.name for field in dataclasses.fields(Start)]
    return Start(**{name: value[name] for name in names if name in value})
