"""DrBERT on trial: is an encoder better for a decoder above it that is cut off afterwards?"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from pretrial.compare.kit import packages
from pretrial.compare.kit.arms import ablations
from pretrial.compare.kit.encoder_trial import (
    DOCSTRINGS,
    SET_UP,
    Task,
    asked,
    encoder_trial,
    sized,
)
from pretrial.compare.kit.masked_scores import masked_scores
from pretrial.compare.trial import Arm, Data, Trial, Values
from pretrial.methods.text import mlm
from pretrial.methods.text.drbert.config import Config
from pretrial.train.budget import Budget

_NOTES = (
    *SET_UP,
    "The paper has 110 M parameters in the encoder and more.",
    "Assumed, as no source was found: half of the hidden keys are shown in the first layer. From a"
    " summary of the paper: two layers, and a fifth of the tokens is read from the encoder.",
    "Four layers cut back to two are plain layers in the decoder's place, which is the same.",
    "mlm_loss is that of the head on the encoder's own states, since the decoder is cut off;"
    " decoder_mlm_loss is with it.",
    "All arms have a linear schedule after a warm-up, batches of 32 and windows of 32 tokens.",
)
_EQUAL = {
    "flops": "At equal FLOPs, the decoder's included, BERT takes about twice the steps;"
    " --equal steps compares at equal steps.",
    "steps": "At equal steps the decoder's work comes on top: DrBERT and the deeper BERT that is"
    " cut back spend about twice the FLOPs of BERT.",
}


def trial(
    *,
    data: str = DOCSTRINGS,
    equal: Literal["flops", "steps"] = "flops",
    task: Task = "tokens",
    num_labels: int = 300,
    tiny: bool = False,
) -> Trial:
    """A decoder that is cut off afterwards, at an equal budget with its work included.

    Args:
        data: rows with `text` and, where texts of one origin are alike, `module`; for packages also
            with `label`.
        equal: what all arms have as much of; steps leave the decoder's work out of the account, and
            have a record of their own.
        task: what counts: the loss at hidden tokens (tokens), which of eight tokens stands at a
            place (choice), the accuracy of naming packages after fine-tuning (classify), or the
            loss of a linear classifier on frozen vectors (probe).
        num_labels: labelled texts to learn from, for packages.
        tiny: networks and a budget small enough for a test.
    """
    metric, direction = asked("drbert", task, ("tokens", "choice", "classify", "probe"))
    name, cost = ("", "equal FLOPs") if equal == "flops" else ("steps", "equal steps")
    made = encoder_trial(
        data=data,
        num_labels=num_labels,
        task=task,
        arms=_arms(task, tiny),
        tokens_of=("mlm", sized(mlm.Config, task, tiny)),
        notes=(*_NOTES[:6], _EQUAL[equal], *_NOTES[6:]),
        tiny=tiny,
        how=_from_encoder,
        further=_with_decoder if task == "tokens" else None,
        name=name,
        question="Is an encoder better for having been trained under a decoder that is cut off, at"
        f" {cost}?",
        claims=(
            ("drbert", "mlm", metric, direction),
            ("drbert", "cut", metric, direction),
            ("drbert", "mix", metric, direction),
            ("mix", "cut", metric, direction),
        ),
    )
    return replace(made, budget=Budget(4 if tiny else 3000, "steps")) if equal == "steps" else made


def _arms(task: Task, tiny: bool) -> tuple[Arm, ...]:
    """The arms; an ablation differs from DrBERT in one setting."""
    config, masking = (sized(kind, task, tiny) for kind in (Config, mlm.Config))

    ablation = ablations("drbert", config)
    plain = replace(config, design="blocks")
    return (
        Arm("drbert", "DrBERT (gua+mix)", "method", "drbert", config),
        Arm("mlm", "BERT", "baseline", "mlm", masking),
        Arm("cut", "BERT with two more layers, cut back", "baseline", "drbert", plain),
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


def _from_encoder(method: Any) -> dict[str, Any]:
    """The options of `logits` with which the decoder takes no part."""
    return {"read": "encoder"} if hasattr(method, "decoder") else {}


def _with_decoder(method: Any, data: Data) -> Values:
    """The loss at hidden tokens with the decoder, where there is one."""
    texts, groups = zip(*((r["text"], packages.group_of(r)) for r in data.test[1]), strict=True)
    if not hasattr(method, "decoder"):
        return {}
    found = masked_scores(method, texts, method.config.max_length, groups)
    return {"decoder_mlm_loss": found["mlm_loss"]}
