"""Prompted tasks: a text that is read, the answer that is to be written, answers to choose from.

Many tasks in this form, mixed, are what instruction tuning (FLAN) and multitask prompted
fine-tuning (T0) train on, and what rank classification measures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pretrial.corrupt.denoisers import Pair
from pretrial.data.reading.mixture import Mixture, temperature_weights
from pretrial.data.rows import by_key, is_on_disk, mapped, where
from pretrial.errors import UserError
from pretrial.models.architectures.conditional import ConditionalLM


@dataclass(frozen=True)
class Example:
    """A text to learn from, or a prompted example.

    Attributes:
        text: raw text; "" in a prompted example.
        input: the prompt.
        target: the answer; "" where it is not known.
        choices: what answers there are; empty where any is.
        task: the data set it is from.
    """

    text: str = ""
    input: str = ""
    target: str = ""
    choices: tuple[str, ...] = ()
    task: str = ""

    @property
    def prompt(self) -> str:
        """What is read when something is to be written."""
        return self.input or self.text


def read_examples(rows: Sequence[dict[str, Any]]) -> Sequence[Example]:
    """Rows with `text`, or with `input` and what goes with it.

    Raises:
        UserError: a row has neither, or a field is of the wrong kind.
    """
    return mapped(rows, _example)


def _example(number: int, row: dict[str, Any]) -> Example:
    if "text" not in row and "input" not in row:
        raise UserError(
            f"row {number} has neither 'text' nor 'input' (found: {', '.join(row)}): name the"
            " one to use with --fields text=OTHER"
        )
    for field in ("text", "input", "target"):
        if not isinstance(row.get(field, ""), str):
            kind = type(row[field]).__name__
            raise UserError(f"{field!r} of row {number} is a {kind}: give a string")
    choices = row.get("choices") or ()
    if isinstance(choices, str) or not all(isinstance(each, str) for each in choices):
        raise UserError(f"'choices' of row {number} must be a list of strings")
    return Example(
        row.get("text", ""),
        row.get("input", ""),
        row.get("target", ""),
        tuple(choices),
        str(row.get("task", "")),
    )


def texts_of(examples: Sequence[Example]) -> Sequence[str]:
    """The raw texts; "" where there is none."""
    return mapped(examples, lambda _, example: example.text)


def encode_plain(tokenizer: Any, texts: Sequence[str], max_length: int) -> list[list[int]]:
    """Token ids of texts without special tokens around them, cut to a length."""
    if not texts:
        return []
    encoded = tokenizer(
        list(texts), add_special_tokens=False, truncation=True, max_length=max(max_length, 1)
    )
    return list(encoded["input_ids"])


def pairs_of(
    model: ConditionalLM,
    inputs: Sequence[str],
    targets: Sequence[str],
    *,
    head: Sequence[int] = (),
    max_inputs: int,
    max_targets: int,
) -> list[Pair]:
    """Prompts, behind a head, and answers with their end token; each cut to its length."""
    room = max_inputs - len(head) - 1
    read = encode_plain(model.tokenizer, inputs, room)
    written = encode_plain(model.tokenizer, targets, max_targets - 1)
    return [
        Pair([*head, *ids], [*answer, model.end]) for ids, answer in zip(read, written, strict=True)
    ]


def task_mixture(
    model: ConditionalLM,
    examples: Sequence[Example],
    most_per_task: int,
    **how: Any,
) -> Sequence[Pair]:
    """Pairs of all tasks, in proportion to their sizes, where no size counts as more than a bound.

    Of examples on the disk, two numbers each are in memory: its place, and that of its pair.

    Args:
        model: makes the pairs.
        examples: those with an input and a target are learnt from; there may be none.
        most_per_task: the bound; T0 has 500,000.
        how: what `pairs_of` takes by name.
    """
    known = by_key(
        where(examples, lambda example: example.input and example.target), lambda e: e.task
    )
    parts = {task: _pairs(model, own, how) for task, own in known.items()}
    if not parts:
        return []
    sizes = [min(len(part), most_per_task) for part in parts.values()]
    return Mixture(list(parts.values()), temperature_weights(sizes, 1.0))


def _pairs(model: ConditionalLM, examples: Sequence[Example], how: dict[str, Any]) -> Sequence[Any]:
    if is_on_disk(examples):
        return mapped(
            examples, lambda _, each: pairs_of(model, [each.input], [each.target], **how)[0]
        )
    inputs, targets = ([getattr(e, name) for e in examples] for name in ("input", "target"))
    return pairs_of(model, inputs, targets, **how)


def choice_scores(
    model: ConditionalLM,
    prompts: Sequence[str],
    choices: Sequence[Sequence[str]],
    *,
    head: Sequence[int] = (),
    per_token: bool = False,
    max_inputs: int,
    max_targets: int,
) -> list[list[float]]:
    """The log-likelihood of each choice after its prompt, in nats, its end token included.

    Args:
        model: the model.
        prompts: N texts.
        choices: for each, what it is to be ranked.
        head: token ids in front of each prompt.
        per_token: the mean over the choice's tokens, and not their sum.
        max_inputs: tokens that are read.
        max_targets: tokens of a choice.
    """
    asked = [prompt for prompt, each in zip(prompts, choices, strict=True) for _ in each]
    answers = [choice for each in choices for choice in each]
    pairs = pairs_of(
        model, asked, answers, head=head, max_inputs=max_inputs, max_targets=max_targets
    )
    nats = model.nats(pairs)
    flat = iter(-float(part.mean() if per_token else part.sum()) for part in nats)
    return [[next(flat) for _ in each] for each in choices]


def ranked(
    examples: Sequence[Example],
    score: Callable[[Sequence[str], Sequence[Sequence[str]]], list[list[float]]],
) -> Iterator[dict[str, Any]]:
    """For each example its best choice and the scores of all.

    Args:
        examples: with choices.
        score: from prompts and choices to scores.

    Raises:
        UserError: an example has fewer than two choices.
    """
    for number, example in enumerate(examples):
        if len(example.choices) < 2:
            raise UserError(f"row {number} has no 'choices' to rank: give two or more")
    choices = [example.choices for example in examples]
    scores = score([example.prompt for example in examples], choices)
    for each, row in zip(choices, scores, strict=True):
        yield {"choice": each[row.index(max(row))], "scores": dict(zip(each, row, strict=True))}
