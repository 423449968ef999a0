"""Rows as code fragments, and fragments as the token ids that are trained on."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, overload

import numpy as np
import torch
from numpy.typing import NDArray

from pretrial.code_views import view
from pretrial.data.reading.mixture import temperature_weights
from pretrial.data.rows import require
from pretrial.errors import UserError
from pretrial.methods.code.unixcoder.mapping import Order, Symbol, flatten
from pretrial.methods.code.unixcoder.vocabulary import Vocabulary
from pretrial.train.seeds import seed_of

Ids = NDArray[np.int32]

# What lies further on is never learnt from: no sequence reads so far, and a line of megabytes would
# take minutes to be parsed.
_MOST_CHARACTERS = 100_000


@dataclass
class Fragment:
    """A row.

    Attributes:
        code: source code; "" in a row of plain text.
        comment: what the code does, or the plain text; None takes the code's first docstring.
        language: one that `code_views.languages` names.
    """

    code: str
    comment: str | None = None
    language: str = "python"

    @cached_property
    def said(self) -> str:
        """The comment, or the first paragraph of the docstring of the first function."""
        if self.comment is not None:
            return " ".join(self.comment.split())
        functions = view(self.code[:_MOST_CHARACTERS], self.language).functions()
        docstring = functions[0].docstring if functions else ""
        return " ".join(docstring.strip().split("\n\n")[0].split())

    @cached_property
    def bare(self) -> str:
        """The beginning of the code, as far as it can be read, without comments and docstrings."""
        seen = view(self.code[:_MOST_CHARACTERS], self.language)
        return seen.without_comments(docstrings=True) if self.code else ""

    def symbols(self, order: Order) -> Iterator[Symbol]:
        """The tree of the bare code as a sequence."""
        return flatten(view(self.bare, self.language).tree(), order)


def read_fragments(rows: Sequence[dict[str, Any]]) -> list[Fragment]:
    """Fragments of rows with `code`, and `comment` and `language` where they have them.

    Raises:
        UserError: a field is missing or no string, or a row holds nothing.
    """
    require(rows, ("code",))
    found = []
    for number, row in enumerate(rows):
        fields = {name: row.get(name) for name in ("code", "comment", "language")}
        for name, value in fields.items():
            if value is not None and not isinstance(value, str):
                raise UserError(
                    f"'{name}' of row {number} is a {type(value).__name__}: give a string"
                )
        code, comment = fields["code"] or "", fields["comment"]
        if not code.strip() and not (comment or "").strip():
            raise UserError(f"row {number} has neither code nor a comment: leave it out")
        found.append(Fragment(code, comment, fields["language"] or "python"))
    return found


class Item(NamedTuple):
    """Ids of a fragment.

    Attributes:
        code: with the marks of its tree; empty for plain text.
        comment: empty where there is none.
        language: of the code.
    """

    code: Ids
    comment: Ids
    language: str

    def without_code(self) -> Item:
        """The comment alone."""
        return self._replace(code=self.code[:0])

    def without_comment(self) -> Item:
        """The same code without a comment."""
        return self._replace(comment=self.comment[:0])


def items_of(
    fragments: Sequence[Fragment], vocabulary: Vocabulary, order: Order | None, max_length: int
) -> list[Item]:
    """Fragments as ids.

    Args:
        fragments: the data.
        vocabulary: turns text into ids.
        order: of the marks of the syntax tree; None has none.
        max_length: tokens of text of one item; plain text that is longer becomes several.
    """
    items: list[Item] = []
    nothing = np.zeros(0, dtype=np.int32)
    for fragment in fragments:
        said = np.array(vocabulary.ids_of(fragment.said), dtype=np.int32)
        if not fragment.bare.strip():
            items += [
                Item(nothing, said[start : start + max_length], fragment.language)
                for start in range(0, len(said), max_length)
            ]
            continue
        if order is None:
            ids = vocabulary.ids_of(fragment.bare)
        else:
            ids = vocabulary.ids_with_marks(fragment.bare, fragment.symbols(order))
        # more than a sequence holds is kept, since half of the time the marks are dropped
        code = np.array(ids[: 3 * max_length], dtype=np.int32)
        items.append(Item(code, said[:max_length], fragment.language))
    return items


class Turn(NamedTuple):
    """An item, and what is learnt from it this time."""

    objective: str
    item: Item


class Turns(Sequence[Turn]):
    """Items under objectives that alternate from batch to batch, each batch of one language.

    A pass has as many batches as the items fill. A batch is of language i with a probability of
    n_i ** alpha / sum_j n_j ** alpha, so that rare languages come up more often than they would by
    their number; those that could not fill one batch count as one language with the largest. There
    are as many passes as objectives, each shifted by one, and they are one sequence, so that where
    training stands tells what is learnt next.

    Args:
        items: the data.
        objectives: names, in the order of the batches.
        batch_size: examples a step.
        alpha: 1 keeps the proportions of the languages, 0 makes them equal.
        seed: of the order.

    Raises:
        UserError: the items do not fill a batch.
    """

    def __init__(
        self,
        items: Sequence[Item],
        objectives: Sequence[str],
        batch_size: int,
        alpha: float,
        seed: int,
    ) -> None:
        if len(items) < batch_size:
            raise UserError(
                f"{len(items)} examples do not fill a batch of {batch_size}: give more data, or"
                f" set batch_size to {max(len(items), 1)} or less"
            )
        self.items = items
        self.objectives = tuple(objectives)
        self.batch_size = batch_size
        self.num_batches = len(items) // batch_size
        self._groups = _by_language(items, batch_size)
        sizes = [len(group) for group in self._groups]
        self._shares = torch.tensor(temperature_weights(sizes, alpha))
        self._seed = seed
        self._pass = -1
        self._places: list[int] = []

    def __len__(self) -> int:
        return len(self.objectives) * self.num_batches * self.batch_size

    @overload
    def __getitem__(self, index: int) -> Turn: ...
    @overload
    def __getitem__(self, index: slice) -> list[Turn]: ...
    def __getitem__(self, index: int | slice) -> Turn | list[Turn]:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(len(self)))]
        number, place = divmod(range(len(self))[index], self.num_batches * self.batch_size)
        if number != self._pass:
            self._pass, self._places = number, self._order(number)
        batch = place // self.batch_size
        objective = self.objectives[(number + batch) % len(self.objectives)]
        return Turn(objective, self.items[self._places[place]])

    def _order(self, number: int) -> list[int]:
        """Places of the items in one pass, batch after batch."""
        generator = torch.Generator().manual_seed(seed_of(self._seed, "pass", number))
        drawn = torch.multinomial(
            self._shares, self.num_batches, replacement=True, generator=generator
        )
        streams: dict[int, list[int]] = defaultdict(list)
        for language, count in enumerate(drawn.bincount(minlength=len(self._groups)).tolist()):
            group = self._groups[language]
            for _ in range(math.ceil(count * self.batch_size / len(group))):
                order = torch.randperm(len(group), generator=generator).tolist()
                streams[language] += [group[place] for place in order]
        order = []
        for language in drawn.tolist():
            order += streams[language][: self.batch_size]
            del streams[language][: self.batch_size]
        return order


def _by_language(items: Sequence[Item], batch_size: int) -> list[list[int]]:
    """Places of the items of each language that fills a batch; the largest has all the rest."""
    groups: dict[str, list[int]] = defaultdict(list)
    for place, item in enumerate(items):
        groups[item.language].append(place)
    by_size = sorted(groups.values(), key=len, reverse=True)
    rest = [place for group in by_size[1:] if len(group) < batch_size for place in group]
    return [by_size[0] + rest, *(group for group in by_size[1:] if len(group) >= batch_size)]
