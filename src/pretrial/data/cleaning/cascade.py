"""A cascade of filters for a corpus of documents, from cheap to dear, each with its account.

    cascade = Cascade.of(Options(scripts=("latin",)), reference=good_texts, sample=some_rows)
    for row in cascade.run(rows): ...
    print(cascade.table())

Documents pass one after the other in batches, so memory stays flat but for what de-duplication must
remember: about a kilobyte a document that is kept, and a fifth of the bytes of its text. A filter
leaves a document out with a reason, or changes it and says how; nothing is changed or left out
without being counted.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pretrial.data.cleaning.cascade_stages import (
    STAGES,
    Filter,
    Options,
    Outcome,
    cheap,
    learned,
    remembering,
)
from pretrial.data.cleaning.shingles import batches
from pretrial.data.rows import Row, require
from pretrial.errors import UserError

_SHOWN = 3  # examples of each reason that are kept
_EXAMPLE = 80  # characters of an example


@dataclass
class Account:
    """What a stage did.

    Attributes:
        name: of the stage.
        num_seen: documents that reached it.
        num_kept: documents that it let pass.
        chars_seen: their characters.
        chars_kept: characters that it let pass.
        removed: documents left out, by reason.
        changed: documents changed, by what was found.
        examples: of each reason the beginnings of some documents.
    """

    name: str
    num_seen: int = 0
    num_kept: int = 0
    chars_seen: int = 0
    chars_kept: int = 0
    removed: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def note(self, before: str, outcome: Outcome) -> None:
        """Counts one document."""
        text, found = outcome
        self.num_seen += 1
        self.chars_seen += len(before)
        if text is not None:
            self.num_kept += 1
            self.chars_kept += len(text)
        if found:
            (self.removed if text is None else self.changed)[found] += 1
            shown = self.examples.setdefault(found, [])
            if len(shown) < _SHOWN:
                shown.append(" ".join(before[: 4 * _EXAMPLE].split())[:_EXAMPLE])


class Cascade:
    """Stages in a row.

    Args:
        stages: name and filter of each.
        text_field: name of the text's field.
    """

    def __init__(self, stages: Sequence[tuple[str, Filter]], text_field: str = "text") -> None:
        self.stages = stages
        self.text_field = text_field
        self.accounts = [Account(name) for name, _ in stages]

    @classmethod
    def of(
        cls,
        options: Options,
        *,
        reference: Sequence[str] = (),
        harmful: Sequence[str] = (),
        sample: Sequence[str] = (),
        text_field: str = "text",
    ) -> Cascade:
        """The whole cascade.

        Args:
            options: settings.
            reference: texts as one wants them, such as an encyclopedia's; without any, perplexity,
                quality and topics are left out.
            harmful: texts as one does not want them; without any, safety is left out.
            sample: texts of the corpus, drawn at random, which quality and topics are learnt from.
            text_field: name of the text's field.
        """
        filters = cheap(options)
        filters |= learned(options, list(reference), list(harmful), list(sample))
        filters |= remembering(options)
        chosen = [name for name in STAGES if name in filters and name not in options.skip]
        return cls([(name, filters[name]) for name in chosen], text_field)

    def run(self, rows: Iterable[Row]) -> Iterator[Row]:
        """The rows that pass, changed where a stage changed them, read while one iterates."""
        name = self.text_field
        for batch in batches(self._checked(rows), lambda row: len(row[name])):
            left = batch
            for (_, apply), account in zip(self.stages, self.accounts, strict=True):
                texts = [row[name] for row in left]
                outcomes = list(apply(left, texts)) if left else []
                for text, outcome in zip(texts, outcomes, strict=True):
                    account.note(text, outcome)
                left = [
                    row if text == row[name] else {**row, name: text}
                    for row, (text, _) in zip(left, outcomes, strict=True)
                    if text is not None
                ]
            yield from left

    def _checked(self, rows: Iterable[Row]) -> Iterator[Row]:
        for number, row in enumerate(rows):
            if number == 0:
                require([row], (self.text_field,))
            if not isinstance(row.get(self.text_field), str):
                raise UserError(f"row {number} has no string {self.text_field!r}: mend the data")
            yield row

    def report(self) -> list[dict[str, Any]]:
        """The accounts as plain JSON."""
        plain = [dict(vars(account)) for account in self.accounts]
        for each in plain:
            each |= {"removed": dict(each["removed"]), "changed": dict(each["changed"])}
        return plain

    def table(self) -> str:
        """The accounts as lines of text."""
        lines = [f"{'stage':<12}{'seen':>9}{'kept':>9}{'MB kept':>9}  left out or changed"]
        for each in self.accounts:
            found = [f"{count} {name}" for name, count in each.removed.most_common()]
            found += [f"{count} {name} (changed)" for name, count in each.changed.most_common()]
            lines.append(
                f"{each.name:<12}{each.num_seen:>9}{each.num_kept:>9}{each.chars_kept / 1e6:>9.2f}"
                f"  {', '.join(found)}"
            )
        return "\n".join(lines)


def draw(rows: Iterable[Row], count: int, seed: int = 0, text_field: str = "text") -> list[str]:
    """Texts of `count` rows drawn at random while reading once (algorithm R)."""
    rng = random.Random(seed)
    kept: list[str] = []
    for number, row in enumerate(rows):
        if number < count:
            kept.append(row[text_field])
        elif (place := rng.randrange(number + 1)) < count:
            kept[place] = row[text_field]
    return kept
