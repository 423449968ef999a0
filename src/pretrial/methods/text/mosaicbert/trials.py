"""MosaicBERT on trial: do its parts pay for themselves against BERT, padding's work counted?"""

from __future__ import annotations

from typing import Any

from pretrial.compare.kit.arms import ablations
from pretrial.compare.kit.encoder_trial import (
    DOCSTRINGS,
    SET_UP,
    Task,
    asked,
    encoder_trial,
    sized,
)
from pretrial.compare.kit.floors import TokenCounts
from pretrial.compare.kit.masked_scores import beyond
from pretrial.compare.trial import Arm, Data, Trial, Values
from pretrial.methods.text import mlm
from pretrial.methods.text.mosaicbert.config import Config

_LONGER = (2, 4)  # times the length of training
_NOTES = (
    *SET_UP,
    "The paper has 137 M parameters, and 286 million texts of up to 128 tokens.",
    "The paper's figure is accuracy against wall-clock. The budget here is FLOPs, padding's"
    " included, so that it does not depend on what else the machine does; --budget 60s compares at"
    " equal time and --budget 3000steps at equal steps.",
    "The baseline computes its head at the hidden tokens only, which the paper's BERT does not, so"
    " it is the faster of the two.",
    "FlashAttention and LayerNorm in bfloat16 are not measured: these are CPU runs in fp32.",
    "Gated layers have two thirds of BERT's inner width: parameters are equal within 1 %.",
    "Both have a warm-up of a tenth and batches of 32; betas, decay and the end of the schedule are"
    " those of each one's release. Biases on distances alone do not tell what stands before a token"
    " from what stands behind it; the ablation with learned positions can.",
    "mlm_loss, mlm_accuracy and eval/loss are at 15 % on texts of unseen modules. mlm_loss_32, _64"
    " and _128 are on one set of long texts, cut into windows of so many tokens; learned positions"
    " were trained on 32, and there are 64 of them.",
)


def trial(
    *,
    data: str = DOCSTRINGS,
    task: Task = "tokens",
    num_labels: int = 300,
    tiny: bool = False,
) -> Trial:
    """MosaicBERT against BERT at an equal budget, all of padding's work included.

    Args:
        data: rows with `text` and, where texts of one origin are alike, `module`; for packages also
            with `label`.
        task: what counts: the loss at hidden tokens (tokens), which of eight tokens stands at a
            place (choice), the accuracy of naming packages after fine-tuning (classify), or the
            loss of a linear classifier on frozen vectors (probe).
        num_labels: labelled texts to learn from, for packages.
        tiny: networks and a budget small enough for a test.
    """
    metric, direction = asked("mosaicbert", task, ("tokens", "choice", "classify", "probe"))
    parts = ("padded", "whole-tail", "positions", "ungated", "mask-15")
    return encoder_trial(
        data=data,
        num_labels=num_labels,
        task=task,
        arms=_arms(task, tiny),
        tokens_of=("mlm", sized(mlm.Config, task, tiny)),
        notes=_NOTES,
        tiny=tiny,
        further=_longer if task == "tokens" else None,
        question="Does an encoder with MosaicBERT's parts learn more than BERT at an equal budget,"
        " with the work on padding counted?",
        claims=(
            ("mosaicbert", "mlm", metric, direction),
            *(("mosaicbert", part, metric, direction) for part in parts),
        ),
    )


def _arms(task: Task, tiny: bool) -> tuple[Arm, ...]:
    """The arms; an ablation leaves out one of MosaicBERT's parts."""
    config, masking = (sized(kind, task, tiny, evaluate_every=500) for kind in (Config, mlm.Config))
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


def _longer(method: Any, data: Data) -> Values:
    """The loss in longer windows than those of training, as far as they can be read."""
    if isinstance(method, TokenCounts):
        return {}
    length = method.config.max_length
    return beyond(
        method,
        [row["text"] for row in data.test[1]],
        (length, *(times * length for times in _LONGER)),
    )
