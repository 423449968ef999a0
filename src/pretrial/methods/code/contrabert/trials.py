"""ContraBERT on trial: do vectors of functions stand renaming, beyond what was trained on?"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from pretrial.compare.kit import renamed
from pretrial.compare.kit.arms import ablations
from pretrial.compare.kit.warm_starts import untrained, warm_start
from pretrial.compare.trial import Arm, Trial
from pretrial.methods.code.contrabert.config import Config
from pretrial.methods.code.contrabert.data import CODE_OPERATORS
from pretrial.train.budget import Budget

_METRIC = "accuracy_8"
_PRESERVING = tuple(name for name in CODE_OPERATORS if name != "sample_lines")
_WITHOUT_RENAMING = tuple(name for name in CODE_OPERATORS if not name.startswith("rename"))

_NOTES = (
    "0.2 M parameters, pre-trained for half a minute on functions of Python's standard library; the"
    " paper goes on from CodeBERT with 125 M.",
    "All arms go on from the same encoder, one a seed, at equal FLOPs, the passes of the variants"
    " and of the momentum encoder counted: ContraBERT takes less than half of the steps.",
    "A function is found if the vector of its renamed form is nearer to its own than to those of"
    " all others, which are of modules that no arm has read. Functions have four variables or more"
    " that can be renamed; at 8, those with fewer have all renamed. New names are drawn from the"
    " names of the other test functions, not from those that training draws from.",
    "The arm without renaming is trained without the two operators that rename: what it gains was"
    " not trained on.",
    "Vectors are means over all tokens, in all arms: in a pilot the state of the first token, which"
    " the method has by default, had learned little within the minutes that a trial has. Random"
    " weights make such means a sum of random vectors of tokens, which is a strong control.",
    "The peak learning rate is 2e-3 for all arms, and batches are of 32; neither was tuned."
    " Temperature 0.07 is MoCo's; momentum and queue were set once, to fit the few steps.",
)


def trial(
    *,
    data: str = "builtin:stdlib-code",
    num_functions: int = 300,
    num_train: int = 4000,
    num_misuse: int = 0,
    pretrain_flops: float = 4e11,
    tiny: bool = False,
) -> Trial:
    """An encoder goes on with variants or without, and is asked for functions that were renamed.

    Args:
        data: rows with `code`, and `comment` or `docstring`; rows with one `module` stay on one
            side of the split.
        num_functions: functions to search among.
        num_train: most functions to train on.
        num_misuse: functions to learn to find a misused variable from; 0 leaves that task out.
        pretrain_flops: of the encoder that all arms go on from.
        tiny: networks and data small enough for a test.
    """
    config = Config.small()
    if tiny:
        config, num_functions, num_train, pretrain_flops = Config.tiny(), 40, 400, 1e9
    masking = replace(config, contrast_weight=0.0, mlm_on_variants=False)
    rows = partial(renamed.data, data, num_functions, num_train, num_misuse, draws="contrabert")

    return Trial(
        question="After a function's variables were renamed, is its vector still the nearest to its"
        " own, more often if the encoder went on with variants than with masked tokens alone?",
        data=rows,
        arms=_arms(config, masking),
        measure=renamed.measure,
        metric=_METRIC,
        direction="higher",
        budget=Budget(2e9 if tiny else 6e11, "flops"),
        claims=(
            ("contrabert", "mlm", _METRIC, "higher"),
            ("no-renaming", "mlm", _METRIC, "higher"),
            ("contrabert", "augmented", _METRIC, "higher"),
            ("contrabert", "mlm", "accuracy_1", "higher"),
            ("contrabert", "random", _METRIC, "higher"),
        ),
        counted=("train",),
        prepare=partial(warm_start, "contrabert", masking, rows, Budget(pretrain_flops, "flops")),
        notes=_NOTES,
    )


def _arms(config: Config, masking: Config) -> tuple[Arm, ...]:
    """The arms; `masking` has masked tokens alone."""
    random_weights = partial(untrained, "contrabert", masking)
    ablation = ablations("contrabert", config)
    other_names = replace(config, code_operators=_WITHOUT_RENAMING)
    augmented = replace(config, contrast_weight=0.0)
    preserving = {"code_operators": _PRESERVING, "text_operators": ()}
    return (
        Arm("contrabert", "ContraBERT", "method", "contrabert", config),
        Arm("no-renaming", "ContraBERT without renaming", "method", "contrabert", other_names),
        Arm("mlm", "masked tokens alone", "baseline", "contrabert", masking),
        Arm("augmented", "masked tokens, in variants too", "control", "contrabert", augmented),
        Arm("before", "before going on", "control", "contrabert", masking, trains=False),
        Arm("random", "random weights", "control", run=random_weights, trains=False),
        ablation("code-only", "operators on code", text_operators=()),
        ablation("text-only", "operators on comments", code_operators=()),
        ablation("preserving", "operators that keep meaning", **preserving),
        ablation("no-mlm", "contrast alone", mlm_weight=0.0),
    )
