"""The trial of ELECTRA against the masked language model."""

from __future__ import annotations

from pretrial.compare.kit import packages
from pretrial.compare.kit.arms import ablations
from pretrial.compare.kit.encoder_trial import DOCSTRINGS, encoder_trial
from pretrial.compare.trial import Arm, Trial
from pretrial.methods.text import mlm
from pretrial.methods.text.electra.config import Config
from pretrial.train.budget import Budget

_NOTES = (
    "1.1 M parameters and a megabyte of docstrings; the paper has 14 M and more, and 3.3 billion"
    " tokens.",
    packages.RECIPE,
    packages.PILOT,
    "Both objectives have the schedule of the release, linear after a warm-up, with a peak learning"
    " rate of 1e-3, batches of 32 and windows of 64 tokens; neither was tuned.",
)


def trial(
    *,
    data: str = DOCSTRINGS,
    task: packages.Task = "classify",
    num_labels: int = 300,
    tiny: bool = False,
) -> Trial:
    """Replaced-token detection against masking at an equal budget, the generator's work included.

    Args:
        data: rows with `text`, `label` and, where texts of one origin are alike, `module`.
        task: what counts: accuracy after fine-tuning (classify), or of a linear classifier on
            frozen vectors (probe).
        num_labels: labelled texts to learn from.
        tiny: networks and a budget small enough for a test.
    """
    config = Config.tiny() if tiny else Config.small()
    masking = mlm.Config.tiny() if tiny else mlm.Config.small()
    metric = packages.METRICS[task]
    ablation = ablations("electra", config)
    return encoder_trial(
        data=data,
        num_labels=num_labels,
        notes=_NOTES,
        task=task,
        tiny=tiny,
        question="Does an encoder learn more from detecting replaced tokens than from masked ones,"
        " at an equal budget with the generator counted?",
        arms=(
            Arm("electra", "ELECTRA", "method", "electra", config),
            Arm("mlm", "masked language model", "baseline", "mlm", masking),
            Arm("random", "random weights", "control", "mlm", masking, trains=False),
            ablation("masked", "loss on the masked 15 %", loss_on="masked"),
            ablation("uniform", "uniform generator", generator="uniform"),
            ablation("untied", "untied embeddings", tie="none"),
            ablation("half", "generator of half width", generator_width_ratio=0.5),
            ablation("replace-mlm", "replace MLM", objective="replace_mlm"),
            ablation("all-tokens", "all-tokens MLM", objective="all_tokens_mlm"),
        ),
        budget=Budget(2e9 if tiny else 4e12, "flops"),
        claims=(
            ("electra", "mlm", metric, "higher"),
            ("mlm", "random", metric, "higher"),
            *(("electra", other, metric, "higher") for other in ("masked", "uniform", "untied")),
        ),
    )
