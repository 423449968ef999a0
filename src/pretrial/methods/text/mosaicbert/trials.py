"""MosaicBERT on trial: do its parts pay for themselves against BERT, padding's work counted?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pretrial.compare.kit import packages
from pretrial.compare.kit.arms import ablations
from pretrial.compare.kit.encoder_trial import DOCSTRINGS, Measures, encoder_trial
from pretrial.compare.kit.masked_scores import beyond, masked_scores
from pretrial.compare.trial import Arm, Data, Trial
from pretrial.methods.text import mlm
from pretrial.methods.text.mosaicbert.config import Config
from pretrial.train.budget import Budget

_LONGER = (128, 256)  # lengths beyond that of training

_NOTES = (
    "1.1 M parameters and a megabyte of docstrings, of 42 tokens on average in windows of 64; the"
    " paper has 137 M parameters, and 286 million texts of up to 128 tokens.",
    "The paper's figure is accuracy against wall-clock. The budget here is FLOPs, padding's"
    " included, so that it does not depend on what else the machine does; --budget 60s compares at"
    " equal time and --budget 300steps at equal steps.",
    "The baseline computes its head at the hidden tokens only, which the paper's BERT does not, so"
    " it is the faster of the two.",
    "FlashAttention and LayerNorm in bfloat16 are not measured: these are CPU runs in fp32.",
    "Gated layers have two thirds of BERT's inner width: parameters are equal within 1 %.",
    packages.RECIPE,
    packages.PILOT,
    "Both have a peak learning rate of 1e-3, a warm-up of a tenth and batches of 32, and neither"
    " was tuned; betas, decay and the end of the schedule are those of each one's release.",
    "mlm_accuracy, mlm_loss and eval/loss are at 15 % on texts of the test modules. mlm_loss_64,"
    " _128 and _256 are on one set of long texts, cut into windows of so many tokens; learned"
    " positions cannot read more than 64.",
)


def trial(
    *,
    data: str = DOCSTRINGS,
    task: packages.Task = "classify",
    num_labels: int = 300,
    tiny: bool = False,
) -> Trial:
    """MosaicBERT against BERT at an equal budget, all of padding's work included.

    Args:
        data: rows with `text`, `label` and, where texts of one origin are alike, `module`.
        task: what counts: accuracy after fine-tuning (classify), or of a linear classifier on
            frozen vectors (probe).
        num_labels: labelled texts to learn from.
        tiny: networks and a budget small enough for a test.
    """
    metric = packages.METRICS[task]
    parts = ("padded", "whole-tail", "positions", "ungated", "mask-15")
    return encoder_trial(
        data=data,
        num_labels=num_labels,
        notes=_NOTES,
        task=task,
        tiny=tiny,
        split=_data,
        further=_hidden_tokens,
        question="Does an encoder with MosaicBERT's parts learn more than BERT at an equal budget,"
        " with the work on padding counted?",
        arms=_arms(tiny),
        budget=Budget(2e9 if tiny else 4e12, "flops"),
        claims=(
            ("mosaicbert", "mlm", metric, "higher"),
            ("mosaicbert", "mlm", "mlm_accuracy", "higher"),
            ("mlm", "random", metric, "higher"),
            *(("mosaicbert", part, "mlm_accuracy", "higher") for part in parts),
        ),
    )


def _arms(tiny: bool) -> tuple[Arm, ...]:
    """The arms; an ablation leaves out one of MosaicBERT's parts."""
    config = replace(Config.tiny() if tiny else Config.small(), evaluate_every=40)
    masking = replace(mlm.Config.tiny() if tiny else mlm.Config.small(), evaluate_every=40)

    without = ablations("mosaicbert", config)
    return (
        Arm("mosaicbert", "MosaicBERT", "method", "mosaicbert", config),
        Arm("mlm", "BERT, padded", "baseline", "mlm", masking),
        Arm("random", "random weights", "control", "mlm", masking, trains=False),
        without("padded", "with padding", unpadded=False),
        without("whole-tail", "last layer and head on all tokens", masked_tail=False),
        without("positions", "learned positions", alibi=False),
        without("ungated", "BERT's feed-forward layers", gated=False),
        without("mask-15", "15 % hidden", mask_ratio=0.15),
    )


def _data(source: str, num_labels: int) -> Data:
    """The data of `packages`, with some of its test texts to follow the loss on."""
    found = packages.data(source, num_labels)
    return replace(found, held_out=found.test[1][::8])


def _hidden_tokens(method: Any, data: Data) -> Measures:
    """Scores at hidden tokens, of longer texts as well."""
    texts, length = [row["text"] for row in data.test[1]], method.config.max_length
    scores = masked_scores(method, texts[::8], length)
    return {**scores, **beyond(method, texts, (length, *_LONGER))}
