"""From a bug to patches: candidates for each hunk, and the tests that choose among them."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from pretrial.code_views import view
from pretrial.methods.code.multimend.abilities.ranking import Candidate
from pretrial.methods.code.multimend.abilities.retrieval import Retriever, candidates
from pretrial.methods.code.multimend.abilities.search import Assignment, Found, Search
from pretrial.methods.code.multimend.config import Strategy
from pretrial.methods.code.multimend.data import hunks as edit
from pretrial.methods.code.multimend.data.bugs import Bug
from pretrial.methods.code.multimend.data.fixes import (
    collapsed,
    joined,
    language_name,
    source_text,
    without_comments,
)
from pretrial.methods.code.multimend.data.hunks import Hunk
from pretrial.sandbox import TestCommand

#: Gives the ranked candidates for each (wrong lines, source).
Write = Callable[[Sequence[tuple[str, str]]], list[list[Candidate]]]


class Query(NamedTuple):
    """What the model is asked about a hunk.

    Attributes:
        removed: the wrong lines, as one.
        source: the text that the model reads.
        retrieved: those of its lines that are from elsewhere in the file.
    """

    removed: str
    source: str
    retrieved: tuple[str, ...]


def query_of(text: str, hunk: Hunk, language: str, retriever: Retriever) -> Query:
    """The wrong lines of a file's text, lines found for them, and the function around them."""
    lines = text.split("\n")
    first, behind = edit.enclosing_lines(view(text, language), hunk)
    inside = textwrap.dedent("\n".join(lines[first - 1 : behind - 1]))
    before, after = "\n".join(lines[: first - 1]), "\n".join(lines[behind - 1 :])
    removed = joined("\n".join(hunk.lines(text)))
    found = retriever.find(removed, candidates(before, after, removed))
    context = without_comments(view(inside, language))
    return Query(removed, source_text(removed, context, language_name(language), found), (*found,))


def queries_of(bug: Bug, retriever: Retriever) -> list[Query]:
    """What the model is asked about each hunk of a bug."""
    return [
        query_of(bug.text(hunk.path), hunk, bug.language_of(hunk.path), retriever)
        for hunk in bug.hunks
    ]


def patched(bug: Bug, assignment: Assignment) -> dict[str, str]:
    """Texts of the files that an assignment changes, by path."""
    edits: dict[str, dict[Hunk, list[str]]] = {}
    for hunk, candidate in zip(bug.hunks, assignment, strict=True):
        if candidate is not None:
            lines = edit.fitted(bug.text(hunk.path), hunk, candidate.text)
            edits.setdefault(hunk.path, {})[hunk] = lines
    return {path: edit.apply(bug.text(path), changes) for path, changes in edits.items()}


def repaired(
    bug: Bug,
    command: TestCommand,
    write: Write,
    retriever: Retriever,
    strategy: Strategy = "progressive",
    max_validations: int = 0,
    num_patches: int = 10,
) -> dict[str, Any]:
    """The answer for a bug, as JSON takes it.

    `plausible` says that no test fails with a patch. Whether it is correct only a person can say.

    Args:
        bug: what is repaired.
        command: its tests.
        write: the model.
        retriever: finds lines for the sources.
        strategy: for several hunks, see `Search.run`.
        max_validations: most runs of the tests; 0 is no limit.
        num_patches: most patches that are told.
    """
    before = command.num_failing(command.run())
    queries = queries_of(bug, retriever)
    ranked: list[list[Candidate]] = [[] for _ in queries]
    if before:
        ranked = write([(query.removed, query.source) for query in queries])

    def failing(assignment: Assignment) -> float:
        return command.num_failing(command.run(patched(bug, assignment)))

    found = Search(ranked, failing, before, max_validations).run(strategy)
    return {
        "name": bug.name,
        "localisation": "given",
        "hunks": [
            {"lines": str(hunk), "removed": query.removed, "retrieved": list(query.retrieved)}
            for hunk, query in zip(bug.hunks, queries, strict=True)
        ],
        "failing_before": _number(before),
        "plausible": found.plausible is not None,
        "validations": found.num_validations,
        "all_tried": found.exhausted,
        "patches": [
            {
                "diff": diff_of(bug, assignment),
                "plausible": None if math.isnan(num_failing) else num_failing == 0,
                "failing": _number(num_failing),
                "identical": is_identical(bug, assignment),
            }
            for assignment, num_failing in _best_first(found, ranked)[:num_patches]
        ],
        "tests": command.num_tests,
        "isolation": command.isolation,
        "note": _note(before, found.plausible is not None),
    }


def diff_of(bug: Bug, assignment: Assignment) -> str:
    """An assignment as a unified diff of the tree."""
    texts = patched(bug, assignment)
    return "".join(edit.unified_diff(path, bug.text(path), texts[path]) for path in sorted(texts))


def is_identical(bug: Bug, assignment: Assignment) -> bool | None:
    """Whether the files are those that a person has mended, but for blanks and comments.

    None where that is not known.
    """
    if not bug.fixed:
        return None
    texts = {path: bug.text(path) for path in bug.fixed} | patched(bug, assignment)
    return texts.keys() == bug.fixed.keys() and all(
        _plain(text, bug.language_of(path)) == _plain(bug.fixed[path], bug.language_of(path))
        for path, text in texts.items()
    )


def _best_first(
    found: Found, ranked: Sequence[Sequence[Candidate]]
) -> list[tuple[Assignment, float]]:
    """Assignments with the tests that fail; of a single hunk also those not run, with NaN."""
    if len(ranked) > 1:
        return sorted(found.tried, key=lambda each: each[1])
    known = {assignment for assignment, _ in found.tried}
    rest = [((one,), math.nan) for one in ranked[0] if (one,) not in known]
    return sorted([*found.tried, *rest], key=lambda each: each[1] != 0)


def _note(before: float, plausible: bool) -> str:
    if before == 0:
        return "the tests pass without a patch: there is nothing to repair by them"
    if plausible:
        return "plausible: no test fails; whether it is correct is for a person to say"
    unknown = "; the tests did not end or could not be collected" if math.isinf(before) else ""
    return f"no patch that was tried passes all tests{unknown}"


def _number(failing: float) -> int | None:
    """None where no number of failing tests is known."""
    return int(failing) if math.isfinite(failing) else None


def _plain(text: str, language: str) -> list[str]:
    lines = without_comments(view(text, language)).split("\n")
    return [collapsed(line) for line in lines if line.strip()]
