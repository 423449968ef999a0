"""Text and programs as HTML: a little inline markup, Python colours, lines that differ."""

from __future__ import annotations

import difflib
import io
import keyword
import re
import tokenize
from html import escape

_INLINE = re.compile(
    r"`(?P<code>[^`]+)`|\*\*(?P<strong>[^*]+)\*\*|\[(?P<link>[^\]]+)\]\((?P<url>[^)\s]+)\)"
)


def inline(text: str) -> str:
    """HTML of text with `code`, **strong** and [links](https://...); everything else is escaped."""
    parts, end = [], 0
    for found in _INLINE.finditer(text):
        parts.append(escape(text[end : found.start()]))
        if found["code"]:
            parts.append(f"<code>{escape(found['code'])}</code>")
        elif found["strong"]:
            parts.append(f"<strong>{escape(found['strong'])}</strong>")
        elif re.match(r"https?:|#|[\w./-]+$", found["url"]):
            parts.append(f'<a href="{escape(found["url"])}">{escape(found["link"])}</a>')
        else:
            parts.append(escape(found[0]))
        end = found.end()
    return "".join(parts) + escape(text[end:])


def python_lines(code: str) -> list[str]:
    """HTML of each line of a Python program, with keywords, strings, numbers and comments marked.

    A program that does not tokenize (half-written, or not Python) is shown plain from there on.
    """
    lines = code.split("\n")
    marks: list[list[tuple[int, int, str]]] = [[] for _ in lines]
    try:
        for token in tokenize.generate_tokens(io.StringIO(code).readline):
            kind = _kind(token)
            if not kind:
                continue
            for row in range(token.start[0], token.end[0] + 1):
                start = token.start[1] if row == token.start[0] else 0
                end = token.end[1] if row == token.end[0] else len(lines[row - 1])
                marks[row - 1].append((start, end, kind))
    except (tokenize.TokenError, SyntaxError):
        pass
    return [_marked(line, found) for line, found in zip(lines, marks, strict=True)]


def _kind(token: tokenize.TokenInfo) -> str:
    if token.type == tokenize.NAME:
        return "k" if keyword.iskeyword(token.string) else ""
    return {tokenize.STRING: "s", tokenize.NUMBER: "n", tokenize.COMMENT: "m"}.get(token.type, "")


def _marked(line: str, marks: list[tuple[int, int, str]]) -> str:
    parts, at = [], 0
    for start, end, kind in marks:
        parts.append(escape(line[at:start]))
        parts.append(f'<span class="{kind}">{escape(line[start:end])}</span>')
        at = end
    return "".join(parts) + escape(line[at:])


def side_by_side(left: str, right: str) -> tuple[str, str]:
    """HTML of two programs, the lines in which they differ marked."""
    a, b = left.rstrip("\n").split("\n"), right.rstrip("\n").split("\n")
    gone, new = set(range(len(a))), set(range(len(b)))
    for block in difflib.SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks():
        gone -= set(range(block.a, block.a + block.size))
        new -= set(range(block.b, block.b + block.size))
    return _program(a, gone, "out"), _program(b, new, "in")


def _program(lines: list[str], changed: set[int], cls: str) -> str:
    shown = python_lines("\n".join(lines))
    rows = (
        f'<span class="{cls}">{html}</span>' if i in changed else f"<span>{html}</span>"
        for i, html in enumerate(shown)
    )
    return f'<pre tabindex="0">{"".join(rows)}</pre>'
