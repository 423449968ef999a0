"""The trial: three networks in each regime, how well each does, and the gaps between them.

An arm is a regime, not a network: each trains a Transformer, an S4D that starts as its theory says
and one at random. The gaps stand beside and decide nothing: they shrink too where one side loses.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from torch import nn

from pretrial.compare.kit import few_labels
from pretrial.compare.trial import Arm, Context, Data, Gate, Trial, Tuning
from pretrial.data.reading.sources import load
from pretrial.data.splits import split_by_group
from pretrial.errors import UserError
from pretrial.methods.text.never_from_scratch import NeverFromScratch
from pretrial.methods.text.never_from_scratch.config import Config
from pretrial.methods.text.never_from_scratch.data import code
from pretrial.methods.text.never_from_scratch.stages import SequenceClassifier
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

#: Differences of accuracy: of the first network over the second.
_GAPS = (
    ("gap", "s4d", "transformer"),
    ("random_gap", "s4d", "s4d_random"),
    ("mamba_gap", "mamba", "transformer"),
)

_DIGITS = "builtin:digits?split=train&size=8&turn=20&shift=1&copies=4"
_LISTOPS = "builtin:listops"

_RECIPE = (
    "Equal steps for a network in both regimes. Self-pre-training has 60 % of them, on inputs of"
    " the same sequences; from scratch all of them are on labels. A regime's rate, constant after a"
    " warm-up, is chosen for all of its networks by the loss of the Transformer.",
)

_DIGIT_NOTES = (
    "1,000 images of 577 digits, turned by up to 20 degrees and moved by up to a pixel: sequences"
    " of 64 pixels. Two layers of width 64; the paper has sequences of 1,024 to 65,536 entries.",
    "Found with seed 9001 and the Transformer alone; nll from scratch, with self-pre-training, and"
    " of a linear classifier: 600 images, 2,000 steps 1.76, 1.09, 1.23; 1,000 images, 1,500 steps"
    " 0.88, 0.92, 1.10; 2,000 images, 1,500 steps 0.57, 0.98, 1.04.",
    *_RECIPE,
)

_LISTOPS_NOTES = (
    "Nested operations on lists of digits, at most four deep and 64 tokens long; two layers of"
    " width 64; 15 % are hidden. Long Range Arena has up to 2,000 tokens and ten deep.",
    "Digits of a list are independent of one another, so that a hidden one cannot be named better"
    " than by its frequency; operations and brackets can.",
    *_RECIPE,
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
    """Each network with self-pre-training and from scratch, at equal steps.

    Args:
        which: digits as sequences of 64 pixels, or ListOps, whose trial has a record of its own.
        data: other rows as the method reads them, with `label`, such as builtin:pathfinder.
        num_train: sequences to train on, with and without labels; 0: 1,000, of ListOps 2,000.
        num_test: sequences to measure on, at most.
        tiny: networks small enough for a test.
    """
    digits = which == "digits"
    config = Config.tiny() if tiny else Config.small()
    config = replace(config, max_length=max(64, config.max_length))
    if not digits:
        config = replace(config, mask_ratio=0.15)
    source, steps = (_DIGITS, 1500) if digits else (_LISTOPS, 2500)  # of one network
    notes = _DIGIT_NOTES if digits else _LISTOPS_NOTES
    return Trial(
        question="Does a Transformer, and do state spaces, tell sequences better when they have"
        " first learnt from the inputs of the task, at equal steps?",
        data=partial(_data, data or source, num_train or (1000 if digits else 2000), num_test),
        arms=_arms(config),
        measure=_measure,
        metric="transformer_nll",
        direction="lower",
        useful=0.02,
        relative=True,
        gate=Gate(("linear",), ceiling=0.0),
        tuning=Tuning((5e-4, 1e-3, 2e-3)),
        first_seed=100,
        packages=few_labels.NEEDED,
        budget=Budget((4 if tiny else steps) * len(NETWORKS), "steps"),
        claims=(
            ("spt", "scratch", "transformer_nll", "lower"),
            ("spt", "scratch", "transformer_accuracy", "higher"),
            *(("spt", "scratch", f"{name}_nll", "lower") for name in ("s4d", "s4d_random")),
            ("spt", "scratch", "worst_nll", "lower"),
            ("spt-third", "scratch-third", "transformer_nll", "lower"),
            ("spt-tenth", "scratch-tenth", "transformer_nll", "lower"),
            ("spt-mamba", "scratch-mamba", "mamba_nll", "lower"),
        ),
        notes=() if data or num_train or tiny else notes,
        name="" if digits else which,
    )


def _arms(config: Config) -> tuple[Arm, ...]:
    """The two regimes, and each with one setting changed."""

    def arm(
        name: str, label: str, role: Any = "ablation", networks: Networks = NETWORKS, **changes: Any
    ) -> Arm:
        own = replace(config, **changes)
        run, default = partial(_train_panel, config=own, networks=networks), role != "ablation"
        return Arm(name, label, role, config=own, run=run, default=default)

    scratch: dict[str, Any] = {"objective": "none"}
    ratios = [ratio for ratio in (0.15, 0.5, 0.75) if ratio != config.mask_ratio]
    return (
        arm("spt", "self-pre-training", "method"),
        arm("scratch", "from scratch", "baseline", **scratch),
        Arm("linear", "linear on pixels or counts", "control", run=lambda _: None, trains=False),
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
    if "original" in row:  # copies of one image
        return str(row["original"])
    return json.dumps(row, sort_keys=True, default=lambda value: np.asarray(value).tolist())


def _train_panel(context: Context, *, config: Config, networks: Networks) -> Panel:
    """Trains the networks of one regime."""
    method = NeverFromScratch
    run = context.run.over(method.read(context.run.data), context.run.held_out)
    panel = Panel(
        {
            name: method.build(replace(config, **context.chosen, **changes), data=run.data)
            for name, changes in networks.items()
        }
    )
    train(panel, run)
    return panel


def _measure(panel: Panel | None, data: Data, seed: int) -> dict[str, Any]:
    """What each network of a regime says of each test sequence.

    Returns:
        "<network>_nll" and "<network>_accuracy", where for None a linear classifier stands in for
        the Transformer; "worst_nll", of the network that is worst; and the gaps in accuracy.
    """
    if panel is None:
        own = few_labels.plain_scores(data, few_labels.sequence_vectors)
        return {f"transformer_{metric}": own[metric] for metric in ("nll", "accuracy")}
    found: dict[str, Any] = {}
    nll: list[float] = []
    right: dict[str, float] = {}
    for name, member in panel.members.items():
        coded = code(member.read(data.test), member.network.config)
        logits = SequenceClassifier(member.network).logits([each.entries for each in coded])
        log_probs, places = logits.float().log_softmax(-1).numpy(), [each.label for each in coded]
        own = few_labels.scored(log_probs, places, data.test)
        found |= {f"{name}_{metric}": values for metric, values in own.items()}
        nll.append(float(-log_probs[np.arange(len(places)), places].mean()))
        right[name] = float(np.mean(log_probs.argmax(-1) == places))
    gaps = {gap: right[a] - right[b] for gap, a, b in _GAPS if {a, b} <= right.keys()}
    return {**found, **gaps, "worst_nll": max(nll)}
