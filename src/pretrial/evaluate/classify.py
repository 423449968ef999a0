"""Classification with few labels: a linear probe of frozen vectors, and fine-tuning."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from pretrial.data.rows import require
from pretrial.errors import UserError, missing_package
from pretrial.evaluate.layer_decay import decayed_optims
from pretrial.evaluate.perplexity import texts_of
from pretrial.evaluate.result import Result

if TYPE_CHECKING:
    from pretrial.train.stage import Trainable

Example = tuple[str, int]


def measure_probe(
    method: Any,
    data: Sequence[Any],
    *,
    num_train: int = 500,
    text: str = "text",
    label: str = "label",
    inverse_penalty: float = 1.0,
    seed: int = 0,
) -> Result:
    """Accuracy of a logistic regression on a model's vectors.

    Args:
        method: with the ability `encode(texts) -> Tensor [N, d]`.
        data: rows with a text and a label; the probe learns from `num_train` of them, drawn label
            by label in their proportions, and is measured on the rest.
        num_train: labelled texts to learn from.
        text: name of the text's field.
        label: name of the label's field.
        inverse_penalty: the C of scikit-learn's LogisticRegression.
        seed: of the draw and of the bootstrap.

    Raises:
        UserError: a field is missing, there are too few rows, or scikit-learn is not installed.
    """
    train, test, names = split_labelled(data, num_train, text, label, seed)
    vectors = np.asarray(method.encode([each for each, _ in (*train, *test)]).detach().cpu())
    guesses = probe(
        vectors[: len(train)],
        [place for _, place in train],
        vectors[len(train) :],
        inverse_penalty=inverse_penalty,
    )
    return _scored(guesses, train, test, names, seed)


def probe(
    train_vectors: NDArray[Any],
    train_labels: Sequence[int],
    test_vectors: NDArray[Any],
    *,
    inverse_penalty: float = 1.0,
) -> NDArray[np.int64]:
    """Labels [N] that a logistic regression on standardised vectors gives to `test_vectors` [N, d].

    Raises:
        UserError: scikit-learn is not installed.
    """
    try:
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError:
        raise missing_package("scikit-learn", "text") from None
    model = make_pipeline(StandardScaler(), LogisticRegression(C=inverse_penalty, max_iter=2000))
    return model.fit(train_vectors, train_labels).predict(test_vectors)


def measure_classifier(
    method: Any,
    data: Sequence[Any],
    *,
    num_train: int = 500,
    epochs: int = 10,
    batch_size: int = 32,
    lr: float = 3e-4,
    lr_decay: float = 1.0,
    pooling: Literal["first", "mean"] = "first",
    text: str = "text",
    label: str = "label",
    seed: int = 0,
) -> Result:
    """Accuracy after fine-tuning the whole model with a new head.

    Args:
        method: with the ability `classifier(num_labels, pooling) -> Trainable`, whose examples are
            (text, class) pairs and which has `logits(texts) -> Tensor [N, num_labels]`, such as
            `models.architectures.text_classifier.TextClassifier`. The method itself must not change
            with it.
        data: as in `measure_probe`.
        num_train: labelled texts to learn from.
        epochs: passes over them.
        batch_size: texts a step.
        lr: peak learning rate; warm-up over a tenth of the steps, then linear to 0.
        lr_decay: factor on it for each layer further from the head.
        pooling: what the head reads: the first token, or the mean of all, which serves better after
            little pre-training.
        text: name of the text's field.
        label: name of the label's field.
        seed: of the draw, the head, the order, dropout and the bootstrap.

    Returns:
        As `measure_probe`. The notes say how many classes are ever guessed; fine-tuning that
        collapsed guesses one, and a warning says so.

    Raises:
        UserError: a field is missing, or there are too few rows.
    """
    import torch

    train, test, names = split_labelled(data, num_train, text, label, seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        classifier = method.classifier(len(names), pooling=pooling)
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
            f"fine-tuning collapsed: all {len(test)} texts were given the label"
            f" '{names[guesses[0]]}'; try a lower lr, more epochs or another seed",
            stacklevel=2,
        )
    return _scored(guesses, train, test, names, seed)


def measure_accuracy(
    method: Any, data: Sequence[Any], *, label: str = "label", seed: int = 0
) -> Result:
    """Accuracy of a classifier that was trained with the labels of its own data.

    Args:
        method: with the ability `classify(examples)`, which gives a row with `label` for each.
        data: rows as `method.read` takes them, with a label.
        label: name of the label's field.
        seed: of the bootstrap.

    Raises:
        UserError: a row has no label.
    """
    require(data, (label,))
    wanted = [str(row[label]) for row in data]
    found = [str(row["label"]) for row in method.classify(method.read(data))]
    right = [float(guess == name) for guess, name in zip(found, wanted, strict=True)]
    notes = {
        "num_test": len(wanted),
        "num_classes_guessed": len(set(found)),
        "majority_accuracy": max(map(wanted.count, set(wanted))) / len(wanted),
    }
    return Result.of_items({"accuracy": right}, notes, seed)


def finetune(
    classifier: Trainable,
    examples: Sequence[tuple[str, Any]],
    *,
    epochs: int,
    batch_size: int,
    lr: float,
    seed: int,
    lr_decay: float = 1.0,
) -> None:
    """Trains a model on (text, class) or (text, text) pairs with the project's loop."""
    from pretrial.train.budget import Budget
    from pretrial.train.loop import train
    from pretrial.train.method import Method
    from pretrial.train.run import Run
    from pretrial.train.stage import Optim, Stage

    class Finetuning(Method):
        """One stage over the examples."""

        def stages(self, run: Run) -> Iterator[Stage]:
            budget = Budget(epochs * len(examples), "examples")
            optim = decayed_optims(classifier, Optim(lr=lr, warmup=0.1), lr_decay)
            yield Stage("finetune", classifier, run.data, budget, optim, batch_size)

    with tempfile.TemporaryDirectory() as folder:
        device = next(classifier.parameters()).device
        run = Run(Path(folder), examples, seed=seed, device=device, quiet=True)
        with closing(run):
            train(Finetuning(None), run)


def best_rate(
    make: Callable[[], Any],
    examples: Sequence[Example],
    rates: Sequence[float],
    *,
    seed: int,
    **how: Any,
) -> float:
    """The learning rate that serves a classifier best on a quarter of the examples, held out.

    Args:
        make: gives a fresh classifier, the same each time.
        examples: (text, class) pairs; the first three quarters are learnt from.
        rates: to choose from.
        seed: of fine-tuning.
        how: further options of `finetune`.

    Returns:
        The one with the most right answers; of several the lowest loss decides.
    """
    import torch

    edge = len(examples) - max(1, len(examples) // 4)
    texts, targets = zip(*examples[edge:], strict=True)
    scores = {}
    for rate in rates:
        classifier = make()
        finetune(classifier, examples[:edge], lr=rate, seed=seed, **how)
        logits, wanted = classifier.logits(texts).cpu(), torch.tensor(targets)
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


def split_labelled(
    rows: Sequence[Any], num_train: int, text: str, label: str, seed: int
) -> tuple[list[Example], list[Example], list[Any]]:
    """Training pairs, test pairs (text, class), and the labels by class.

    Each label gives its share of the training pairs, rounded, but at least one.

    Raises:
        UserError: a field is missing, or the rows are too few.
    """
    pairs = [(texts_of(row, text), texts_of(row, label)) for row in rows]
    names = sorted({name for _, name in pairs}, key=str)
    if len(names) < 2 or not len(names) <= num_train < len(rows):
        raise UserError(
            f"{len(rows)} rows with {len(names)} labels cannot give {num_train} to learn from and"
            " some to be measured on; give more rows or another num_train"
        )
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(pairs)).tolist()
    chosen: set[int] = set()
    for name in names:
        group = [i for i in order if pairs[i][1] == name]
        chosen.update(group[: max(1, round(num_train * len(group) / len(pairs)))])
    place = {name: i for i, name in enumerate(names)}
    examples = [(pair[0], place[pair[1]]) for pair in pairs]
    train = [examples[i] for i in order if i in chosen]
    return train, [each for i, each in enumerate(examples) if i not in chosen], names


def _scored(
    guesses: NDArray[Any],
    train: list[Example],
    test: list[Example],
    names: list[Any],
    seed: int,
) -> Result:
    right = [float(guess == place) for guess, (_, place) in zip(guesses, test, strict=True)]
    shares = np.bincount([place for _, place in test], minlength=len(names)) / len(test)
    notes = {
        "num_train": len(train),
        "num_test": len(test),
        "num_classes": len(names),
        "num_classes_guessed": len(set(guesses.tolist())),
        "majority_accuracy": float(shares.max()),
    }
    return Result.of_items({"accuracy": right}, notes, seed)
