"""The stages of CodeT5: two of pre-training, or one of fine-tuning."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from pretrial.errors import UserError
from pretrial.methods.code.codet5.config import Config
from pretrial.methods.code.codet5.examples import Example
from pretrial.methods.code.codet5.inputs import Inputs
from pretrial.methods.code.codet5.pretraining import (
    BothWays,
    Denoising,
    DualGeneration,
    held_out_losses,
)
from pretrial.methods.code.codet5.tuning import TaskMixture, Tasks
from pretrial.models.architectures.language_model import TextToText
from pretrial.train.budget import Budget
from pretrial.train.stage import EarlyStop, Optim, Stage, Trainable

if TYPE_CHECKING:
    from pretrial.methods.code.codet5 import CodeT5
    from pretrial.train.run import Run

Numbers = Callable[[], dict[str, float]]


def pretraining(method: CodeT5, run: Run) -> Iterator[Stage]:
    """Denoising and, where there are comments, dual generation in its share of the budget."""
    config, inputs = method.config, Inputs(method.tokenizer, method.config)
    both = BothWays(run.data)
    share = config.dual_ratio if len(both) else 0.0
    if len(both) < len(run.data):
        run.say(f"{len(both) // 2} of {len(run.data)} examples have a comment")
    denoising = Denoising(method.model, method.tagger, inputs, config)
    amount = run.budget.amount
    yield stage(
        "denoise",
        denoising,
        run.data,
        Budget(amount * (1 - share), run.budget.unit),
        config,
        measure_on(denoising, run.held_out, config),
    )
    if share:
        dual = DualGeneration(method.model, inputs)
        budget = Budget(amount * share, run.budget.unit)
        held_out = BothWays(run.held_out)
        yield stage("dual", dual, both, budget, config, measure_on(dual, held_out, config))


def generation(method: CodeT5, run: Run) -> Iterator[Stage]:
    """Fine-tuning on pairs of one task, or of several."""
    config = method.config
    writer = TextToText(method.model, method.tokenizer, config.max_source, config.max_target)
    by_task = _pairs_by_task(run.data)
    if len(by_task) == 1:
        pairs = next(iter(by_task.values()))
        aside = [pair for part in _pairs_by_task(run.held_out).values() for pair in part]
        yield stage(
            "generate",
            writer,
            pairs,
            run.budget,
            config,
            measure_on(writer, aside, config),
            stops=True,
        )
        return
    tasks = Tasks(writer, list(by_task), config.patience)
    mixture = TaskMixture(list(by_task.values()), config.alpha, tasks)
    shares = [count / len(mixture) for count in mixture.counts]
    told = ", ".join(f"{n or 'no prefix'} {s:.0%}" for n, s in zip(by_task, shares, strict=True))
    run.say(f"tasks: {told}")
    aside_by_task = _pairs_by_task(run.held_out) if run.held_out else {}
    evaluate = partial(_measure_tasks, method, run, tasks, aside_by_task) if aside_by_task else None
    yield stage("generate", tasks, mixture, run.budget, config, evaluate)


def classification(method: CodeT5, run: Run) -> Stage:
    """Fine-tuning on labelled code, or on labelled pairs."""
    task = method.config.task
    if method.head is None or len(method.labels) < 2:
        raise UserError(
            f"--task {task} needs a field 'label' with two classes or more: name it with"
            " --fields label=OTHER"
        )
    place = {label: number for number, label in enumerate(method.labels)}

    def pairs(examples: Sequence[Example]) -> list[tuple[Any, int]]:
        unknown = {e.label for e in examples} - place.keys()
        if unknown:
            raise UserError(
                f"held-out data has labels that training data lacks: {', '.join(sorted(unknown))};"
                " give more data for training, or other held-out data"
            )
        texts = texts_of(examples, task)
        return [(text, place[e.label]) for text, e in zip(texts, examples, strict=True)]

    measure = measure_on(method.head, pairs(run.held_out), method.config)
    return stage(task, method.head, pairs(run.data), run.budget, method.config, measure, stops=True)


def texts_of(examples: Sequence[Example], task: str) -> list[Any]:
    """What a classifier reads: a text, or two of them.

    Raises:
        UserError: the second is missing.
    """
    if task == "classify":
        return [example.source for example in examples]
    if not all(example.other for example in examples):
        raise UserError(
            "--task compare needs a field 'other' with the second piece of code: name it with"
            " --fields other=OTHER"
        )
    return [(example.source, example.other) for example in examples]


def stage(
    name: str,
    module: Trainable,
    data: Sequence[Any],
    budget: Budget,
    config: Config,
    evaluate: Numbers | None,
    stops: bool = False,
) -> Stage:
    """A stage with the optimiser of the config."""
    if config.patience and evaluate is None and config.task != "pretrain":
        raise UserError("patience needs held-out data: give --held-out or a larger ratio of it")
    stop = EarlyStop("loss", config.patience) if stops and config.patience else None
    return Stage(
        name,
        module,
        data,
        budget,
        optim=Optim(config.lr, config.weight_decay, warmup=config.warmup),
        batch_size=config.batch_size,
        micro_batch_size=config.micro_batch_size or None,
        evaluate=evaluate,
        evaluate_every=config.evaluate_every,
        early_stop=stop,
    )


def measure_on(module: Trainable, examples: Sequence[Any], config: Config) -> Numbers | None:
    """Losses on held-out examples; None where there are none."""
    if not len(examples):
        return None
    size = min(config.micro_batch_size or config.batch_size, 64)
    return partial(held_out_losses, module, examples, size)


def _pairs_by_task(examples: Sequence[Example]) -> dict[str, list[tuple[str, str]]]:
    """Sources and targets by control prefix, prefixes in the order of the data.

    Raises:
        UserError: a target is missing.
    """
    found: dict[str, list[tuple[str, str]]] = {}
    for number, example in enumerate(examples):
        if not example.target:
            raise UserError(
                f"--task generate needs a field 'target' and example {number} has none: name it"
                " with --fields target=OTHER"
            )
        found.setdefault(example.task, []).append((example.source, example.target))
    return found


def _measure_tasks(
    method: CodeT5, run: Run, tasks: Tasks, aside: dict[str, list[tuple[str, str]]]
) -> dict[str, float]:
    """The held-out loss of each task; the best weights of each are kept in the run's folder."""
    numbers, losses = {}, []
    for name in tasks.names:
        measure = measure_on(tasks, aside.get(name, ()), method.config)
        losses.append(measure()["loss"] if measure else float("inf"))
        if measure:
            numbers[f"{name or 'no prefix'}/loss"] = losses[-1]

    run.world.on_first(partial(tasks.see, losses, run.folder / "best", method.save))
    tasks.waited.copy_(run.world.share(tasks.waited))
    tasks.best.copy_(run.world.share(tasks.best))
    return {"loss": sum(numbers.values()) / len(numbers), **numbers}
