"""The trials of encoders of texts: what is asked of them, how large they are, what they must beat.

Small encoders learn little from a megabyte of text, and what they are asked has to be such that it
shows. Five tasks:

| task | asked | floor |
| --- | --- | --- |
| choice | which of eight tokens stands here, each model in its own way (`kit.choices`) | counts |
| tokens | the loss at hidden tokens, of masked language models (`kit.masked_scores`) | counts |
| infilling | the loss of writing texts with hidden spans (`kit.edited_texts`) | copying, counts |
| classify | the package of a docstring, after fine-tuning on few labels (`kit.packages`) | TF-IDF |
| probe | the same by a linear classifier on frozen vectors | TF-IDF |

Counts are those of tokens beside their neighbours. The last two no encoder of this size passes:
they are for larger budgets, and for data of one's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal, NamedTuple

from pretrial.compare.kit import choices, packages
from pretrial.compare.kit.floors import counts_arms, tfidf_arm
from pretrial.compare.kit.masked_scores import masked_scores
from pretrial.compare.trial import Arm, Data, Direction, Gate, Trial, Tuning, Values
from pretrial.data.reading.sources import load
from pretrial.data.rows import require, spread
from pretrial.data.splits import split_by_group
from pretrial.errors import UserError
from pretrial.train.budget import Budget

#: The data on trial where none are named.
DOCSTRINGS = "builtin:stdlib-docstrings"

Task = Literal["choice", "tokens", "infilling", "classify", "probe"]

_NUM_TEXTS = 1200  # to test on, of all modules
_NUM_WATCHED = 150  # texts whose loss is followed in training


class Asked(NamedTuple):
    """What counts in a task, and what would matter."""

    metric: str
    direction: Direction
    useful: float
    relative: bool
    ceiling: float | None = None


TASKS: dict[Task, Asked] = {
    "choice": Asked("choice_nll", "lower", 0.01, True),
    "tokens": Asked("mlm_loss", "lower", 0.01, True),
    "infilling": Asked("infilling_loss", "lower", 0.01, True),
    "classify": Asked("accuracy", "higher", 0.02, False, 1.0),
    "probe": Asked("probe_nll", "lower", 0.01, True),
}

#: The tasks without labels, about tokens that are hidden.
HIDDEN: tuple[Task, ...] = ("choice", "tokens", "infilling")

#: Sizes with which a core gets past counts of neighbours in a minute or two, for all arms alike.
_NARROW: dict[str, Any] = {
    "vocab_size": 300,
    "width": 64,
    "num_layers": 2,
    "num_heads": 4,
    "feed_forward": 256,
    "max_length": 32,
    "dropout_prob": 0.0,
    "init_std": 0.125,
    "lr": 2.5e-3,
    "batch_size": 32,
}

SET_UP = (
    "0.1 M parameters and a megabyte of docstrings in windows of 32 tokens, of a vocabulary of 300:"
    " hardly more than letters. Every arm chooses its learning rate on a pilot seed; the rest is"
    " alike.",
    "How this set-up was found, on pilot seeds of the baseline: with 2,048 tokens and a width of"
    " 128 it ended at the counts of single tokens, 6.3 nats, and named packages worse than TF-IDF"
    " with logistic regression did (0.41 against 0.45 to 0.49).",
    "With 512 tokens and a width of 64 it came to 4.5 nats in 4,000 steps, where counts of"
    " neighbours reach 3.0; with 300 tokens to 1.9, where they reach 2.5. Half of that is the"
    " deviation of the first weights: 0.02, as in BERT, is for a width of 768; with 0.125 a"
    " thousand steps came to 3.2 instead of 3.8.",
    "Tried and left, since the baseline was no better there than counts, or than random weights:"
    " the kind of the word that a token stands in, replaced tokens found by a linear classifier,"
    " and swapped words, foreign words and typing errors found after fine-tuning.",
)


def sized(kind: Any, task: Task, tiny: bool = False, **changes: Any) -> Any:
    """The settings of an arm, of whatever method, in this task.

    Args:
        kind: the method's Config.
        task: what is asked; packages are named by larger networks.
        tiny: small enough for a test.
        changes: of settings.
    """
    config = kind.tiny() if tiny else kind.small()
    if not tiny and task in HIDDEN:
        narrow = _NARROW | ({"embedding_size": 64} if hasattr(config, "embedding_size") else {})
        config = replace(config, **narrow)
    return replace(config, **changes)


def encoder_trial(
    *,
    data: str,
    num_labels: int,
    task: Task,
    arms: Sequence[Arm],
    tokens_of: tuple[str, Any],
    notes: tuple[str, ...] = (),
    flops: float = 4e12,
    tiny: bool = False,
    how: Callable[[Any], Mapping[str, Any]] | None = None,
    further: Callable[[Any, Data], Values] | None = None,
    **about: Any,
) -> Trial:
    """A trial on one of the tasks.

    Args:
        data: names the data: rows with `text`, and for packages with `label`.
        num_labels: labelled texts to learn from.
        task: what counts.
        arms: of the methods; controls that do not train are the floor.
        tokens_of: slug and settings of the baseline, whose tokens are counted for the floor; each
            arm chooses among its learning rate, the half and the double of it.
        notes: for the record; they tell of the docstrings, and of networks that are not tiny.
        flops: of one arm with one seed.
        tiny: whether the networks are small enough for a test.
        how: options of a method's `logits` in the task "tokens".
        further: what is measured besides, of a method and the data.
        about: further attributes of the trial, such as its question.
    """
    wanted = TASKS[task]
    floor: tuple[Arm, ...] = (tfidf_arm(),)
    if task in HIDDEN:
        shares, neighbours = counts_arms(*tokens_of)
        # of eight candidates shares alone tell nothing, and what is written has no right neighbour
        floor = {"choice": (neighbours,), "infilling": (shares,)}.get(task, (shares, neighbours))

    def measure(method: Any, found: Data, seed: int) -> Values:
        own = _measure(method, found, seed, task, num_labels, tokens_of[1].max_length, how)
        return {**own, **(further(method, found) if further else {})}

    told = notes if data == DOCSTRINGS and not tiny else ()
    if task not in HIDDEN:
        told = (*told, packages.RECIPE, packages.PILOT) if told else (packages.RECIPE,)
    lr = tokens_of[1].lr
    return Trial(
        data=data_of(data, task, num_labels),
        arms=(*arms, *floor),
        measure=measure,
        metric=wanted.metric,
        direction=wanted.direction,
        useful=wanted.useful,
        relative=wanted.relative,
        gate=Gate(tuple(arm.name for arm in (*arms, *floor) if _trivial(arm)), wanted.ceiling),
        tuning=Tuning((lr / 2, lr, 2 * lr)),
        first_seed=100,
        packages=packages.NEEDED,
        budget=Budget(2e9 if tiny else flops, "flops"),
        notes=told,
        **about,
    )


def _trivial(arm: Arm) -> bool:
    """Random weights, counts, and the model that arms go on from."""
    return arm.role == "control" and not arm.trains


def data_of(source: str, task: Task, num_labels: int) -> Callable[[], Data]:
    """What makes the data of a task."""
    if task in HIDDEN:
        return partial(unseen, source)
    return partial(packages.data, source, num_labels)


def unseen(source: str) -> Data:
    """Texts to train on, and texts of other modules: to fit weights on, and to test on.

    Args:
        source: rows with `text` and, where texts of one origin are alike, `module`.

    Raises:
        UserError: there are too few.
    """
    rows = load(source)
    require(rows, ("text",))
    parts = split_by_group(rows, packages.group_of, {"train": 0.8, "test": 0.15, "fit": 0.05})
    fit, test = (list(spread(parts[name], _NUM_TEXTS)) for name in ("fit", "test"))
    if len(parts["train"]) < 8 or min(len(fit), len(test)) < 2:
        raise UserError(f"{source} has {len(rows)} texts: give more, of several modules")
    return Data(
        train=list(parts["train"]),
        held_out=list(spread(test, _NUM_WATCHED)),
        test=(fit, test),
        name=f"{source}: {len(parts['train'])} texts",
    )


def _measure(
    method: Any,
    found: Data,
    seed: int,
    task: Task,
    num_labels: int,
    max_length: int,
    how: Callable[[Any], Mapping[str, Any]] | None,
) -> Values:
    if task in ("classify", "probe"):
        return packages.measure(method, found.test, seed, num_labels=num_labels, task=task)
    fit, test = ([row["text"] for row in rows] for rows in found.test)
    groups = [packages.group_of(row) for row in found.test[1]]
    if task == "infilling":  # which is measured with what else there is of a writer
        return {}
    if task == "choice":
        return choices.measure(method, (fit, test), max_length, groups)
    options = how(method) if how else {}
    return masked_scores(method, test, max_length, groups, **options)


def asked(slug: str, task: Task, takes: Sequence[Task]) -> tuple[str, Direction]:
    """The metric of a task, and which way it is better.

    Args:
        slug: of a method.
        task: that it is asked.
        takes: the tasks that it can be asked.

    Raises:
        UserError: it is not among them.
    """
    if task not in takes:
        raise UserError(
            f"{slug} cannot be asked for {task!r}: set --task to one of {', '.join(takes)}"
        )
    return TASKS[task][:2]
