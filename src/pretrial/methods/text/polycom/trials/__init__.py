"""The trial of PolyCom: a small Llama, or smooth functions (in `functions`)."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, Literal

from pretrial.compare.trial import Arm, Data, Trial
from pretrial.data.reading.sources import load
from pretrial.errors import UserError
from pretrial.evaluate.perplexity import bits_per_byte
from pretrial.methods.text.polycom.config import Config
from pretrial.methods.text.polycom.trials.functions import Approximators, approximate
from pretrial.train.budget import Budget

_TEXTS = "builtin:stdlib-docstrings"
_NUM_WATCHED = 60  # texts whose loss is followed in training

_NOTES = (
    "0.5 M parameters and a megabyte of docstrings; the paper has 1.3 B and 100 B tokens, and a"
    " mixture of experts.",
    "All arms have as many parameters, but for four coefficients a layer: layers without a gate are"
    " 1.5 times as wide. The budget is in tokens, which cost the same matrix products in all arms.",
    "One recipe for all: AdamW with betas 0.9 and 0.95, weight decay 0.1, a peak learning rate of"
    " 3e-3, a cosine to a tenth after a tenth of warm-up, 8 windows of 64 tokens a step. None of it"
    " was tuned. Three seeds by default.",
    "Measured on docstrings of modules that were not trained on, in bits per byte. The curves of"
    " eval/loss, on others of that kind, tell when an arm reaches the last loss of another.",
)
_FUNCTION_NOTES = (
    "Nine networks with two hidden layers of 32: the product of sines, Runge's function and a cubic"
    " in 2, 3 and 4 dimensions, trained side by side on fresh points.",
    "The error is the root mean square over the target's deviation on 4,096 points; items are the"
    " nine networks.",
    "Adam with a peak learning rate of 1e-2 and a cosine for all arms, not tuned.",
)


def trial(
    *,
    data: str = _TEXTS,
    part: Literal["language", "functions"] = "language",
    tokens: float = 250_000,
    num_test: int = 300,
    tiny: bool = False,
) -> Trial:
    """PolyNorm against other activations at equal parameters and tokens.

    Args:
        data: a built-in source of texts with the splits train, valid and test.
        part: "functions" approximates smooth functions instead of training language models.
        tokens: that each language model is trained on.
        num_test: texts to test on.
        tiny: networks and budgets small enough for a test.
    """
    if part == "functions":
        return _functions(60 if tiny else 1500)
    poly = Config.tiny() if tiny else replace(Config.small(), evaluate_every=50)
    ablation = partial(Arm, role="ablation", method="polycom", default=False)
    others = (
        ("swiglu", "SwiGLU", poly.with_activation("silu", gated=True)),
        ("gelu", "GELU", poly.with_activation("gelu")),
        ("relu", "ReLU", poly.with_activation("relu")),
    )
    return Trial(
        question="Does a small language model learn more with PolyNorm than with SwiGLU, GELU or"
        " ReLU, at equal parameters and tokens?",
        data=partial(_data, data, num_test),
        arms=(
            Arm("polynorm", "PolyNorm", "method", "polycom", poly),
            Arm("polyrelu", "PolyReLU", "method", "polycom", poly.with_activation("polyrelu")),
            *(Arm(name, label, "baseline", "polycom", config) for name, label, config in others),
            ablation("order2", "PolyNorm, order 2", config=replace(poly, order=2)),
            ablation("order4", "PolyNorm, order 4", config=replace(poly, order=4)),
            ablation("fixed", "coefficients not trained", config=replace(poly, trained=False)),
            ablation("powers", "powers without norm", config=poly.with_activation("powers")),
            ablation("squared", "squared ReLU", config=poly.with_activation("relu2")),
        ),
        measure=_bits_per_byte,
        metric="bits_per_byte",
        direction="lower",
        budget=Budget(min(tokens, 3000) if tiny else tokens, "tokens"),
        claims=(
            *(("polynorm", name, "bits_per_byte", "lower") for name, _, _ in others),
            ("polyrelu", "relu", "bits_per_byte", "lower"),
            ("swiglu", "gelu", "bits_per_byte", "lower"),
            ("gelu", "relu", "bits_per_byte", "lower"),
        ),
        notes=() if tiny else _NOTES,
    )


def _data(source: str, num_test: int) -> Data:
    train, valid, test = (load(f"{source}?split={part}") for part in ("train", "valid", "test"))
    if len(test) < num_test:
        raise UserError(f"{source} has {len(test)} texts to test on: lower --num-test")
    texts = [row["text"] for row in test[:num_test]]
    name = f"{source}: {len(train)} texts"
    return Data(list(train), held_out=list(valid)[:_NUM_WATCHED], test=texts, name=name)


def _bits_per_byte(method: Any, data: Data, seed: int) -> dict[str, list[float]]:
    """Of each text."""
    return {"bits_per_byte": bits_per_byte(method, data.test)}


def _functions(steps: int) -> Trial:
    """The trial on smooth functions."""
    arms = (
        ("polynorm", "PolyNorm", "method"),
        ("polyrelu", "PolyReLU", "method"),
        ("gelu", "GELU", "baseline"),
        ("relu", "ReLU", "baseline"),
    )
    return Trial(
        question="Do small networks with polynomial activations approximate smooth functions better"
        " than those with GELU or ReLU, at equal parameters and steps?",
        data=lambda: Data(train=range(256), name="points between -1 and 1"),
        arms=tuple(
            Arm(name, label, role, run=partial(approximate, name))  # type: ignore[arg-type]
            for name, label, role in arms
        ),
        measure=_errors,
        metric="relative_rmse",
        direction="lower",
        budget=Budget(steps, "steps"),
        claims=tuple(
            (ours, theirs, "relative_rmse", "lower")
            for ours in ("polynorm", "polyrelu")
            for theirs in ("gelu", "relu")
        ),
        notes=_FUNCTION_NOTES,
    )


def _errors(networks: Approximators, data: Data, seed: int) -> dict[str, list[float]]:
    return {"relative_rmse": networks.relative_rmse()}
