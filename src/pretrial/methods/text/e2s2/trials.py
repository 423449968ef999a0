"""E2S2 on trial: does work for the encoder pay, FLOP for FLOP, against text infilling alone?"""

from __future__ import annotations

from functools import partial
from typing import Any

from pretrial.compare.kit import edited_texts, encoder_trial
from pretrial.compare.kit.arms import ablations
from pretrial.compare.kit.encoder_trial import DOCSTRINGS, Task, data_of
from pretrial.compare.kit.floors import TokenCounts
from pretrial.compare.kit.packages import group_of
from pretrial.compare.kit.warm_starts import untrained, warm_start
from pretrial.compare.trial import Arm, Data, Trial, Values
from pretrial.evaluate.floors import TfIdf
from pretrial.methods.text.e2s2.config import Config
from pretrial.methods.text.e2s2.data import Views
from pretrial.train.budget import Budget

_LEAST_TOKENS = 12  # of a text that is edited, shuffled or parted

_NOTES = (
    "0.3 M parameters and a megabyte of docstrings in windows of 32 tokens, of a vocabulary of 300:"
    " hardly more than letters. The paper goes on from BART-large with 406 M.",
    "Every arm of a seed goes on from the same model, trained by infilling for twice the FLOPs that"
    " the arms then have. E2S2 makes two passes a step, so infilling alone takes twice the steps.",
    "What counts is what both sides are trained for: nats a token of texts of unseen modules,"
    " written from their view with masks. The floor copies all that is seen and writes the rest by"
    " counts of tokens; with the token before counted too it costs 0.44.",
    "Edited tokens and shuffled windows are found by a linear classifier on the encoder's states,"
    " which is near to what its head is trained for; the head itself is not used. Restoration is"
    " nats at the edited places given the wrong text, which E2S2 alone is trained to mend. Losses"
    " have the weights of the release.",
    "This is the third set-up. In the first, with BART's deviation of the first weights, 0.02, the"
    " encoder told no text from another; here it is 0.125. In the second, with 1,024 tokens and a"
    " tenth of the budget, the decoder copied nothing (3.9 nats a token), and frozen vectors named"
    " packages like random weights (0.24 to 0.22; TF-IDF: 0.45 to 0.49).",
)


def trial(
    *,
    data: str = DOCSTRINGS,
    task: Task = "infilling",
    num_labels: int = 300,
    num_texts: int = 400,
    pretrain_flops: float = 4e12,
    tiny: bool = False,
) -> Trial:
    """A small BART goes on with E2S2 or with infilling alone, and is asked what it knows of texts.

    Args:
        data: rows with `text` and, where texts of one origin are alike, `module`; for packages also
            with `label`.
        task: what counts: the loss of writing texts with hidden spans (infilling), which of eight
            tokens stands at a place (choice), the accuracy of naming packages after fine-tuning
            (classify), or the loss of a linear classifier on frozen vectors (probe).
        num_labels: labelled texts to learn from, for packages.
        num_texts: most texts to learn each of the other probes from, and to test it on.
        pretrain_flops: of the model that all arms go on from.
        tiny: networks and data small enough for a test.
    """
    takes: tuple[Task, ...] = ("infilling", "choice", "classify", "probe")
    metric, direction = encoder_trial.asked("e2s2", task, takes)
    config = encoder_trial.sized(Config, task, tiny)
    num_texts, pretrain_flops = (40, 1e9) if tiny else (num_texts, pretrain_flops)
    start, budget = config.infilling(), Budget(pretrain_flops, "flops")
    return encoder_trial.encoder_trial(
        data=data,
        num_labels=num_labels,
        task=task,
        arms=_arms(config),
        tokens_of=("e2s2", config),
        notes=_NOTES,
        tiny=tiny,
        flops=2e12,
        further=partial(_further, config, num_texts),
        question="Does an encoder-decoder whose encoder also finds noise and matches views know"
        " more of texts than one that goes on with infilling alone, at equal FLOPs?",
        claims=(
            ("e2s2", "infilling", metric, direction),
            ("e2s2", "infilling", "edit_f05", "higher"),
            ("e2s2", "infilling", "shuffle_found", "higher"),
            ("e2s2", "infilling", "half_mrr", "higher"),
            ("e2s2", "infilling", "restoration_loss", "lower"),
        ),
        counted=("train",),
        prepare=partial(warm_start, "e2s2", start, data_of(data, task, num_labels), budget),
    )


def _arms(config: Config) -> tuple[Arm, ...]:
    """The arms; `config` has all of E2S2."""
    infilling, ablation = config.infilling(), ablations("e2s2", config)
    random = partial(untrained, "e2s2", infilling)
    return (
        Arm("e2s2", "E2S2", "method", "e2s2", config),
        Arm("infilling", "text infilling alone", "baseline", "e2s2", infilling),
        Arm("before", "before going on", "control", "e2s2", infilling, trains=False),
        Arm("random", "random weights", "control", run=random, trains=False),
        ablation("no-denoise", "without finding noise", denoise_weight=0.0),
        ablation("no-contrast", "without the contrast", contrast_weight=0.0),
        ablation("shuffle", "shuffles only", replace_ratio=0.0),
        ablation("replace", "replacements only", shuffle_ratio=0.0),
        ablation("prompt", "vectors by a prompt", pooling="prompt"),
    )


def _further(config: Config, num_texts: int, method: Any, data: Data) -> Values:
    """What is measured of writers and of counts beside what a task measures."""
    if isinstance(method, TfIdf):
        return {}
    v, halves = Views(method.tokenizer, config), [[r["text"] for r in half] for half in data.test]
    how = method, v.frame, v.begin, v.special, v.ordinary, v.length, "masked"
    reader, bounds = edited_texts.Reader(*how), (_LEAST_TOKENS, num_texts)
    if isinstance(method, TokenCounts):
        hidden = config.infill_ratio, config.mean_length
        return {"infilling_loss": edited_texts.copied_losses(reader, halves[1], *bounds, *hidden)}
    groups = [group_of(row) for row in data.test[1]]
    return edited_texts.measure(reader, halves, *bounds, groups)
