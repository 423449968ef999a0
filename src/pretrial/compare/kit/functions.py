"""Tasks that code models are tried on: functions of the standard library, no download.

1. Name: write the name of a function, given the rest of it (nats a token, sub-token F1).
2. Variable: one use of a local variable is left out; of it and another local variable, tell the
   right one (accuracy).
3. Misuse: in half of the functions one use of a local variable was replaced by another one of them;
   say which functions are so (accuracy). It takes more labelled functions than the others.
4. Summary: write the first sentence of the docstring (nats a token, smoothed BLEU-4).

Nats are -log of the probability that the model gives to what stands there: models so small that
what they write is seldom right still differ in it.

Docstrings and comments are taken out of what is read. Whole modules lie on one side of the split:
models are pre-trained and fine-tuned on some, and tested on others.
"""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import accumulate
from typing import Any, Literal

from pretrial.code_views import view
from pretrial.compare.trial import Data
from pretrial.data.reading.sources import load
from pretrial.data.rows import Row, require
from pretrial.data.splits import split_by_group
from pretrial.errors import UserError
from pretrial.evaluate.finetune import finetune
from pretrial.evaluate.generation import sentence_bleu, subtoken_f1

#: What stands in the place of the name that is asked for.
HIDDEN_NAME = "f"
_LEAST_CHARACTERS = 60


#: What stands where a variable is left out.
SLOT = "<extra_id_0>"
Task = Literal["name", "variable", "misuse", "summary"]
#: What counts in each task.
METRICS: dict[Task, tuple[str, Literal["higher", "lower"]]] = {
    "name": ("name_nll", "lower"),
    "variable": ("variable_accuracy", "higher"),
    "misuse": ("misuse_accuracy", "higher"),
    "summary": ("summary_nll", "lower"),
}
Labelled = dict[str, list[tuple[str, Any]]]


def data(
    source: str = "builtin:stdlib-code",
    *,
    which: Sequence[Task] = ("name", "variable"),
    num_learn: int = 1000,
    num_test: int = 400,
    max_characters: int = 500,
    pretrain_characters: int = 2000,
) -> Data:
    """Functions for pre-training, and the tasks on functions of other modules.

    Args:
        source: as `data.reading.sources.load` takes it; rows with `code`, `docstring` and `module`.
        which: of the tasks.
        num_learn: labelled functions for each task, drawn from modules seen in pre-training.
        num_test: functions to test each task on, from modules that are not.
        max_characters: longer functions are left out of the tasks.
        pretrain_characters: longer ones are left out of pre-training.

    Returns:
        Rows to pre-train on and, as test data, {task: {"learn": [(code, answer)], "test": ...}};
        answers are names, (right, wrong) variables, 1 where one was swapped, or sentences.

    Raises:
        UserError: there are too few functions.
    """
    rows = load(source)
    require(rows, ("code", "docstring", "module"))
    sides = split_by_group(rows, "module", {"learn": 0.8, "test": 0.2})
    tasks: dict[str, Labelled] = {task: {} for task in which}
    for side, number in (("learn", num_learn), ("test", num_test)):
        order = list(sides[side])
        random.Random(side).shuffle(order)
        makers: dict[str, Callable[[Row], Any]] = {
            "name": name_task,
            "variable": partial(variable_task, rng=random.Random(f"variable {side}")),
            "misuse": partial(misuse_task, rng=random.Random(f"misuse {side}")),
            "summary": summary_task,
        }
        for task in which:
            found = _first(order, makers[task], number, max_characters)
            if len(found) < number:
                raise UserError(
                    f"{source} gives {len(found)} functions for the task {task!r} ({side}), not"
                    f" {number}: give more data or ask for fewer"
                )
            tasks[task][side] = found
    return Data(
        train=[row for row in sides["learn"] if len(row["code"]) <= pretrain_characters],
        test=tasks,
        name=f"{source}, whole modules apart; {num_learn} functions a task to learn from",
    )


def _first(
    rows: Sequence[Row], make: Callable[[Row], Any], number: int, max_characters: int
) -> list[Any]:
    """What the first rows give that a task can be made of."""
    found: list[Any] = []
    for row in rows:
        if len(found) == number:
            break
        made = make(row)
        if made is not None and _LEAST_CHARACTERS <= len(made[0]) <= max_characters:
            found.append(made)
    return found


def name_task(row: Row) -> tuple[str, str] | None:
    """The function with its name hidden, and the name; None where it is no free choice."""
    code = _bare(row["code"])
    seen = view(code)
    functions = seen.functions()
    if not functions or functions[0].name.startswith("__"):
        return None
    name = functions[0].name
    for start, end in reversed(seen.identifiers()[name]):
        code = code[:start] + HIDDEN_NAME + code[end:]
    return code, name.strip("_") or name


def variable_task(row: Row, rng: random.Random) -> tuple[str, tuple[str, str]] | None:
    """The function with one use of a local variable left out, and (that one, another one).

    None where there are fewer than two local variables.
    """
    code = _bare(row["code"])
    uses, local = _variables(code)
    if not uses or len(local) < 2:
        return None
    start, end = rng.choice(uses)
    right = code[start:end]
    return code[:start] + SLOT + code[end:], (right, rng.choice(sorted(local - {right})))


def misuse_task(row: Row, rng: random.Random) -> tuple[str, int] | None:
    """The function, and whether one use of a local variable was replaced by another variable.

    None where there are fewer than two local variables.
    """
    code = _bare(row["code"])
    uses, local = _variables(code)
    if not uses or len(local) < 2:
        return None
    if rng.random() < 0.5:
        return code, 0
    start, end = rng.choice(uses)
    return code[:start] + rng.choice(sorted(local - {code[start:end]})) + code[end:], 1


def _variables(code: str) -> tuple[list[tuple[int, int]], set[str]]:
    """Where local variables are used, in characters, and their names; none if it does not parse."""
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return [], set()
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    local = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    local |= {node.id for node in names if isinstance(node.ctx, ast.Store)}
    lines = code.split("\n")
    begins = [0, *accumulate(len(line) + 1 for line in lines)]
    spans = []
    for node in names:
        if isinstance(node.ctx, ast.Load) and node.id in local:
            before = lines[node.lineno - 1].encode()[: node.col_offset].decode()  # in bytes
            start = begins[node.lineno - 1] + len(before)
            spans.append((start, start + len(node.id)))
    return sorted(spans), local


def summary_task(row: Row) -> tuple[str, str] | None:
    """The function without its docstring, and that one's first sentence."""
    docstring = " ".join(row["docstring"].strip().split("\n\n")[0].split())
    sentence = re.split(r"(?<=[.!?])\s", docstring)[0]
    if len(sentence.split()) < 3:
        return None
    return _bare(row["code"]), sentence


def _bare(code: str) -> str:
    """Code without comments and docstrings."""
    return view(code).without_comments(docstrings=True)


def measure(
    method: Any,
    tasks: Mapping[str, Labelled],
    seed: int,
    *,
    epochs: int = 3,
    batch_size: int = 8,
    lr: float = 1e-3,
) -> dict[str, list[float]]:
    """Fine-tunes copies of a method on each task, and measures them on the test functions.

    Args:
        method: with `writer(max_target)`, a Trainable of (source, target) pairs that has
            `generate_texts(sources)` and `nll(pairs)`; and `classifier(num_labels)`, one of
            (text, class) pairs that has `logits(texts)`.
        tasks: what `data` gives as the test data.
        seed: of fine-tuning.
        epochs: passes over the labelled functions.
        batch_size: functions a step.
        lr: peak learning rate.

    Returns:
        By the names in `METRICS`, and "name_f1" and "summary_bleu", one value a test function.
    """
    how: dict[str, Any] = {"epochs": epochs, "batch_size": batch_size, "lr": lr, "seed": seed}
    found: dict[str, list[float]] = {}
    writing = {"name": (16, "f1", subtoken_f1), "summary": (32, "bleu", sentence_bleu)}
    for task, (max_target, metric, score) in writing.items():
        if task in tasks:
            writer, test = method.writer(max_target), tasks[task]["test"]
            finetune(writer, tasks[task]["learn"], **how)
            found[f"{task}_nll"] = writer.nll(test)
            written = writer.generate_texts([source for source, _ in test])
            found[f"{task}_{metric}"] = [
                score(text, wanted) for text, (_, wanted) in zip(written, test, strict=True)
            ]
    if "variable" in tasks:
        writer, test = method.writer(16), tasks["variable"]["test"]
        finetune(writer, [(code, right) for code, (right, _) in tasks["variable"]["learn"]], **how)
        right, wrong = (
            writer.nll([(code, names[i]) for code, names in test], per_token=False) for i in (0, 1)
        )
        found["variable_accuracy"] = [float(r < w) for r, w in zip(right, wrong, strict=True)]
    if "misuse" in tasks:
        classifier = method.classifier(2)
        finetune(classifier, tasks["misuse"]["learn"], **how)
        texts, wanted = zip(*tasks["misuse"]["test"], strict=True)
        guesses = classifier.logits(texts).argmax(-1).tolist()
        found["misuse_accuracy"] = [float(g == w) for g, w in zip(guesses, wanted, strict=True)]
    return found
