"""What is learned from: texts, dialogues in ChatML, images with their texts, and their mixture."""

from __future__ import annotations

import hashlib
import random
from array import array
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pretrial.data.rows import Row, chosen, text_in, where
from pretrial.errors import UserError

#: The tokens around a turn.
BEGIN, END = "<|im_start|>", "<|im_end|>"
_ROLES = ("system", "user", "assistant")
_RECITED = 60  # words of a text that are recited
#: Texts that a question is about one of.
NUM_RECITABLE = 3


class Turns(NamedTuple):
    """A dialogue in tokens.

    Attributes:
        ids: all tokens.
        predicted: True at those of responses and at the end of each.
    """

    ids: list[int]
    predicted: list[bool]


def check_messages(messages: Any, number: int) -> None:
    """Checks the messages of a row.

    Raises:
        UserError: they are no dialogue with a response.
    """
    form = 'give a list such as [{"role": "user", "content": "..."}, {"role": "assistant", ...}]'
    good = isinstance(messages, Sequence) and not isinstance(messages, str) and messages
    if not good or not all(isinstance(each, Mapping) for each in messages):
        raise UserError(f"'messages' of row {number} is no dialogue: {form}")
    for each in messages:
        if each.get("role") not in _ROLES or not isinstance(each.get("content"), str):
            raise UserError(
                f"a message of row {number} lacks a text or a role out of {', '.join(_ROLES)}:"
                f" {form}"
            )
    if not any(each["role"] == "assistant" and each["content"].strip() for each in messages):
        raise UserError(f"the dialogue of row {number} has no response of the assistant: {form}")


def has_messages(row: Mapping[str, Any]) -> bool:
    """Whether a row is a dialogue; in tables a row of text has a null there."""
    return row.get("messages") is not None


def has_image(row: Mapping[str, Any]) -> bool:
    """Whether a row is an image and what is said of it."""
    return row.get("image") is not None


def is_text(row: Mapping[str, Any]) -> bool:
    """Whether a row is a text without an image."""
    return row.get("text") is not None and not has_image(row)


def check_row(number: int, row: dict[str, Any]) -> dict[str, Any]:
    """The row, if it has a text or a dialogue.

    Raises:
        UserError: it has neither.
    """
    if has_messages(row):
        check_messages(row["messages"], number)
    elif "text" in row:
        text_in(row, number)
    else:
        raise UserError(
            f"row {number} has neither 'text' nor 'messages' (found: {', '.join(row)}):"
            " name the one to use with --fields text=OTHER"
        )
    return row


def turns(messages: Sequence[Mapping[str, str]], tokenizer: Any, max_length: int) -> Turns:
    """A dialogue in ChatML, cut at `max_length` tokens."""
    ids: list[int] = []
    predicted: list[bool] = []

    def put(text: str, is_response: bool) -> None:
        new = tokenizer(text, add_special_tokens=False)["input_ids"]
        ids.extend(new)
        predicted.extend([is_response] * len(new))

    for message in messages:
        put(f"{BEGIN}{message['role']}\n", False)
        put(f"{message['content']}{END}", message["role"] == "assistant")
        put("\n", False)
    return Turns(ids[:max_length], predicted[:max_length])


def prompt(messages: Sequence[Mapping[str, str]]) -> str:
    """The text of a dialogue as far as it goes, with a response begun."""
    parts = [f"{BEGIN}{each['role']}\n{each['content']}{END}\n" for each in messages]
    return "".join([*parts, f"{BEGIN}assistant\n"])


def mix(
    dialogues: Sequence[Mapping[str, Any]], shares: Mapping[str, float]
) -> Sequence[Mapping[str, Any]]:
    """Dialogues thinned out by ability; which ones stay depends on their text alone.

    Raises:
        UserError: no dialogue has one of the abilities.
    """
    known = {str(each.get("ability") or "") for each in dialogues}
    for name in shares:
        if name not in known:
            raise UserError(
                f"no dialogue has the ability {name!r}; there are"
                f" {', '.join(sorted(known - {''})) or 'none: add a field ability'}"
            )

    def is_kept(each: Mapping[str, Any]) -> bool:
        text = repr(each["messages"]).encode("utf-8", "replace")
        lot = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") / 2**64
        return lot < shares.get(str(each.get("ability") or ""), 1.0)

    return where(dialogues, is_kept)


def texts_of(row: Mapping[str, Any]) -> list[str]:
    """The texts of a row: of each message of a dialogue, or the one."""
    if has_messages(row):
        return [str(message["content"]) for message in row["messages"]]
    return [row["text"]]


@dataclass(frozen=True)
class Pair:
    """An image, as `open_image` takes it, and the token ids of its text."""

    image: Any
    ids: list[int]


def capped(rows: Sequence[Row], most: int, rng: random.Random) -> Sequence[Row]:
    """At most so many rows of each `source`, drawn; those without one count as one source."""
    order = array("q", range(len(rows)))
    rng.shuffle(order)
    seen: Counter[str] = Counter()
    kept = array("q")
    for place in order:
        source = str(rows[place].get("source") or "")
        seen[source] += 1
        if seen[source] <= most:
            kept.append(place)
    return chosen(rows, kept)


def recitation(texts: Sequence[str], rng: random.Random, most: int) -> str:
    """Several texts, a question about one of them, and its beginning recited as the answer.

    Args:
        texts: to choose from.
        rng: chooses.
        most: characters of the chosen texts together.
    """
    number = min(NUM_RECITABLE, len(texts))
    picked = [text[: most // number] for text in rng.sample(texts, number)]
    place = rng.randrange(len(picked))
    parts = [f"Document {number}:\n{text}" for number, text in enumerate(picked, 1)]
    beginning = " ".join(picked[place].split()[:_RECITED])
    question = f"Question: How does document {place + 1} begin?\nAnswer: {beginning}"
    return "\n\n".join([*parts, question])
