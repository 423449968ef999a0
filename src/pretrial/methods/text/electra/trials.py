"""The trial of ELECTRA against the masked language model."""

from __future__ import annotations

from pretrial.compare.kit.arms import ablations
from pretrial.compare.kit.encoder_trial import (
    DOCSTRINGS,
    SET_UP,
    Task,
    asked,
    encoder_trial,
    sized,
)
from pretrial.compare.trial import Arm, Trial
from pretrial.methods.text import mlm
from pretrial.methods.text.electra.config import Config

_NOTES = (
    *SET_UP,
    "The paper has 14 M parameters and more, and 3.3 billion tokens; its tasks are fine-tuned with"
    " thousands of labels. Here each model chooses among eight tokens as it is: masking by what it"
    " predicts at the mask, ELECTRA by how original each of the eight looks in its place.",
    "Two weights, of the score and of how common a token is, are fitted for every model on a"
    " twentieth of the modules, which is neither trained nor tested on.",
    "Both objectives have the schedule of the release, linear after a warm-up, and batches of 32.",
    "In pilots with a peak of 5e-3, which suits masking, the discriminator never got beyond how"
    " common tokens are; with 2e-3 it began to after 2,000 steps. Every arm may choose half of"
    " 2.5e-3, that, or its double.",
)


def trial(
    *,
    data: str = DOCSTRINGS,
    task: Task = "choice",
    num_labels: int = 300,
    tiny: bool = False,
) -> Trial:
    """Replaced-token detection against masking at an equal budget, the generator's work included.

    Args:
        data: rows with `text` and, where texts of one origin are alike, `module`; for packages also
            with `label`.
        task: what counts: which of eight tokens stands at a place (choice), the accuracy of
            naming packages after fine-tuning (classify), or the loss of a linear classifier on
            frozen vectors (probe).
        num_labels: labelled texts to learn from, for packages.
        tiny: networks and a budget small enough for a test.
    """
    config, masking = (sized(kind, task, tiny) for kind in (Config, mlm.Config))
    metric, direction = asked("electra", task, ("choice", "classify", "probe"))
    ablation = ablations("electra", config)
    others = [
        ablation("masked", "loss on the masked 15 %", loss_on="masked"),
        ablation("uniform", "uniform generator", generator="uniform"),
        ablation("untied", "untied embeddings", tie="none"),
        ablation("half", "generator of half width", generator_width_ratio=0.5),
    ]
    if task != "choice":  # these name tokens where they see drawn ones, and choose in neither way
        others += [
            ablation("replace-mlm", "replace MLM", objective="replace_mlm"),
            ablation("all-tokens", "all-tokens MLM", objective="all_tokens_mlm"),
        ]
    return encoder_trial(
        data=data,
        num_labels=num_labels,
        task=task,
        arms=(
            Arm("electra", "ELECTRA", "method", "electra", config),
            Arm("mlm", "masked language model", "baseline", "mlm", masking),
            Arm("random", "random weights", "control", "mlm", masking, trains=False),
            *others,
        ),
        tokens_of=("mlm", masking),
        notes=_NOTES,
        tiny=tiny,
        question="Does an encoder learn more from detecting replaced tokens than from masked ones,"
        " at an equal budget with the generator counted?",
        claims=(
            ("electra", "mlm", metric, direction),
            *(("electra", other, metric, direction) for other in ("masked", "uniform", "untied")),
        ),
    )
