"""Pieces of code by domain, what is called in them, and their tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pretrial.data.rows import mapped, require, text_in
from pretrial.errors import UserError, nearest
from pretrial.evaluate.api_calls import Site, call_sites


@dataclass(frozen=True)
class Example:
    """A piece of code. See CARD.fields."""

    text: str
    domain: str = ""
    language: str = "python"
    calls: tuple[dict[str, Any], ...] | None = None

    def sites(self) -> list[Site]:
        """Its call sites."""
        return call_sites(self.text, self.language, self.calls)


def read_examples(rows: Sequence[dict[str, Any]]) -> list[Example]:
    """Examples; `domain` may be missing where nothing is trained.

    Raises:
        UserError: a row has no code, or call sites of another form.
    """
    require(rows, ("text",))
    return list(mapped(rows, _example))


def _example(number: int, row: dict[str, Any]) -> Example:
    calls = row.get("calls")
    if calls is not None and not all({"call", "start"} <= set(call) for call in calls):
        raise UserError(
            f"'calls' of row {number} must be a list of objects with 'call' and 'start':"
            " correct it, or leave it out to have call sites found"
        )
    return Example(
        text_in(row, number),
        str(row.get("domain") or ""),
        row.get("language") or "python",
        None if calls is None else tuple(calls),
    )


def called_names(examples: Sequence[Example], most: int) -> list[str]:
    """Names of what is called in the code, the most frequent first."""
    counts = Counter(site.name for example in examples for site in example.sites())
    return [name for name, _ in counts.most_common(most)]


def by_domain(examples: Sequence[Example], order: Sequence[str] = ()) -> dict[str, list[Example]]:
    """The examples of each domain, domains in `order` or as they first appear.

    Raises:
        UserError: an example has no domain, or `order` does not name each domain once.
    """
    found: dict[str, list[Example]] = {}
    for number, example in enumerate(examples):
        if not example.domain:
            raise UserError(
                f"example {number} has no 'domain': name the field that says which library it"
                " belongs to, such as --fields domain=repo"
            )
        found.setdefault(example.domain, []).append(example)
    if not order:
        return found
    for name in order:
        if name not in found:
            raise UserError(f"order names {name!r}; the nearest domain: {nearest(name, found)}")
    missing = found.keys() - set(order)
    if missing or len(set(order)) != len(order):
        raise UserError(f"order must name each domain once: {', '.join(found)}")
    return {name: found[name] for name in order}


def text_ids(tokenizer: Any, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of texts alone; special tokens that are written in them are text."""
    if not texts:
        return []
    plain = {"add_special_tokens": False, "split_special_tokens": True}
    return list(tokenizer(list(texts), **plain)["input_ids"])
