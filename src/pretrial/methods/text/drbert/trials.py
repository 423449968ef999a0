"""DrBERT on trial: is an encoder better for a decoder above it that is cut off afterwards?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from pretrial.compare.kit import packages
from pretrial.compare.kit.arms import ablations
from pretrial.compare.kit.encoder_trial import DOCSTRINGS, Measures, encoder_trial
from pretrial.compare.kit.masked_scores import masked_scores
from pretrial.compare.trial import Arm, Data, Trial
from pretrial.methods.text import mlm
from pretrial.methods.text.drbert.config import Config
from pretrial.train.budget import Budget

_NOTES = (
    "1.1 M parameters in the encoder and a megabyte of docstrings; the paper has 110 M and more.",
    "Assumed, as no source was found: half of the hidden keys are shown in the first layer. From a"
    " summary of the paper: two layers, and a fifth of the tokens is read from the encoder.",
    "Six layers cut back to four are plain layers in the decoder's place, which is the same.",
    "encoder_mlm_loss is that of the head on the encoder's own states, without decoder.",
    "All encoders end near the plateau of token frequencies, at 6.3 to 6.5 nats (7.6 with random"
    " weights): the budget is too small for the arms to part, and --budget 2e13flops is a longer"
    " look.",
    packages.RECIPE,
    packages.PILOT,
    "All arms have a linear schedule after a warm-up, a peak learning rate of 1e-3, batches of 32"
    " and windows of 64 tokens; none was tuned.",
)
_EQUAL = {
    "flops": "At equal FLOPs, the decoder's included, BERT takes about 1.4 times the steps;"
    " --equal steps compares at equal steps.",
    "steps": "At equal steps the decoder's work comes on top: DrBERT and the deeper BERT that is"
    " cut back spend about 1.4 times the FLOPs of BERT.",
}


def trial(
    *,
    data: str = DOCSTRINGS,
    equal: Literal["flops", "steps"] = "flops",
    task: packages.Task = "classify",
    num_labels: int = 300,
    tiny: bool = False,
) -> Trial:
    """A decoder that is cut off afterwards, at an equal budget with its work included.

    Args:
        data: rows with `text`, `label` and, where texts of one origin are alike, `module`.
        equal: what all arms have as much of; steps leave the decoder's work out of the account, and
            have a record of their own.
        task: what counts: accuracy after fine-tuning (classify), or of a linear classifier on
            frozen vectors (probe).
        num_labels: labelled texts to learn from.
        tiny: networks and a budget small enough for a test.
    """
    metric = packages.METRICS[task]
    amounts = {"flops": 2e9 if tiny else 3e12, "steps": 4 if tiny else 180}
    name, cost = ("", "equal FLOPs") if equal == "flops" else ("steps", "equal steps")
    return encoder_trial(
        data=data,
        num_labels=num_labels,
        notes=(*_NOTES[:2], _EQUAL[equal], *_NOTES[2:]),
        task=task,
        tiny=tiny,
        further=_hidden_tokens,
        name=name,
        question="Is an encoder better for having been trained under a decoder that is cut off, at"
        f" {cost}?",
        arms=_arms(tiny),
        budget=Budget(amounts[equal], equal),
        claims=(
            ("drbert", "mlm", metric, "higher"),
            ("drbert", "cut", metric, "higher"),
            ("drbert", "cut", "encoder_mlm_loss", "lower"),
            ("mlm", "random", metric, "higher"),
            ("drbert", "mix", metric, "higher"),
            ("mix", "cut", metric, "higher"),
        ),
    )


def _arms(tiny: bool) -> tuple[Arm, ...]:
    """The arms; an ablation differs from DrBERT in one setting."""
    config = Config.tiny() if tiny else Config.small()
    masking = mlm.Config.tiny() if tiny else mlm.Config.small()

    ablation = ablations("drbert", config)
    plain = replace(config, design="blocks")
    return (
        Arm("drbert", "DrBERT (gua+mix)", "method", "drbert", config),
        Arm("mlm", "BERT", "baseline", "mlm", masking),
        Arm("cut", "BERT with two more layers, cut back", "control", "drbert", plain),
        Arm("random", "random weights", "control", "mlm", masking, trains=False),
        ablation("mix", "random output alone", design="mix"),
        ablation("gua", "gradual unmasking alone", design="gua"),
        ablation("emd", "positions in the queries", design="emd"),
        ablation("half", "half from the encoder", encoder_prob=0.5),
        ablation("layers-1", "one layer", decoder_layers=1),
        ablation("layers-4", "four layers", decoder_layers=4),
        ablation("visible-0", "no hidden key shown", visible_ratio=0.0),
        ablation("visible-1", "all hidden keys shown", visible_ratio=1.0),
    )


def _hidden_tokens(method: Any, data: Data) -> Measures:
    """The losses at hidden tokens, with the decoder and without."""
    texts, length = [row["text"] for row in data.test[1][::8]], method.config.max_length
    how = {"read": "encoder"} if hasattr(method, "decoder") else {}
    return {
        "mlm_loss": masked_scores(method, texts, length)["mlm_loss"],
        "encoder_mlm_loss": masked_scores(method, texts, length, **how)["mlm_loss"],
    }
