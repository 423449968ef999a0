"""What MultiMend learns from: wrong lines, right lines, and the function around them."""

from __future__ import annotations

import random
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pretrial.code_views import View, view
from pretrial.corrupt.mutations import Mutation, mutate
from pretrial.errors import UserError
from pretrial.train.seeds import seed_of

#: What sources call a language (release), by its name in `code_views`.
NAMES = {
    "python": "Python",
    "java": "Java",
    "javascript": "JavaScript",
    "c": "C",
    "go": "Go",
    "php": "PHP",
    "ruby": "Ruby",
    "csharp": "C#",
}
_BUGS_PER_FUNCTION = 3
_MOST_CHARACTERS = 100_000  # longer code, such as data on one line, is no function to learn from


@dataclass(frozen=True)
class Fix:
    """A pair to learn from.

    Attributes:
        removed: the wrong lines.
        added: the right lines.
        context: the function with the wrong lines, without comments.
        language: its name in sources, such as "Python".
    """

    removed: str
    added: str
    context: str
    language: str = "Python"

    @property
    def source(self) -> str:
        """What the model reads."""
        return source_text(self.removed, self.context, self.language)


def collapsed(text: str) -> str:
    """The text with each run of white space turned into one space."""
    return " ".join(text.split())


def joined(lines: str) -> str:
    """Lines as one, without the white space around each."""
    return " ".join(line.strip() for line in lines.splitlines()).strip()


def source_text(
    removed: str, context: str, language: str = "Python", retrieved: Sequence[str] = ()
) -> str:
    """What the model reads; retrieved lines there are at repair only."""
    # the release's form: language, wrong lines, a colon, lines from elsewhere, the function
    return " ".join([language, joined(removed), ":", *retrieved, collapsed(context)])


def target_text(added: str) -> str:
    """What the model writes: the right lines with their line breaks, the first at the margin."""
    return textwrap.dedent(added.expandtabs()).strip()


def language_name(name: str) -> str:
    """The name in sources; other languages than those known keep their own."""
    return NAMES.get(name.lower(), name)


def fix_of_row(row: Mapping[str, Any]) -> Fix:
    """The pair of a row with `removed`, `added` and `context`.

    Raises:
        UserError: one of them is no text.
    """
    texts = {name: row[name] for name in ("removed", "added", "context")}
    for name, text in texts.items():
        if not isinstance(text, str):
            raise UserError(f"the field {name!r} must be text, not {type(text).__name__}: mend it")
    return Fix(**texts, language=language_name(row.get("language") or "python"))


def made_fixes(code: str, language: str = "python") -> Iterator[Fix]:
    """Pairs from sound code: bugs made in it (see `corrupt.mutations`), always the same."""
    if len(code) > _MOST_CHARACTERS:
        view("", language)  # says what to install where there is no grammar
        return
    original = view(without_comments(view(code, language)), language)
    rng = random.Random(seed_of("bugs", original.text))
    made = [mutate(original, rng) for _ in range(_BUGS_PER_FUNCTION)]
    for mutation in dict.fromkeys(filter(None, made)):
        yield fix_of_mutation(mutation, language)


def fix_of_mutation(mutation: Mutation, language: str = "python") -> Fix:
    """The pair that undoes the first change of a mutation of a function."""
    change = mutation.changes[0]
    wrong, right = ("\n".join(lines) for lines in (change.wrong, change.right))
    return Fix(wrong, right, mutation.code, language_name(language))


def without_comments(code: View) -> str:
    """The text without comments and docstrings, as contexts are."""
    return code.without_comments(docstrings=True)
