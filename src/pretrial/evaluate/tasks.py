"""How tasks meet methods: a task asks for an ability, never for the method's class.

    result = evaluate("passk", method, problems, num_samples=50, k=(1, 10))
    print(result.metrics["pass@10"])

An ability is an attribute of the method: `generate_programs`, `nll`, `encode`, `classifier`. What
it takes and gives is said by the task's function.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pretrial.errors import UserError, nearest
from pretrial.evaluate.result import Result


@dataclass(frozen=True)
class Task:
    """A task.

    Attributes:
        name: by which it is found.
        summary: what it measures, and on what data.
        ability: attribute of the method that it uses.
        place: module and function, as "module:function"; imported when the task is run.
    """

    name: str
    summary: str
    ability: str
    place: str

    @property
    def function(self) -> Callable[..., Result]:
        """Called with the method, the data, and the task's options by name."""
        module, name = self.place.split(":")
        return getattr(importlib.import_module(f"pretrial.evaluate.{module}"), name)


_TASKS = (
    Task(
        "passk",
        "pass@k and n@k of generated programs; problems with tests",
        "generate_programs",
        "passk:measure_programs",
    ),
    Task(
        "solve",
        "pass@k and n@k of a search that may run the example tests; problems with tests",
        "solve",
        "search:measure_search",
    ),
    Task("perplexity", "bits per byte; texts", "nll", "perplexity:measure_perplexity"),
    Task(
        "retrieval",
        "MRR, Recall@k and MAP@R; pairs of query and document, or rows with labels",
        "encode",
        "retrieval:measure_retrieval",
    ),
    Task(
        "robustness",
        "share of functions found by their vectors after variables were renamed; code",
        "encode",
        "robustness:measure_robustness",
    ),
    Task(
        "probe",
        "accuracy of a linear model on frozen vectors; rows with labels",
        "encode",
        "probe:measure_probe",
    ),
    Task(
        "finetune",
        "accuracy after fine-tuning on few labels; rows with labels",
        "classifier",
        "finetune:measure_finetuning",
    ),
    Task(
        "accuracy",
        "accuracy of a classifier that was trained with its labels; rows with labels",
        "classify",
        "accuracy:measure_accuracy",
    ),
    Task(
        "answers",
        "accuracy, macro F1, calibration and log-loss of a fine-tuned model; rows with labels",
        "judged",
        "answers:measure_answers",
    ),
    Task(
        "generation",
        "exact match, edit similarity, BLEU-4, sub-token F1; pairs of source and target",
        "generate_texts",
        "generation:measure_generation",
    ),
    Task(
        "rank",
        "accuracy of the most probable choice; rows with input, choices and target",
        "choice_scores",
        "rank:measure_rank",
    ),
    Task(
        "api_calls",
        "whether the name of the next call is among the likeliest; code, by domain",
        "rank_calls",
        "api_calls:measure_calls",
    ),
    Task(
        "api_usages",
        "exact match, edit similarity and BLEU-4 of calls with their arguments; code",
        "write_usages",
        "api_calls:measure_usages",
    ),
    Task(
        "repair",
        "plausible and identical patches, runs of the tests; bugs with their trees and tests",
        "repair",
        "repair:measure_repair",
    ),
)
TASKS = {task.name: task for task in _TASKS}
_OLD_NAMES = {"classify": "finetune"}


def find_task(name: str) -> Task:
    """The task of that name; an old name is still read, with a notice on stderr.

    Raises:
        UserError: there is none (it names the nearest).
    """
    if name in _OLD_NAMES:
        print(f"the task {name} is called {_OLD_NAMES[name]} now", file=sys.stderr)
        name = _OLD_NAMES[name]
    if name not in TASKS:
        raise UserError(f"there is no task {name!r}; the nearest: {nearest(name, TASKS)}")
    return TASKS[name]


def tasks_for(method: Any) -> list[str]:
    """Names of the tasks whose ability a method (or its class) has."""
    return [task.name for task in _TASKS if hasattr(method, task.ability)]


def evaluate(name: str, method: Any, data: Sequence[Any], **options: Any) -> Result:
    """Measures a method on a task.

    Args:
        name: of the task.
        method: with the task's ability.
        data: what the task's function takes.
        options: keyword options of the task's function.

    Raises:
        UserError: the task, the ability or an option does not exist, or the data do not fit.
    """
    task = find_task(name)
    if not hasattr(method, task.ability):
        able = ", ".join(tasks_for(method)) or "none"
        raise UserError(
            f"{task.name} asks for {task.ability!r}, which {type(method).__name__} has not; tasks"
            f" that it can do: {able}"
        )
    parameters = inspect.signature(task.function).parameters.values()
    known = [each.name for each in parameters if each.kind is each.KEYWORD_ONLY]
    for option in options:
        if option not in known:
            raise UserError(
                f"{task.name} has no option {option!r}; the nearest: {nearest(option, known)}"
            )
    return task.function(method, data, **options)
