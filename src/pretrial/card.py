"""The card of a method: what `pretrial list` and `pretrial info` show, read without torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Field:
    """One data field that a method reads.

    Attributes:
        name: the key in an example.
        meaning: what it holds, in a few words.
        required: False where the method works without it.
    """

    name: str
    meaning: str
    required: bool = True


@dataclass(frozen=True)
class Claim:
    """One published figure, and where it was published.

    Attributes:
        text: the claim in our own words, with its figures.
        source: paper and section or table; starts with "(secondary)" or "(unverified)" where the
            figure was not read in the paper itself.
    """

    text: str
    source: str


@dataclass(frozen=True)
class Card:
    """What a method is. In a method's file it is a literal: names, strings, tuples, numbers only.

    Attributes:
        slug: the paper's short name in lower case; the file is called so.
        title: the paper's title.
        authors: the first author, and others.
        year: of the first public version.
        arxiv: the identifier, such as "2207.01780".
        summary: the idea in one line of at most 90 characters.
        baseline: what it is put on trial against.
        abilities: what the trained model can do: encode, generate, classify, search, ...
        fields: the data fields.
        claims: the published figures.
        extra: the optional dependency group that it needs, or "".
    """

    slug: str
    title: str
    authors: str
    year: int
    arxiv: str
    summary: str
    baseline: str
    abilities: tuple[str, ...]
    fields: tuple[Field, ...]
    claims: tuple[Claim, ...]
    extra: str = ""
