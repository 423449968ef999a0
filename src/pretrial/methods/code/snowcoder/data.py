"""Files of code: what is left out, how they are packed, and which of them a phase is trained on."""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

from pretrial.data.builtin.installed import LANGUAGES
from pretrial.data.cleaning.decontaminate import Contaminated, decontaminate
from pretrial.data.cleaning.dedup import Duplicates, deduplicate
from pretrial.data.reading.sources import load
from pretrial.data.rows import Mapped, Row, chosen, mapped, numbered, require, text_in
from pretrial.errors import UserError

Packing = Literal["language", "repo", "file"]


@dataclass(frozen=True)
class File:
    """One file.

    Attributes:
        text: its content.
        language: in which it is written.
        repo: that it belongs to, "" where nothing is said.
        path: "" where nothing is said.
        row: the row of data that it came from.
    """

    text: str
    language: str
    repo: str
    path: str
    row: Row


class Files(list[File]):
    """Files in memory.

    Attributes:
        skipped: why rows were left out, one text each.
    """

    skipped: Sequence[str] = ()


def read_files(rows: Sequence[Row]) -> Sequence[File]:
    """Files of rows; the language is told by the path where no field says it.

    Empty files, of which every folder of code has some, are left out and noted.

    Raises:
        UserError: a row has no text.
    """
    require(rows, ("text",))
    skipped: list[str] = []
    places = array("q")
    for place, (number, row) in enumerate(numbered(rows)):
        if text_in(row, number).strip():
            places.append(place)
        else:
            skipped.append(f"row {number} ({row.get('path') or ''}) is empty")
    found = mapped(chosen(rows, places), lambda _, row: file_of(row))
    files = found if isinstance(found, Mapped) else Files(found)
    files.skipped = skipped
    return files


def file_of(row: Row) -> File:
    """The file of a row with a text."""
    path = str(row.get("path") or "")
    language = row.get("language") or LANGUAGES.get(PurePath(path).suffix, "unknown")
    return File(row["text"], str(language), str(row.get("repo") or ""), path, row)


def texts_of_source(source: str) -> list[str]:
    """Texts of any source: fields `text` or `code`, or problems with their solution.

    Raises:
        UserError: the rows have none of these fields.
    """
    rows = load(source)
    found = []
    for row in rows:
        if row.get("solutions"):
            question = str(row["question"]).rstrip()
            program = question if row.get("style") == "completion" else f'"""{question}"""'
            found.append(f"{program}\n{row['solutions'][0]}")
        elif "text" in row or "code" in row:
            found.append(str(row["text"] if "text" in row else row["code"]))
        elif "question" not in row:  # a problem without solution is passed over
            require(rows, ("text",))
    if not found:
        raise UserError(f"{source} holds no texts: name a source of files")
    return found


def grades_of_source(source: str) -> list[tuple[str, float]]:
    """Texts and their grades, the field `score`.

    Raises:
        UserError: a row lacks a field.
    """
    rows = load(source)
    require(rows, ("text", "score"))
    return [(str(row["text"]), float(row["score"])) for row in rows]


@dataclass(frozen=True)
class Basic:
    """Bounds that a file must keep; 0 sets none.

    Attributes:
        max_line: characters of the longest line.
        max_mean_line: mean characters of a line.
        min_letter_ratio: least share of letters and digits among the characters.
    """

    max_line: int
    max_mean_line: float
    min_letter_ratio: float

    def fault(self, text: str) -> str:
        """The name of the first bound that a text breaks, or ""."""
        lines = text.splitlines()
        lengths = [len(line) for line in lines]
        if self.max_line and max(lengths) > self.max_line:
            return "max_line"
        if self.max_mean_line and sum(lengths) > self.max_mean_line * len(lengths):
            return "max_mean_line"
        letters = sum(map(str.isalnum, text))
        if self.min_letter_ratio and letters < self.min_letter_ratio * len(text):
            return "min_letter_ratio"
        return ""


def clean(
    files: Sequence[File], basic: Basic, threshold: float, evaluation: Iterable[str]
) -> tuple[list[int], dict[str, int]]:
    """Places of the files to keep, and how many were left out by what.

    The files are read once, one after the other. What `deduplicate` keeps of a file is in memory,
    less than 1 kB.

    Args:
        files: the corpus.
        basic: bounds, checked first.
        threshold: of near duplicates, see `deduplicate`; 0 keeps all duplicates.
        evaluation: texts that no file may share 10 words in a row with.
    """
    removed: dict[str, int] = {}

    def good() -> Iterator[Row]:
        for place, file in enumerate(files):
            fault = basic.fault(file.text)
            if fault:
                removed[fault] = removed.get(fault, 0) + 1
            else:
                yield {"text": file.text, "place": place}

    duplicates, contaminated = Duplicates(), Contaminated()
    rows: Iterable[Row] = good()
    if threshold:
        rows = deduplicate(rows, threshold=threshold, report=duplicates)
    references = list(evaluation)
    if references:
        rows = decontaminate(rows, references, report=contaminated)
    kept = [int(row["place"]) for row in rows]
    removed |= {"equal": duplicates.num_equal, "near": duplicates.num_near}
    removed["evaluation"] = len(contaminated.places)
    return kept, {name: count for name, count in removed.items() if count}


@dataclass(frozen=True)
class Kind:
    """What a file is packed by."""

    language: str
    repo: str


def order(
    files: Sequence[File | Kind], places: Iterable[int], packing: Packing, rng: random.Random
) -> list[list[int]]:
    """Places in the order they are joined; only what is in one list is joined (section 2.2).

    Args:
        files: the corpus, or what its files are packed by.
        places: of the files to use.
        packing: "language" joins files of one language, those of a repository together (the
            paper's); "repo" joins repositories whole, languages mixed; "file" joins at random.
        rng: of the order of repositories and of the files in them.
    """
    shuffled = list(places)
    rng.shuffle(shuffled)
    if packing == "file":
        return [shuffled]
    groups: dict[str, dict[str, list[int]]] = {}
    for place in shuffled:
        file = files[place]
        # a file of which nothing is said is a repository of its own
        repo = file.repo or f"\0{place}"
        group = groups.setdefault(file.language if packing == "language" else "", {})
        group.setdefault(repo, []).append(place)
    return [[place for repo in group.values() for place in repo] for group in groups.values()]


def select(
    scores: Sequence[float],
    languages: Sequence[str],
    sizes: Sequence[int],
    num_tokens: float,
) -> list[int]:
    """Places of the best files of each language, which keep the mix of languages (section 3.4).

    A language gets the share of `num_tokens` that it has of all tokens; its files are taken from
    the best down until they fill it, so it is passed by less than one file.

    Args:
        scores: of the files.
        languages: of the files.
        sizes: their tokens.
        num_tokens: to take in all.

    Returns:
        The places in ascending order.
    """
    share = min(num_tokens / sum(sizes), 1.0)
    quotas: dict[str, float] = {}
    for language, size in zip(languages, sizes, strict=True):
        quotas[language] = quotas.get(language, 0.0) + share * size
    chosen = []
    for place in sorted(range(len(scores)), key=lambda place: -scores[place]):
        if quotas[languages[place]] > 0:
            quotas[languages[place]] -= sizes[place]
            chosen.append(place)
    return sorted(chosen)


def raise_language(
    languages: Sequence[str], sizes: Sequence[int], language: str, ratio: float
) -> list[int]:
    """Places of all files, one language repeated up to a share of the tokens (section 2.4).

    It is only ever raised; the others keep their proportions. Without files of that language, or of
    others, every file comes once.

    Args:
        languages: of the files.
        sizes: their tokens.
        language: to raise.
        ratio: share of all tokens that it is raised to.
    """
    own = [place for place, each in enumerate(languages) if each == language]
    rest = [place for place, each in enumerate(languages) if each != language]
    places = own + rest
    if own and rest:
        wanted = sum(sizes[place] for place in rest) * ratio / (1 - ratio)
        total = sum(sizes[place] for place in own)
        turn = 0
        while total + sizes[own[turn % len(own)]] / 2 < wanted:
            places.append(own[turn % len(own)])
            total += sizes[own[turn % len(own)]]
            turn += 1
    return places
