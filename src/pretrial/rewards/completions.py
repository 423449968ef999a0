"""From a completion, as trainers give it, to the program in it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pretrial.errors import UserError

Fence = Literal["last", "first", "none"]

_OPENING = re.compile(r"^([ \t]*)(`{3,}|~{3,})[ \t]*([^`]*)$")
_PYTHON = {"python", "py", "python3", "py3"}
_THOUGHT_END = "</think>"
_THOUGHT_START = "<think>"


def text_of(completion: Any) -> str:
    """The text of a completion: itself, or what the assistant said last in a list of messages.

    Args:
        completion: a text; a message with `content`; or a list of messages, of which those of other
            roles (of tools, say) are passed over. `content` may be a list of parts, of which the
            texts count.

    Raises:
        UserError: it is something else.
    """
    if isinstance(completion, str):
        return completion
    if isinstance(completion, Mapping):
        completion = [completion]
    if not isinstance(completion, Sequence) or isinstance(completion, bytes):
        raise UserError(
            f"a completion is a text or a list of chat messages, not {completion!r:.60}"
        )
    for message in reversed(completion):
        if not isinstance(message, Mapping):
            raise UserError(f"a chat message is a dict with role and content, not {message!r:.60}")
        if message.get("role", "assistant") == "assistant":
            return _content(message.get("content"))
    return ""


def _content(content: Any) -> str:
    if content is None:  # a message that only calls tools
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        texts = (part.get("text") for part in content if isinstance(part, Mapping))
        return "".join(text for text in texts if isinstance(text, str))
    raise UserError(f"the content of a chat message is a text or a list of parts: {content!r:.60}")


def program_in(text: str, fence: Fence = "last") -> str | None:
    """The program in an answer.

    What stands before the last `</think>` is no answer. Of the fenced blocks of the answer those
    marked as Python count; where none is marked so, those without a mark; of these the last one, or
    the first. A block that is not closed goes to the end. Without any fence the whole answer is the
    program.

    Args:
        text: the answer.
        fence: which block is taken; "none" takes the text as it stands, for models that only write
            code.

    Returns:
        None where there is no program: all blocks are in other languages, or the answer has not
        begun since a thought has not ended.
    """
    if fence == "none":
        return text
    _, ended, answer = text.rpartition(_THOUGHT_END)
    if not ended and text.lstrip().startswith(_THOUGHT_START):
        return None
    blocks = fenced_blocks(answer)
    if not blocks:
        return answer
    marked = [code for mark, code in blocks if mark in _PYTHON]
    chosen = marked or [code for mark, code in blocks if not mark]
    if not chosen:
        return None
    return chosen[-1 if fence == "last" else 0]


def fenced_blocks(text: str) -> list[tuple[str, str]]:
    """(first word after the fence in lower case, code) of each fenced block, in order.

    As in CommonMark a block ends at a line that holds nothing but a fence of the same sign that is
    at least as long; so it does not end within a line of code. A block that is indented, as in a
    list, loses that indent.
    """
    blocks: list[tuple[str, str]] = []
    lines: list[str] = []
    indent, sign, mark = "", "", None
    for line in text.splitlines(keepends=True):
        bare = line.strip()
        if mark is None:
            if opening := _OPENING.match(line.rstrip()):
                indent, sign, info = opening.groups()
                mark = (info.split() or [""])[0].strip("{}.").lower()
        elif bare and set(bare) == {sign[0]} and len(bare) >= len(sign):
            blocks.append((mark, "".join(lines)))
            lines, mark = [], None
        else:
            lines.append(line.removeprefix(indent))
    if mark is not None:
        blocks.append((mark, "".join(lines)))
    return blocks
