"""From a bug to patches: candidates for each hunk, and the tests that choose among them."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pretrial.code_views import view
from pretrial.methods.code.multimend import hunks as edit
from pretrial.methods.code.multimend.bugs import Bug
from pretrial.methods.code.multimend.fixes import (
    joined,
    language_name,
    source_text,
    without_comments,
)
from pretrial.methods.code.multimend.hunks import Hunk
from pretrial.methods.code.multimend.ranking import Candidate
from pretrial.methods.code.multimend.retrieval import Retriever, candidates, collapsed
from pretrial.methods.code.multimend.search import Assignment, Found, Search, Strategy
from pretrial.sandbox import TestCommand


@dataclass(frozen=True)
class Query:
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


class Repairer:
    """Repairs bugs with the candidates of a model.

    Args:
        write: gives the ranked candidates for each (wrong lines, source).
        retriever: finds lines for the sources.
        strategy: for several hunks, see `Search.run`.
        max_validations: most runs of the tests of a bug; 0 is no limit.
    """

    def __init__(
        self,
        write: Callable[[Sequence[tuple[str, str]]], list[list[Candidate]]],
        retriever: Retriever,
        strategy: Strategy = "progressive",
        max_validations: int = 0,
    ) -> None:
        self.write = write
        self.retriever = retriever
        self.strategy = strategy
        self.max_validations = max_validations

    def repair(self, bug: Bug, command: TestCommand, num_patches: int = 10) -> dict[str, Any]:
        """The answer for a bug, as JSON takes it; at most so many patches of it are told."""
        before = command.num_failing(command.run())
        queries = queries_of(bug, self.retriever)
        ranked: list[list[Candidate]] = [[] for _ in queries]
        if before:
            ranked = self.write([(query.removed, query.source) for query in queries])

        def failing(assignment: Assignment) -> float:
            return command.num_failing(command.run(patched(bug, assignment)))

        found = Search(ranked, failing, before, self.max_validations).run(self.strategy)
        return {
            **report(bug, queries, ranked, found, num_patches),
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


def report(
    bug: Bug,
    queries: Sequence[Query],
    ranked: Sequence[Sequence[Candidate]],
    found: Found,
    num_patches: int,
) -> dict[str, Any]:
    """The answer for a bug, as JSON takes it.

    `plausible` says that no test fails with a patch. Whether it is correct only a person can say.
    """
    tried = list(found.tried)
    if len(bug.hunks) == 1:  # those that were not run are ranked all the same
        known = {assignment for assignment, _ in tried}
        tried += [((one,), math.nan) for one in ranked[0] if (one,) not in known]
        tried.sort(key=lambda each: each[1] != 0)
    else:
        tried.sort(key=lambda each: each[1])
    return {
        "name": bug.name,
        "localisation": "given",
        "hunks": [
            {"lines": str(hunk), "removed": query.removed, "retrieved": list(query.retrieved)}
            for hunk, query in zip(bug.hunks, queries, strict=True)
        ],
        "failing_before": _number(found.before),
        "plausible": found.plausible is not None,
        "validations": found.num_validations,
        "all_tried": found.exhausted,
        "patches": [
            {
                "diff": diff_of(bug, assignment),
                "plausible": None if math.isnan(failing) else failing == 0,
                "failing": _number(failing),
                "identical": is_identical(bug, assignment),
            }
            for assignment, failing in tried[:num_patches]
        ],
    }


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
