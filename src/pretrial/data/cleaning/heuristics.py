"""Rules of thumb for documents: cheap tests of one text, each with a name, and masking."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from functools import cache
from urllib.parse import urlsplit

from pretrial.data.cleaning.repetition import UNSPACED, Runs, repeated, tokens_of, words_of
from pretrial.data.rows import Row
from pretrial.errors import UserError

_BULLET = re.compile(r"[-•‣·]|([*]|\d+[.)])\s")
_LINES, _PARAGRAPHS = re.compile(r"\n+"), re.compile(r"\n{2,}")
_LONE = re.compile(f"[{UNSPACED}]")
_SENTENCE = re.compile(r"[^\s.!?。！？][^.!?。！？]*[.!?]+(?=\s|[\"”’)]|$)|[^。！？]+[。！？]")  # noqa: RUF001
_END = tuple(".!?‽。！？．｡؟۔।॥։။።፧។៕")  # noqa: RUF001
_SYMBOL = re.compile(r"[#{}\[\]<>|\\^~=*_+@$%&]")
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

    Where a bound is published, it is the default:

    | rule | bound | source |
    | --- | --- | --- |
    | few words, many words | 50 (off here), 100,000 words that are not punctuation alone | Gopher |
    | short words, long words | 3 to 10 characters on average | Gopher |
    | hashes, ellipses | 0.1 for each word | Gopher |
    | words without letters | 0.8 of the words have one, marks of punctuation counted | Gopher |
    | stop words | 2 of eight English ones (off here) | Gopher |
    | bullets, ellipses at ends of lines | 0.9 and 0.3 of the lines | Gopher |
    | repeated lines, paragraphs | 0.3 of them, 0.2 of the characters | Gopher |
    | frequent 2-, 3-, 4-grams | 0.20, 0.18, 0.16 of the characters | Gopher |
    | repeated 5- to 10-grams | 0.15, 0.14, ... 0.10 of the characters | Gopher |
    | short lines | 0.67 of the lines have 30 characters at most | FineWeb |
    | unfinished lines | 0.12 of the lines end as a sentence does | FineWeb |
    | line breaks | 0.3 for each word (off here) | FineWeb |
    | few sentences | 5 (off here) | C4 |
    | placeholder | "lorem ipsum" | C4 |
    | braces | a document with one (off here) | C4 |

    Gopher is Rae and others 2021 (arXiv 2112.11446), sections A.1.1 and A.1.2 with table A1;
    FineWeb is Penedo and others 2024 (arXiv 2406.17557), section 3.6, whose bound on the characters
    of repeated lines is 0.01; C4 is Raffel and others 2020 (arXiv 1910.10683), section 2.2. What is
    off fits long pages in English alone: `--min-words 50 --min-stop-words 2` is all of Gopher. C4's
    cutting of single lines is not here. A character of a script without spaces is a word, and texts
    of such scripts are not judged by the length of their words.

    Attributes:
        scripts: of the letters, such as latin or cjk; the language gate.
        min_script_ratio: least share of letters in these scripts.
        min_chars: shortest document.
        max_chars: longest document.
        min_words: fewest words.
        max_words: most words.
        min_word_length: least mean length of a word, in characters.
        max_word_length: largest mean length of a word.
        max_symbol_ratio: largest share of symbols such as # or { among the characters.
        max_hash_ratio: most hash signs for each word.
        max_ellipsis_ratio: most ellipses for each word.
        min_letter_ratio: least share of letters among the characters.
        min_alphabetic_ratio: least share of words with a letter; a mark of punctuation is a word
            without one.
        stop_words: of the language.
        min_stop_words: so many of them at least must occur.
        min_sentences: fewest sentences.
        allow_placeholder: keep documents with "lorem ipsum".
        allow_braces: keep documents with a curly bracket, such as code.
        max_short_line_ratio: largest share of lines of at most `short_line` characters; of
            documents of three lines or more.
        short_line: see there.
        max_unfinished_line_ratio: largest share of lines that do not end as a sentence does; of
            documents of three lines or more.
        max_bullet_ratio: largest share of lines that begin with a bullet.
        max_ellipsis_line_ratio: largest share of lines that end in an ellipsis.
        max_newline_ratio: most line breaks for each word.
        max_repeated_line_ratio: largest share of lines that came before in the document.
        max_repeated_line_chars: largest share of characters in such lines.
        max_repeated_paragraph_ratio: largest share of paragraphs that came before.
        max_repeated_paragraph_chars: largest share of characters in such paragraphs.
        max_frequent_ngrams: largest shares of characters in the most frequent run of 2 words, of 3
            and so on.
        max_repeated_ngrams: largest shares of characters in runs of 5 words, of 6 and so on, that
            came before.
        blocked_domains: of the field `url`.
        blocked_words: words that no document may have more than `max_blocked` of.
        max_blocked: see there.
    """

    scripts: tuple[str, ...] = ()
    min_script_ratio: float = 0.8
    min_chars: int = 60
    max_chars: int = 0
    min_words: int = 0  # Gopher: 50
    max_words: int = 100_000  # Gopher
    min_word_length: float = 3.0  # Gopher
    max_word_length: float = 10.0  # Gopher
    max_symbol_ratio: float = 0.1
    max_hash_ratio: float = 0.1  # Gopher
    max_ellipsis_ratio: float = 0.1  # Gopher
    min_letter_ratio: float = 0.5
    min_alphabetic_ratio: float = 0.8  # Gopher
    stop_words: tuple[str, ...] = ("the", "be", "to", "of", "and", "that", "have", "with")  # Gopher
    min_stop_words: int = 0  # Gopher: 2
    min_sentences: int = 0  # C4: 5
    allow_placeholder: bool = False  # C4
    allow_braces: bool = True  # C4: False
    max_short_line_ratio: float = 0.67  # FineWeb
    short_line: int = 30  # FineWeb
    max_unfinished_line_ratio: float = 0.88  # FineWeb
    max_bullet_ratio: float = 0.9  # Gopher
    max_ellipsis_line_ratio: float = 0.3  # Gopher
    max_newline_ratio: float = 0.0  # FineWeb: 0.3
    max_repeated_line_ratio: float = 0.3  # Gopher
    max_repeated_line_chars: float = 0.2  # Gopher; FineWeb: 0.01
    max_repeated_paragraph_ratio: float = 0.3  # Gopher
    max_repeated_paragraph_chars: float = 0.2  # Gopher
    max_frequent_ngrams: tuple[float, ...] = (0.20, 0.18, 0.16)  # Gopher
    max_repeated_ngrams: tuple[float, ...] = (0.15, 0.14, 0.13, 0.12, 0.11, 0.10)  # Gopher
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
        """Length, symbols, words and lines."""
        size = len(text)
        if size < self.min_chars:
            return "short"
        if self.max_chars and size > self.max_chars:
            return "long"
        if self.max_symbol_ratio:
            symbols = len(_SYMBOL.findall(text))
            if symbols > self.max_symbol_ratio * size:
                return "symbols"
        if sum(map(str.isalpha, text)) < self.min_letter_ratio * size:
            return "letters"
        return self._words(text) or self._lines(text)

    def _words(self, text: str) -> str:
        """Gopher's and C4's rules of words and of what may not occur."""
        words = words_of(text)
        count, length = len(words), sum(map(len, words)) / max(len(words), 1)
        tokens = len(tokens_of(text))
        spaced = 2 * len(_LONE.findall(text)) <= count
        letterless = (w for w in words if not w.isalpha() and not any(map(str.isalpha, w)))
        with_letter = count - sum(1 for _ in letterless)
        stops = len(set(self.stop_words).intersection(words)) if self.min_stop_words else 0
        sentences = len(_SENTENCE.findall(text)) if self.min_sentences else 0
        ellipses = text.count("...") + text.count("…")
        broken = {
            "few words": count < self.min_words,
            "many words": 0 < self.max_words < count,
            "short words": spaced and length < self.min_word_length,
            "long words": spaced and 0 < self.max_word_length < length,
            "hashes": _above(text.count("#"), self.max_hash_ratio, tokens),
            "ellipses": _above(ellipses, self.max_ellipsis_ratio, tokens),
            "words without letters": with_letter < self.min_alphabetic_ratio * tokens,
            "stop words": stops < self.min_stop_words,
            "few sentences": sentences < self.min_sentences,
            "placeholder": not self.allow_placeholder and "lorem ipsum" in text.lower(),
            "braces": not self.allow_braces and "{" in text,
            "line breaks": _above(text.count("\n"), self.max_newline_ratio, tokens),
        }
        return next((name for name, is_broken in broken.items() if is_broken), "")

    def _lines(self, text: str) -> str:
        """The rules of lines."""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        several = len(lines) if len(lines) > 2 else 0
        short = sum(len(line) <= self.short_line for line in lines)
        unfinished = sum(not line.endswith(_END) for line in lines)
        bullets = sum(bool(_BULLET.match(line)) for line in lines)
        trailing = sum(line.endswith(("...", "…")) for line in lines)
        broken = {
            "short lines": several and _above(short, self.max_short_line_ratio, several),
            "unfinished lines": several
            and _above(unfinished, self.max_unfinished_line_ratio, several),
            "bullets": _above(bullets, self.max_bullet_ratio, len(lines)),
            "ellipses at ends of lines": _above(trailing, self.max_ellipsis_line_ratio, len(lines)),
        }
        return next((name for name, is_broken in broken.items() if is_broken), "")

    def repeats(self, text: str) -> str:
        """Lines, paragraphs and runs of words that a document says again and again."""
        size = len(text)
        for name, parts, share, chars in (
            (
                "repeated paragraphs",
                _PARAGRAPHS.split(text.strip()),
                self.max_repeated_paragraph_ratio,
                self.max_repeated_paragraph_chars,
            ),
            (
                "repeated lines",
                _LINES.split(text),
                self.max_repeated_line_ratio,
                self.max_repeated_line_chars,
            ),
        ):
            again, chars_again = repeated(parts)
            if _above(again, share, len(parts)) or _above(chars_again, chars, size):
                return name
        runs = Runs(tokens_of(text))
        for length, bound in enumerate(self.max_frequent_ngrams, 2):
            if _above(runs.most_frequent(length), bound, size):
                return f"frequent {length}-grams"
        for length, bound in enumerate(self.max_repeated_ngrams, 5):
            if _above(runs.repeated(length), bound, size):
                return f"repeated {length}-grams"
        return ""


def _above(count: float, bound: float, total: float) -> bool:
    """Whether a share is above a bound that is set."""
    return bool(bound) and count > bound * total


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
