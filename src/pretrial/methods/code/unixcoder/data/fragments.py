"""Rows as code fragments, and fragments as the token ids that are trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pretrial.code_views import view
from pretrial.data.rows import mapped, require
from pretrial.errors import UserError
from pretrial.methods.code.unixcoder.data.mapping import Order, Symbol, flatten
from pretrial.methods.code.unixcoder.data.vocabulary import Vocabulary

Ids = NDArray[np.int32]

# What lies further on is never learned from: no sequence reads so far, and a line of megabytes
# would take minutes to be parsed.
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
    return list(mapped(rows, _fragment))


def _fragment(number: int, row: dict[str, Any]) -> Fragment:
    fields = {name: row.get(name) for name in ("code", "comment", "language")}
    for name, value in fields.items():
        if value is not None and not isinstance(value, str):
            raise UserError(f"'{name}' of row {number} is a {type(value).__name__}: give a string")
    code, comment = fields["code"] or "", fields["comment"]
    if not code.strip() and not (comment or "").strip():
        raise UserError(f"row {number} has neither code nor a comment: leave it out")
    return Fragment(code, comment, fields["language"] or "python")


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
