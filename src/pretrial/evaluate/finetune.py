"""Fine-tuning on few labels: the whole model learns with a new head."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pretrial.errors import UserError
from pretrial.evaluate.labelled import read_labelled, scored, split_labelled
from pretrial.evaluate.layer_decay import decayed_optims
from pretrial.evaluate.result import Result

if TYPE_CHECKING:
    from pretrial.train.stage import Trainable


def measure_finetuning(
    method: Any,
    data: Sequence[Any],
    *,
    num_train: int = 500,
    epochs: int = 10,
    batch_size: int = 32,
    lr: float = 3e-4,
    lr_decay: float = 1.0,
    pooling: Literal["", "first", "mean"] = "",
    text: str = "",
    label: str = "label",
    seed: int = 0,
) -> Result:
    """Accuracy after fine-tuning the whole model with a new head.

    Args:
        method: with the ability `classifier(num_labels, pooling) -> Trainable`, whose examples are
            (example, class) pairs, with examples as `method.read` makes them, and which has
            `logits(examples) -> Tensor [N, num_labels]`, such as
            `models.architectures.text_classifier.TextClassifier`. The method itself must not change
            with it.
        data: as in `measure_probe`.
        num_train: labelled rows to learn from.
        epochs: passes over them.
        batch_size: examples a step.
        lr: peak learning rate; warm-up over a tenth of the steps, then linear to 0.
        lr_decay: factor on it for each layer further from the head.
        pooling: what the head reads: the first token, or the mean of all, which serves better after
            little pre-training; "" as the method has it.
        text: name of the field that is read, where the method would not know it; see
            `examples.examples_of`.
        label: name of the label's field.
        seed: of the draw, the head, the order, dropout and the bootstrap.

    Returns:
        As `measure_probe`. The notes say how many classes are ever guessed; fine-tuning that
        collapsed guesses one, and a warning says so.

    Raises:
        UserError: a field is missing, or there are too few rows.
    """
    import torch

    train, test, names = split_labelled(read_labelled(method, data, text, label), num_train, seed)
    pooled = {"pooling": pooling} if pooling else {}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        classifier = method.classifier(len(names), **pooled)
    finetune(
        classifier,
        train,
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        lr_decay=lr_decay,
        seed=seed,
    )
    guesses = classifier.logits([each for each, _ in test]).argmax(-1).cpu().numpy()
    if len(set(guesses.tolist())) == 1:
        warnings.warn(
            f"fine-tuning collapsed: all {len(test)} examples were given the label"
            f" '{names[guesses[0]]}'; try a lower lr, more epochs or another seed",
            stacklevel=2,
        )
    return scored(guesses, train, test, names, seed, len(data))


def finetune(
    classifier: Trainable,
    examples: Sequence[tuple[Any, Any]],
    *,
    epochs: int,
    batch_size: int,
    lr: float,
    seed: int,
    lr_decay: float = 1.0,
) -> None:
    """Trains a model on (example, class) or (text, text) pairs with the project's loop."""
    from pretrial.train.budget import Budget
    from pretrial.train.loop import train
    from pretrial.train.method import OneStage
    from pretrial.train.run import Run
    from pretrial.train.stage import Optim, Stage

    def stage(run: Run) -> Stage:
        budget = Budget(epochs * len(examples), "examples")
        optim = decayed_optims(classifier, Optim(lr=lr, warmup=0.1), lr_decay)
        return Stage("finetune", classifier, run.data, budget, optim, batch_size)

    with tempfile.TemporaryDirectory() as folder:
        device = next(classifier.parameters()).device
        run = Run(Path(folder), examples, seed=seed, device=device, quiet=True)
        with closing(run):
            train(OneStage(stage), run)


def best_rate(
    make: Callable[[], Any],
    examples: Sequence[tuple[Any, int]],
    rates: Sequence[float],
    *,
    seed: int,
    **how: Any,
) -> float:
    """The learning rate that serves a classifier best on a quarter of the examples, held out.

    Args:
        make: gives a fresh classifier, the same each time.
        examples: (example, class) pairs; the first three quarters are learnt from.
        rates: to choose from.
        seed: of fine-tuning.
        how: further options of `finetune`.

    Returns:
        The one with the most right answers; of several the lowest loss decides.
    """
    import torch

    edge = len(examples) - max(1, len(examples) // 4)
    contents, targets = zip(*examples[edge:], strict=True)
    scores = {}
    for rate in rates:
        classifier = make()
        finetune(classifier, examples[:edge], lr=rate, seed=seed, **how)
        logits, wanted = classifier.logits(contents).cpu(), torch.tensor(targets)
        right = int((logits.argmax(-1) == wanted).sum())
        scores[rate] = (right, -float(torch.nn.functional.cross_entropy(logits, wanted)))
    return max(scores, key=lambda rate: scores[rate])


def likeliest(
    classifier: Any, names: Sequence[Any], examples: Sequence[Any]
) -> Iterator[dict[str, Any]]:
    """The likeliest label of each example and its probability, as the ability `classify` gives it.

    Args:
        classifier: `logits(examples)` gives [N, classes]; None where nothing was fine-tuned.
        names: of the classes.
        examples: as `classifier` reads them.

    Raises:
        UserError: there is no classifier.
    """
    if classifier is None:
        raise UserError(
            "this run has no classifier: train with a finetune_ratio above 0 on labelled data"
        )
    for example in examples:
        probs = classifier.logits([example]).softmax(-1)[0]
        best = int(probs.argmax())
        yield {"label": names[best], "label_prob": round(float(probs[best]), 6)}
