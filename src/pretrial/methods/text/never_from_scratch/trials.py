"""The trial: three networks in each regime, and the gaps between them.

An arm is a regime, not a network, so that the claim itself, that gaps shrink, is what is measured:
each arm trains a Transformer, an S4D that starts as its theory says and one that starts at random,
and every test sequence says which of them was right.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from torch import nn

from pretrial import discover
from pretrial.compare.trial import Arm, Context, Data, Trial
from pretrial.data.reading.sources import load
from pretrial.data.splits import split_by_group
from pretrial.errors import UserError
from pretrial.methods.text.never_from_scratch.config import Config
from pretrial.train.budget import Budget
from pretrial.train.loop import train
from pretrial.train.method import Method
from pretrial.train.stage import Stage

if TYPE_CHECKING:
    from pretrial.train.run import Run

Networks = dict[str, dict[str, Any]]

#: The networks of a regime, by the names that metrics and stages bear.
NETWORKS: Networks = {
    "transformer": {"mixer": "transformer"},
    "s4d": {"mixer": "s4d"},
    "s4d_random": {"mixer": "s4d", "structured": False},
}

#: Those of a regime with Mamba, as many, so that each has the same share of the budget.
WITH_MAMBA: Networks = {
    "transformer": NETWORKS["transformer"],
    "s4d": NETWORKS["s4d"],
    "mamba": {"mixer": "mamba"},
}

_DIGITS = "builtin:digits?split=train"
_LISTOPS = "builtin:listops"

_DIGIT_NOTES = (
    "Images of 8 x 8 pixels are sequences of 64; the Transformer is told positions in the sequence"
    " alone. Two layers of width 64; the paper has sequences of 1,024 to 65,536 entries.",
    "In both regimes each network takes 1,000 steps. Self-pre-training has 60 % of them, on the"
    " inputs of the same 300 images; from scratch all of them are on labels.",
    "All networks in both regimes have a constant rate of 1e-3 after a warm-up of 5 % of a stage,"
    " and batches of 16; neither was tuned.",
    "Tried before, with one seed and the Transformer alone, on images that are not in this trial's"
    " test set: on 1,444 images and 1,200 steps 0.94 were right from scratch, and 0.93 and 0.84"
    " where self-pre-training had half and three quarters of the steps; on 300 images and 1,000"
    " steps 0.79 in both regimes, with half. So 300 images were taken: labels are learnt by heart"
    " in half of the steps there, so that from scratch more of them would be of no use.",
)

_LISTOPS_NOTES = (
    "Nested operations on lists of digits, at most four deep and 64 tokens long; two layers of"
    " width 64. Long Range Arena has up to 2,000 tokens and ten deep.",
    "In both regimes each network takes 2,500 steps. Self-pre-training has 60 % of them, on the"
    " inputs of the same 2,000 sequences with 15 % hidden; from scratch all of them are on labels.",
    "The recipe is that of the trial on digits, for all networks in both regimes. Nothing was tuned"
    " or tried before.",
    "Digits of a list are independent of one another, so that a hidden one cannot be named better"
    " than by its frequency; operations and brackets can.",
)


class Panel(Method):
    """Several networks of one regime, trained one after the other.

    Args:
        members: by the names that begin those of their stages.
    """

    def __init__(self, members: Mapping[str, Method]) -> None:
        super().__init__(None)
        self.members: Any = nn.ModuleDict(members)

    def stages(self, run: Run) -> Iterator[Stage]:
        """Those of all members, of which each has an equal share of the budget."""
        part = Budget(run.budget.amount / len(self.members), run.budget.unit)
        for name, member in self.members.items():
            yield from member.stages_within(run, part, f"{name}-")


def trial(
    *,
    which: Literal["digits", "listops"] = "digits",
    data: str = "",
    num_train: int = 0,
    num_test: int = 1000,
    tiny: bool = False,
) -> Trial:
    """The gap between architectures, with self-pre-training and from scratch, at equal steps.

    Args:
        which: digits as sequences of 64 pixels, or ListOps, whose trial has a record of its own.
        data: other rows as the method reads them, with `label`, such as builtin:pathfinder.
        num_train: sequences to train on, with and without labels; 0 is 300 digits, or 2,000 of
            ListOps.
        num_test: sequences to measure on, at most.
        tiny: networks small enough for a test.
    """
    digits = which == "digits"
    config = Config.tiny() if tiny else Config.small()
    config = replace(config, max_length=max(64, config.max_length))
    if not digits:
        config = replace(config, mask_ratio=0.15)
    source, steps = (_DIGITS, 1000) if digits else (_LISTOPS, 2500)  # of one network
    notes = _DIGIT_NOTES if digits else _LISTOPS_NOTES
    return Trial(
        question="Is the gap between a state space model and a Transformer smaller when each has"
        " first learnt from the inputs of the task, at equal steps?",
        data=partial(_data, data or source, num_train or (300 if digits else 2000), num_test),
        arms=_arms(config),
        measure=_measure,
        metric="gap",
        direction="lower",
        budget=Budget((4 if tiny else steps) * len(NETWORKS), "steps"),
        claims=(
            ("spt", "scratch", "gap", "lower"),
            ("spt", "scratch", "random_gap", "lower"),
            *(("spt", "scratch", f"{name}_accuracy", "higher") for name in NETWORKS),
            ("spt-third", "scratch-third", "gap", "lower"),
            ("spt-tenth", "scratch-tenth", "gap", "lower"),
            ("spt-mamba", "scratch-mamba", "mamba_accuracy", "higher"),
            ("spt-mamba", "scratch-mamba", "mamba_gap", "lower"),
        ),
        notes=() if data or num_train or tiny else notes,
        name="" if digits else which,
    )


def _arms(config: Config) -> tuple[Arm, ...]:
    """The two regimes, and each with one setting changed."""

    def arm(
        name: str,
        label: str,
        role: Any = "ablation",
        networks: Networks = NETWORKS,
        **changes: Any,
    ) -> Arm:
        own = replace(config, **changes)
        return Arm(
            name,
            label,
            role,
            config=own,
            run=partial(_train_panel, config=own, networks=networks),
            default=role != "ablation",
        )

    scratch: dict[str, Any] = {"objective": "none"}
    ratios = [ratio for ratio in (0.15, 0.5, 0.75) if ratio != config.mask_ratio]
    return (
        arm("spt", "self-pre-training", "method"),
        arm("scratch", "from scratch", "baseline", **scratch),
        arm("causal", "the next entry, not hidden ones", objective="causal"),
        *(
            arm(f"mask-{100 * ratio:.0f}", f"{ratio:.0%} hidden", mask_ratio=ratio)
            for ratio in ratios
        ),
        arm("spans", "spans of 4 hidden", span_length=4),
        arm("spt-third", "a third of the data", data_ratio=1 / 3),
        arm("scratch-third", "from scratch, a third of the data", data_ratio=1 / 3, **scratch),
        arm("spt-tenth", "a tenth of the data", data_ratio=0.1),
        arm("scratch-tenth", "from scratch, a tenth of the data", data_ratio=0.1, **scratch),
        arm("spt-mamba", "with Mamba", networks=WITH_MAMBA),
        arm("scratch-mamba", "from scratch, with Mamba", networks=WITH_MAMBA, **scratch),
    )


def _data(source: str, num_train: int, num_test: int) -> Data:
    """Sequences to train on and to be measured on; equal ones are on one side.

    Raises:
        UserError: there are too few.
    """
    rows = load(source)
    parts = split_by_group(rows, _content, {"train": 0.4, "test": 0.6})
    train_rows, test_rows = (
        [part[place] for place in np.random.default_rng(0).permutation(len(part))[:most]]
        for part, most in ((parts["train"], num_train), (parts["test"], num_test))
    )
    if len(train_rows) < num_train or not test_rows:
        raise UserError(
            f"{source} leaves {len(train_rows)} sequences to train on, fewer than {num_train}: set"
            " --num-train lower"
        )
    known = {row.get("label") for row in train_rows}
    test_rows = [row for row in test_rows if row.get("label") in known]
    return Data(train_rows, test=test_rows, name=f"{source}: {num_train} to train on")


def _content(row: Mapping[str, Any]) -> str:
    return json.dumps(row, sort_keys=True, default=lambda value: np.asarray(value).tolist())


def _train_panel(context: Context, *, config: Config, networks: Networks) -> Panel:
    """Trains the networks of one regime."""
    method = discover.load("never_from_scratch").method
    run = context.run.over(method.read(context.run.data), context.run.held_out)
    panel = Panel(
        {
            name: method.build(replace(config, **changes), data=run.data)
            for name, changes in networks.items()
        }
    )
    train(panel, run)
    return panel


def _measure(panel: Panel, data: Data, seed: int) -> dict[str, float | list[float]]:
    """For each test sequence which network is right, and the differences.

    Returns:
        "<network>_accuracy"; "gap", of the structured S4D over the Transformer; "random_gap", of
        the structured S4D over the random one, or "mamba_gap", of Mamba over the Transformer, where
        there is such a network; and "majority_ratio", the share of the most frequent label.
    """
    wanted = [str(row["label"]) for row in data.test]
    found: dict[str, float | list[float]] = {}
    right = {}
    for name, member in panel.members.items():
        guesses = [row["label"] for row in member.classify(member.read(data.test))]
        right[name] = np.array([a == b for a, b in zip(guesses, wanted, strict=True)], dtype=float)
        found[f"{name}_accuracy"] = right[name].tolist()
    found["gap"] = (right["s4d"] - right["transformer"]).tolist()
    if "s4d_random" in right:
        found["random_gap"] = (right["s4d"] - right["s4d_random"]).tolist()
    if "mamba" in right:
        found["mamba_gap"] = (right["mamba"] - right["transformer"]).tolist()
    found["majority_ratio"] = max(map(wanted.count, set(wanted))) / len(wanted)
    return found
