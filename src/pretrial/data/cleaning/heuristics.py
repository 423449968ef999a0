"""Rules of thumb for documents: cheap tests of one text, each with a name, and masking."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from urllib.parse import urlsplit

import numpy as np

from pretrial.data.cleaning.shingles import shingles, words
from pretrial.data.rows import Row
from pretrial.errors import UserError

_BULLET = re.compile(r"^\s*([-*•‣·]|\d+[.)])\s")
_END = tuple(".!?\"”’')]}:;。！？…")  # noqa: RUF001
_SYMBOLS = frozenset("#{}[]<>|\\^~=*_+@$%&")
# Patterns of what tells who somebody is, and what stands in its place
_OCTET = r"(?:25[0-5]|2[0-4]\d|1?\d?\d)"
_PRIVATE = (
    ("email", re.compile(r"\b[\w.+-]+@[\w-]+\.[\w.-]*\w"), "<email>"),
    ("card", re.compile(r"\b(?:\d[ -]?){12,15}\d\b"), "<number>"),
    ("ip", re.compile(rf"\b(?:{_OCTET}\.){{3}}{_OCTET}\b"), "<ip>"),
    (
        "phone",
        re.compile(r"(?<![\w.])\+?\d{1,3}[ .-]\(?\d{2,4}\)?[ .-]\d{3,4}[ .-]\d{3,4}\b"),
        "<phone>",
    ),
)
_SCRIPTS = ("latin", "cjk", "hiragana", "katakana", "hangul", "cyrillic", "greek", "arabic")


@dataclass(frozen=True)
class Heuristics:
    """Bounds that a document must keep; 0 (or nothing) sets none.

    Attributes:
        scripts: of the letters, such as latin or cjk; the language gate.
        min_script_ratio: least share of letters in these scripts.
        min_chars: shortest document.
        max_chars: longest document.
        max_symbol_ratio: largest share of symbols such as # or { among the characters.
        min_letter_ratio: least share of letters.
        max_short_line_ratio: largest share of lines of fewer than `short_line` characters.
        short_line: see there.
        max_unfinished_line_ratio: largest share of lines that end without punctuation; of documents
            of three lines or more.
        max_bullet_ratio: largest share of lines that begin with a bullet.
        max_repeated_line_ratio: largest share of lines that came before in the document.
        max_repeated_run_ratio: largest share of runs of `run_words` words that came before.
        run_words: see there.
        blocked_domains: of the field `url`.
        blocked_words: words that no document may have more than `max_blocked` of.
        max_blocked: see there.
    """

    scripts: tuple[str, ...] = ()
    min_script_ratio: float = 0.8
    min_chars: int = 60
    max_chars: int = 0
    max_symbol_ratio: float = 0.1
    min_letter_ratio: float = 0.5
    max_short_line_ratio: float = 0.7
    short_line: int = 20
    max_unfinished_line_ratio: float = 0.9
    max_bullet_ratio: float = 0.9
    max_repeated_line_ratio: float = 0.3
    max_repeated_run_ratio: float = 0.3
    run_words: int = 5
    blocked_domains: tuple[str, ...] = ()
    blocked_words: tuple[str, ...] = ()
    max_blocked: int = 2

    def __post_init__(self) -> None:
        for name in self.scripts:
            if name not in _SCRIPTS:
                raise UserError(f"scripts are {', '.join(_SCRIPTS)}, not {name!r}")

    def language(self, row: Row, text: str) -> str:
        """The gate of languages: the name of what is broken, or ""."""
        if self.scripts:
            letters = Counter(_script(char) for char in text[:20_000] if char.isalpha())
            good = sum(letters[name] for name in self.scripts)
            if good < self.min_script_ratio * max(letters.total(), 1):
                return "script"
        return ""

    def source(self, row: Row, text: str) -> str:
        """The lists of domains and words."""
        if self.blocked_domains and row.get("url"):
            host = (urlsplit(str(row["url"])).hostname or "").lower()
            if any(host == each or host.endswith("." + each) for each in self.blocked_domains):
                return "domain"
        if self.blocked_words:
            found = sum(1 for _ in _words_pattern(self.blocked_words).finditer(text))
            if found > self.max_blocked:
                return "words"
        return ""

    def shape(self, row: Row, text: str) -> str:
        """Length, symbols and lines."""
        size = len(text)
        if size < self.min_chars:
            return "short"
        if self.max_chars and size > self.max_chars:
            return "long"
        if self.max_symbol_ratio:
            symbols = sum(char in _SYMBOLS for char in text)
            if symbols > self.max_symbol_ratio * size:
                return "symbols"
        if sum(map(str.isalpha, text)) < self.min_letter_ratio * size:
            return "letters"
        return self._lines([line.strip() for line in text.splitlines() if line.strip()])

    def _lines(self, lines: list[str]) -> str:
        count = len(lines)
        shares = {
            "short lines": sum(len(line) < self.short_line for line in lines),
            "unfinished lines": sum(not line.endswith(_END) for line in lines),
            "bullets": sum(bool(_BULLET.match(line)) for line in lines),
            "repeated lines": count - len(set(lines)),
        }
        bounds = {
            "short lines": self.max_short_line_ratio,
            "unfinished lines": self.max_unfinished_line_ratio,
            "bullets": self.max_bullet_ratio,
            "repeated lines": self.max_repeated_line_ratio,
        }
        for name, bound in bounds.items():
            if bound and count > 2 and shares[name] > bound * count:
                return name
        return ""

    def repeats(self, texts: list[str]) -> list[str]:
        """Runs of words that a document says again and again; for several at once."""
        if not self.max_repeated_run_ratio:
            return [""] * len(texts)
        hashes, starts = shingles(words(texts), self.run_words)
        reasons = []
        for start, end in pairwise(starts.tolist()):
            distinct = len(np.unique(hashes[start:end]))
            bound = (1 - self.max_repeated_run_ratio) * (end - start)
            reasons.append("repeated runs" if distinct < bound else "")
        return reasons


def mask_private(text: str) -> tuple[str, list[str]]:
    """The text with e-mail and internet addresses, card and telephone numbers masked.

    Returns:
        The text, and the kinds that were found.
    """
    kinds = []
    for kind, pattern, mask in _PRIVATE:
        text, count = pattern.subn(mask, text)
        if count:
            kinds.append(kind)
    return text, kinds


@cache
def _words_pattern(blocked: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, blocked))})\b", re.IGNORECASE)


@cache
def _script(char: str) -> str:
    """The script of a letter, as its Unicode name tells it."""
    first = unicodedata.name(char, "").split(" ")[0].lower()
    return first if first in _SCRIPTS else "other"
