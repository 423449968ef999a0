"""The page of the demonstration: what was gained, how it came about, and programs to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pretrial.compare.report.page import Page, Tag
from pretrial.compare.report.plots import Bars, Curve, Lines, Points, Stacked
from pretrial.data.problems.problem import Problem
from pretrial.evaluate.intervals import Interval, bootstrap_difference
from pretrial.methods.code.coderl.trials.trial import TESTS_ONLY

if TYPE_CHECKING:
    from pretrial.methods.code.coderl.trials.demonstration import Measured

METRICS = ("pass@1", "pass@5")
_SHOWN = (6, 3)  # pairs of programs: newly solved ones, and lost ones


def page_of(
    headline: str,
    measured: Mapping[str, Measured],
    labels: Mapping[str, str],
    rows: Sequence[Mapping[str, Any]],
    pairs: Sequence[tuple[Problem, list[Any]]],
    data: str,
    seconds: float,
) -> Page:
    """The page.

    Args:
        headline: one sentence that says what came out.
        measured: by arm; "coderl" is the one on show.
        labels: of the arms.
        rows: of the log of "coderl".
        pairs: problems with two (program, verdict): before and after.
        data: what it was made on.
        seconds: that it took.
    """
    page = Page("CodeRL: learning to write programs from unit tests", headline=headline)
    _gains(page, measured, labels)
    _samplings(page, rows)
    page.heading("What became of the programs")
    page.plot(
        Stacked(
            {
                labels[name]: {_plain(k): v for k, v in found.unseen.notes["outcomes"].items()}
                for name, found in measured.items()
            }
        )
    )
    _before_and_after(page, pairs)
    page.footer(f"{data}. Made by `pretrial demo coderl` in {seconds / 60:.1f} minutes.")
    return page


def _gains(page: Page, measured: Mapping[str, Measured], labels: Mapping[str, str]) -> None:
    """Pass rates of the arms, and what tells them apart."""
    page.heading("Does it help?")
    found = {
        labels[name]: {
            "tests only, pass@1": m.tests_only.metrics[TESTS_ONLY],
            **{f"unseen, {k}": m.unseen.metrics[k] for k in METRICS},
        }
        for name, m in measured.items()
    }
    columns = tuple(next(iter(found.values())))
    page.plot(Bars(columns, {name: list(values.values()) for name, values in found.items()}))
    page.table(
        ["model", *columns],
        [[name, *values.values()] for name, values in found.items()],
        caption="Of training problems that have tests only, and of unseen ones. Temperature 0.6,"
        " 95 % bootstrap intervals over problems.",
        strong=[len(found) - 1],
    )
    differences = {
        f"{metric}, against {labels[name]}": bootstrap_difference(
            measured["coderl"].unseen.items[metric], other.unseen.items[metric]
        )
        for metric in METRICS
        for name, other in measured.items()
        if name != "coderl"
    }
    page.plot(
        Points(
            differences,
            "CodeRL minus control",
            title="Paired differences, unseen problems",
            better="higher",
        )
    )
    page.bullets(*(f"{label}: {_verdict(value)}." for label, value in differences.items()))
    page.text(
        "One seed: the intervals say how sure these models differ on problems like these, not how"
        " another training would end. `pretrial trial coderl` runs several seeds and more controls."
    )


def _samplings(page: Page, rows: Sequence[Mapping[str, Any]]) -> None:
    """What each sampling found: problems solved by tests alone, and the share that passed."""
    samplings = [row for row in rows if "programs" in row]
    if not samplings:
        return
    page.heading("How it learns")
    steps, at = [0.0], 0.0
    for row in rows:
        if "programs" in row and row is not samplings[0]:
            steps.append(at)
        at = row.get("step", at)
    total = samplings[-1]["with_tests_only"]
    page.plot(
        Lines(
            {
                "problems with tests only that are solved, %": Curve(
                    steps, [100 * row["solved_by_tests"] / total for row in samplings]
                ),
                "programs of the sampling that pass, %": Curve(
                    steps, [100 * row["share_passed"] for row in samplings]
                ),
            },
            "steps of the last phase",
            "%",
        )
    )
    written = sum(row["programs"] for row in samplings)
    page.text(
        f"{written:,} programs were written and run, in {len(samplings)} samplings. Each is for the"
        " problems that nothing has solved by then, the harder ones, so that fewer pass each time."
        " Every step learns from all that passed so far."
    )


def _before_and_after(page: Page, pairs: Sequence[tuple[Problem, list[Any]]]) -> None:
    """Programs that came to be solved, and such that no longer are, side by side."""
    page.heading("Before and after")
    gained = [pair for pair in pairs if pair[1][1][1].passed]
    lost = [pair for pair in pairs if pair[1][0][1].passed]
    page.text(
        "Greedy programs of the warm start and after CodeRL, for unseen problems:"
        f" {len(gained)} are newly solved, {len(lost)} no longer. The first few of each:"
    )
    for problem, ((before, was), (after, became)) in [*gained[: _SHOWN[0]], *lost[: _SHOWN[1]]]:
        page.text(f"`{problem.question.splitlines()[0]}`")
        page.code_side_by_side(before, after, ("warm start", "CodeRL"), (_tag(was), _tag(became)))


def _verdict(difference: Interval) -> str:
    if difference.low > 0:
        return "CodeRL is better on these problems"
    if difference.high < 0:
        return "CodeRL is **worse** on these problems"
    return "no difference is shown on these problems"


def _plain(outcome: str) -> str:
    return outcome.lower().replace("_", " ")


def _tag(verdict: Any) -> Tag:
    return Tag(_plain(verdict.outcome.name), "good" if verdict.passed else "bad")
