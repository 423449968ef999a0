"""The trial of PolyCom: a small Llama, or smooth functions (in `compare.kit.smooth_functions`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Literal

from torch import nn

from pretrial.compare.kit import raw_texts
from pretrial.compare.kit.arms import ablations
from pretrial.compare.kit.floors import trigram_arm
from pretrial.compare.kit.smooth_functions import approximation_trial
from pretrial.compare.trial import Arm, Gate, Trial, Tuning
from pretrial.methods.text.polycom.config import Config
from pretrial.methods.text.polycom.network.language_model import POLYNOMIALS
from pretrial.methods.text.polycom.network.polynomial import PolynomialActivation
from pretrial.train.budget import Budget

_TEXTS = "builtin:stdlib-docstrings"
_NOTES = (
    "0.5 M parameters and a megabyte of docstrings; the paper has 1.3 B and 100 B tokens, and a"
    " mixture of experts.",
    "All arms have as many parameters, but for four coefficients a layer: layers without a gate are"
    " 1.5 times as wide. The budget is in tokens, which cost the same matrix products in all arms.",
    "One recipe for all: AdamW with betas 0.9 and 0.95, weight decay 0.1, a peak learning rate of"
    " 3e-3 but for what is chosen, a cosine to a tenth after a tenth of warm-up, 8 windows of 64"
    " tokens a step.",
    "Measured on docstrings of modules that were not trained on, in bits per byte.",
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
    ablation = ablations("polycom", poly)
    others = (
        ("swiglu", "SwiGLU", poly.with_activation("silu", gated=True)),
        ("gelu", "GELU", poly.with_activation("gelu")),
        ("relu", "ReLU", poly.with_activation("relu")),
    )
    return Trial(
        question="Does a small language model learn more with PolyNorm than with SwiGLU, GELU or"
        " ReLU, at equal parameters and tokens?",
        data=partial(raw_texts.data, data, num_test),
        arms=(
            Arm("polynorm", "PolyNorm", "method", "polycom", poly),
            Arm("polyrelu", "PolyReLU", "method", "polycom", poly.with_activation("polyrelu")),
            *(Arm(name, label, "baseline", "polycom", config) for name, label, config in others),
            ablation("order2", "PolyNorm, order 2", order=2),
            ablation("order4", "PolyNorm, order 4", order=4),
            ablation("fixed", "coefficients not trained", trained=False),
            ablation("powers", "powers without norm", activation="powers"),
            ablation("squared", "squared ReLU", activation="relu2"),
            trigram_arm(),
        ),
        measure=raw_texts.bits_per_byte,
        metric="bits_per_byte",
        direction="lower",
        useful=0.01,
        relative=True,
        gate=Gate(("trigrams",)),
        tuning=Tuning((1e-3, 3e-3, 1e-2)),
        budget=Budget(min(tokens, 3000) if tiny else tokens, "tokens"),
        claims=(
            *(("polynorm", name, "bits_per_byte", "lower") for name, _, _ in others),
            ("polyrelu", "relu", "bits_per_byte", "lower"),
        ),
        notes=() if tiny else _NOTES,
    )


def _functions(steps: int) -> Trial:
    """The trial on smooth functions."""

    def polynomial(name: str) -> Callable[[], nn.Module]:
        return partial(PolynomialActivation, *POLYNOMIALS[name], recompute=False)

    return approximation_trial(
        (
            ("polynorm", "PolyNorm", "method", polynomial("polynorm")),
            ("polyrelu", "PolyReLU", "method", polynomial("polyrelu")),
            ("gelu", "GELU", "baseline", nn.GELU),
            ("relu", "ReLU", "baseline", nn.ReLU),
        ),
        steps,
        question="Do small networks with polynomial activations approximate smooth functions better"
        " than those with GELU or ReLU, at equal parameters and steps?",
        claims=tuple(
            (ours, theirs, "relative_rmse", "lower")
            for ours in ("polynorm", "polyrelu")
            for theirs in ("gelu", "relu")
        ),
    )
