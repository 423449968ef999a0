"""The trial: texts through the cascade against texts as they are, at as many tokens."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from pretrial.compare.kit.arms import ablations
from pretrial.compare.kit.floors import trigram_arm
from pretrial.compare.kit.planted import plant, recall
from pretrial.compare.kit.raw_texts import bits_of
from pretrial.compare.trial import Arm, Context, Data, Gate, Trial, Tuning
from pretrial.data.reading.sources import load
from pretrial.errors import UserError
from pretrial.methods.text.yi.config import Config
from pretrial.methods.text.yi.trials.growth import deepen_trial, lengthen_trial
from pretrial.train.budget import Budget
from pretrial.train.loop import train
from pretrial.train.method import Method

if TYPE_CHECKING:
    from pretrial.methods.text.yi import Yi

_TEXTS = "builtin:stdlib-docstrings"
_MIN_CHARS = 120  # of a docstring that takes part

_NOTES = (
    "0.4 M parameters and half a megabyte of docstrings; the paper filters the web down to 3.1 T"
    " tokens for 6 B parameters and more.",
    "Half as many bad texts as good ones are planted, in equal parts: near duplicates, noise of"
    " symbols, good texts that end in a licence, and good texts with their words shuffled. In the"
    " third kind only the licence is bad: its recall counts texts whose licence is gone.",
    "The cascade has its default bounds but for lines and marks, which docstrings have otherwise,"
    " and learns from a tenth of the modules that is neither trained nor tested on.",
    "The control is trained on the good texts alone. Its bound is what filtering could reach.",
)


def trial(
    *,
    which: Literal["clean", "deepen", "lengthen"] = "clean",
    data: str = "",
    tokens: float = 1_000_000,
    steps: int = 0,
    model: str = "",
    copy_layers: int = 0,
    blocks: tuple[int, ...] = (),
    tiny: bool = False,
) -> Trial:
    """Does filtering help a small model, and what does each filter find? Or another step's trial.

    Args:
        which: the step on trial: the cascade (clean), depth up-scaling (deepen) or a longer context
            (lengthen).
        data: a built-in source of texts with the splits train, valid and test; by default
            docstrings for clean, and code for the others.
        tokens: that each arm is trained on; of clean.
        steps: of training; 0 is 40 of deepen, 50 of lengthen.
        model: name or folder of the checkpoint to deepen, such as smollm2; "" trains one first.
        copy_layers: that deepen copies; 0 takes a third.
        blocks: first layers of further blocks that deepen copies without training them.
        tiny: networks and data small enough for a test.
    """
    if which == "deepen":
        return deepen_trial(
            data=data,
            model=model,
            copy_layers=copy_layers,
            blocks=blocks,
            steps=steps or 40,
            tiny=tiny,
        )
    if which == "lengthen":
        return lengthen_trial(data=data, steps=steps or 50, tiny=tiny)
    data = data or _TEXTS
    config = replace(Config.small(), reference=f"{data}?split=valid")
    if tiny:
        config = replace(Config.tiny(), steps=("pretrain",), reference=f"{data}?split=valid")
        tokens = min(tokens, 3000)
    return Trial(
        question="Does a model learn more from texts that went through the cascade than from as"
        " many tokens of the texts as they are?",
        data=partial(_data, data, 60 if tiny else 0),
        arms=_arms(config),
        measure=_measure,
        metric="bits_per_byte",
        direction="lower",
        useful=0.01,
        relative=True,
        gate=Gate(("trigrams",)),
        tuning=Tuning((1e-3, 3e-3, 1e-2)),
        budget=Budget(tokens, "tokens"),
        counted=("train",),
        claims=(("yi", "raw", "bits_per_byte", "lower"),),
        notes=_NOTES,
    )


def _arms(config: Config) -> tuple[Arm, ...]:
    """Through the cascade, as they are, and the cascade without some of its stages."""
    # docstrings end lines anywhere, and two in three have more marks than pages have
    own = replace(
        config.cascade, max_unfinished_line_ratio=0, max_short_line_ratio=0, min_alphabetic_ratio=0
    )
    cleaned = replace(config, clean=True, cascade=own)

    def without(*stages: str) -> dict[str, Any]:
        return {"cascade": replace(own, skip=stages)}

    ablation = ablations("yi", cleaned)
    return (
        Arm("yi", "through the cascade", "method", "yi", cleaned),
        Arm("raw", "as they are", "baseline", "yi", config),
        Arm("good", "the good texts alone", "control", run=partial(_train_on_good, config)),
        trigram_arm(),
        ablation("no-near", "without duplicates' stages", **without("near", "runs")),
        ablation("no-perplexity", "without perplexity", **without("perplexity")),
        ablation("no-shape", "without shape", **without("shape")),
        ablation("no-paragraphs", "without paragraphs", **without("paragraphs", "runs")),
    )


def _data(source: str, limit: int) -> Data:
    """Good and planted texts, and good ones of other modules to test on."""
    known, test = (
        [row for row in load(f"{source}?split={split}") if len(row["text"]) >= _MIN_CHARS]
        for split in ("train", "test")
    )
    good, test = [row["text"] for row in known[: limit or None]], test[: limit or None]
    if len(good) < 20:
        raise UserError(f"{source} has {len(good)} texts of {_MIN_CHARS} characters: give more")
    rows = plant(good)
    return Data(train=rows, test={"rows": rows, "texts": test}, name=f"{source}, half as many bad")


def _train_on_good(config: Config, context: Context) -> Yi:
    """The control, which knows what was planted."""
    from pretrial.methods.text.yi import Yi

    good = [row for row in context.data.train if row["kind"] == "good"]
    run = context.run.over(good, context.run.held_out)
    method = Yi.build(replace(config, **context.chosen), data=run.data)
    train(method, run)
    return method.eval()


def _measure(method: Yi, data: Data, seed: int) -> dict[str, Any]:
    """Bits per byte of each good text; and of each kind the share that the cascade removed."""
    found: dict[str, Any] = {"bits_per_byte": bits_of(method, data.test["texts"])}
    if not isinstance(method, Method):  # counts have no cascade
        return found
    # without a cascade nothing is removed
    passed = Counter(method.passed or [row["text"] for row in data.test["rows"]])
    return found | recall(data.test["rows"], passed)
