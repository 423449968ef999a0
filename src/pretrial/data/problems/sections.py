"""Example inputs and outputs that a statement prints as text under headings.

Statements come from many judges, and differ: "-----Sample Input-----", "Example 2:", a heading
"-----Examples-----" over "Input" and "Output" lines, "Input: nums = [1, 2]". Each line is a heading
or belongs to the block opened by the heading before it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Heading = Literal["input", "output", "examples", "other"]

_DECORATION = r"[\s#*=_~`-]*"
_NUMBER = r"[\s#(]*(?:\d{1,2}|[ivx]{1,4})?\)?"
_INPUT = r"(?:input|stdin)s?"
_OUTPUT = r"(?:output|stdout)s?"
_EXAMPLE = r"(?:samples?|examples?)"
_END = rf"{_DECORATION}(?:[:\uff1a]{_DECORATION}(?P<rest>.*))?$"
_SAMPLE = rf"(?:{_EXAMPLE}(?:\s+test)?(?:\s+case)?s?{_NUMBER}\s*(?:of|for|-|:)?\s*(?:the\s+)?)"
_FORMS: tuple[tuple[Heading, bool, str], ...] = (
    ("input", True, rf"{_SAMPLE}{_INPUT}"),
    ("output", True, rf"{_SAMPLE}{_OUTPUT}"),
    ("input", False, rf"(?:the\s+)?{_INPUT}"),
    ("output", False, rf"(?:the\s+|expected\s+)?{_OUTPUT}"),
    ("examples", True, rf"(?:for\s+)?{_EXAMPLE}(?:\s+(?:tests?|cases?|test\s+cases?))?"),
)
_PATTERNS = tuple(
    (kind, marked, re.compile(rf"^{_DECORATION}{text}{_NUMBER}{_END}", re.IGNORECASE))
    for kind, marked, text in _FORMS
)
_OTHER = re.compile(
    r"^(?:[#*=-]{3,}\s*\w.*|[\s*#]*(?:notes?|explanations?|constraints?|constrain|hints?|remarks?|"
    r"follow.?up|scoring|subtasks?|variables|limits?|restrictions?|source)\b(?:.{0,40}|.{0,20}:.*))$",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Pair:
    """One printed example.

    Attributes:
        input: its text, without blank lines around it.
        output: likewise.
        sure: it stood under a heading that says example, and nothing looked like prose.
    """

    input: str
    output: str
    sure: bool


@dataclass
class _Block:
    kind: Heading
    sure: bool
    lines: list[str]


def printed_pairs(question: str) -> list[Pair]:
    """The examples that a statement prints as text, in its order."""
    pairs: list[Pair] = []
    waiting: _Block | None = None
    for block in _blocks(question):
        if block.kind == "input":
            waiting = block
        elif block.kind == "output" and waiting is not None:
            text, prose = _data(block.lines)
            source, source_prose = _data(waiting.lines)
            sure = block.sure and waiting.sure and not (prose or source_prose)
            if text and (sure or not (prose or source_prose)):
                pairs.append(Pair(source, text, sure))
            waiting = None
    return pairs


def _blocks(question: str) -> list[_Block]:
    """Cuts a statement at its headings."""
    blocks = [_Block("other", False, [])]
    in_examples = False
    for line in question.splitlines():
        kind, marked, rest = _heading(line)
        if kind is None:
            blocks[-1].lines.append(line)
            continue
        if kind == "examples":
            in_examples = True
        elif kind == "other" and re.match(r"^[#*=-]{3,}", line):
            in_examples = False  # a titled section ends the examples; a mere "Note:" does not
        blocks.append(_Block(kind, marked or in_examples, [rest] if rest.strip() else []))
    return blocks


def _heading(line: str) -> tuple[Heading | None, bool, str]:
    """Kind of the heading, whether it says example itself, and what follows it on its line."""
    if len(line) > 2000:
        return None, False, ""
    for kind, marked, pattern in _PATTERNS:
        match = pattern.match(line)
        if match:
            return kind, marked, match["rest"] or ""
    return ("other" if _OTHER.match(line) else None), False, ""


def _data(lines: list[str]) -> tuple[str, bool]:
    """The block's text up to the first paragraph of prose, and whether prose came first."""
    lines = [line for line in lines if not line.strip().startswith("```")]
    paragraphs = re.split(r"\n[ \t]*\n", "\n".join(line.rstrip() for line in lines).strip("\n"))
    kept: list[str] = []
    for paragraph in paragraphs:
        if _is_prose(paragraph, anywhere=bool(kept)):
            break
        kept.append(paragraph)
    return "\n\n".join(kept).strip("\n"), not kept


def _is_prose(text: str, anywhere: bool) -> bool:
    """Whether a paragraph looks like sentences.

    The first of a block may be words that a program is to print, so it must be mostly words in
    small letters and end like a sentence. After it, two such words are enough: explanations follow
    outputs far more often than outputs have blank lines.
    """
    words = text.split()
    small = sum(bool(re.fullmatch(r"[(\"']?[a-z]{2,}[,.;:)\"']*", word)) for word in words)
    if anywhere:
        return small >= 2
    ends = text.rstrip().endswith((".", ":", "!", "?", ")"))
    return len(words) >= 4 and small >= 0.5 * len(words) and ends
