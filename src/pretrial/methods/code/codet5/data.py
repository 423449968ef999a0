"""What CodeT5 learns from: rows as examples, and examples as token ids, whole or corrupted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from pretrial.code_views import View, view
from pretrial.corrupt.identifiers import mask_identifiers
from pretrial.corrupt.masks import IGNORE
from pretrial.corrupt.spans import span_corruption
from pretrial.data.rows import numbered
from pretrial.errors import UserError
from pretrial.methods.code.codet5.config import Config
from pretrial.models.tokenizers import sentinel_ids

#: The language of comments.
ENGLISH = "en"
#: What dual generation writes: words, and the languages of the paper.
LANGUAGES = (ENGLISH, "python", "java", "javascript", "go", "php", "ruby", "c", "csharp")
_OPTIONAL = ("comment", "language", "target", "other", "label", "task")
# A token of more than so many characters is rare; what lies further on is cut before the text is
# looked at, so that a file of megabytes costs no more than a long function.
_CHARACTERS_A_TOKEN = 32


@dataclass(frozen=True)
class Example:
    """One row.

    Attributes:
        text: the code, or whatever is read in the task "generate"; its docstring is taken out.
        comment: what it does, in words; "" where nothing says so.
        language: of the code.
        target: what is to be written, in the task "generate".
        other: the second piece of code, in the task "compare".
        label: the class, in "classify" and "compare"; "" for none.
        task: control prefix, such as "Summarize Python"; "" for none.
    """

    text: str
    comment: str = ""
    language: str = "python"
    target: str = ""
    other: str = ""
    label: str = ""
    task: str = ""

    @property
    def source(self) -> str:
        """What the encoder reads in fine-tuning."""
        return f"{self.task}: {self.text}" if self.task else self.text


class Examples(list[Example]):
    """Examples, and the reasons why rows were left out."""

    skipped: Sequence[str] = ()


def read_examples(rows: Sequence[dict[str, Any]], skip_bad: bool = False) -> Examples:
    """Examples of rows with `code` or `source`; the card names the other fields.

    Args:
        rows: the rows.
        skip_bad: leave rows out that cannot be used.

    Raises:
        UserError: a row has no code, or a field is not text; or no view knows the language.
    """
    if rows and not {"code", "source"} & set(rows[0]):
        raise UserError(
            f"{getattr(rows, 'source', '') or 'the data'} has neither a field 'code' nor 'source'"
            f" (found: {', '.join(rows[0]) or 'none'}): name the one to use with --fields"
            " code=OTHER"
        )
    found, skipped = Examples(), []
    languages: set[str] = set()
    for number, row in numbered(rows):
        texts = {name: _text(row, name) for name in ("source", "code", *_OPTIONAL)}
        wrong = next((name for name, text in texts.items() if text is None), "")
        main = "source" if "source" in row else "code"
        if not wrong and not (texts[main] or "").strip():
            wrong = main
        if wrong:
            reason = f"'{wrong}' of row {number} is not a text with something in it"
            if not skip_bad:
                raise UserError(f"{reason}: give a string, or leave such rows out with --skip-bad")
            skipped.append(reason)
            continue
        language = texts["language"] or "python"
        if language not in languages:
            view("", language)  # says what to install where there is no grammar
            languages.add(language)
        found.append(_example(texts, main, language))
    found.skipped = skipped
    return found


def _text(row: dict[str, Any], name: str) -> str | None:
    """A field as text, "" where it is missing; None stands for what is not text."""
    value = row.get(name)
    if value is None:
        return ""
    if name == "label" and isinstance(value, int | float):
        return str(value) if value == value else ""  # NaN is not itself
    return value if isinstance(value, str) else None


def _example(texts: dict[str, Any], main: str, language: str) -> Example:
    further = {name: texts[name] for name in ("target", "other", "label", "task")}
    text, comment = texts[main], texts["comment"]
    if main == "code" and not comment:
        text, comment = take_docstring(text, language)
    return Example(text, comment, language, **further)


def take_docstring(code: str, language: str = "python") -> tuple[str, str]:
    """A function without its docstring, and the first paragraph of that on one line.

    A docstring that is not inside the first function, or is all that the function has, stays.
    """
    seen = view(code, language)
    functions = seen.functions()
    if not functions or not functions[0].docstring:
        return code, ""
    start = functions[0].body_start
    string = next((token for token in seen.tokens if token.start == start), None)
    if string is None or string.kind != "string" or not code[string.end : functions[0].end].strip():
        return code, ""
    before, rest = code[:start], code[string.end :].lstrip(" \t;")
    if rest.startswith("\n"):  # the line had nothing else
        before, rest = before.rstrip(" \t"), rest[1:]
    comment = functions[0].docstring.strip().split("\n\n")[0]
    return before + rest, " ".join(comment.split())


class Pieces(NamedTuple):
    """Token ids of a text, and (start, end) of each in characters."""

    ids: list[int]
    offsets: list[tuple[int, int]]


class Written(NamedTuple):
    """One training instance: what is read, and what is written or tagged.

    Attributes:
        source: token ids.
        target: token ids; empty for tagging.
        tags: 1 at identifiers, 0 at other code, `IGNORE` elsewhere; empty but for tagging.
        parsed: whether the code follows its grammar.
    """

    source: list[int]
    target: list[int]
    tags: list[int]
    parsed: bool


class Inputs:
    """Makes training instances: `<s> comment </s> code </s>`, corrupted by one of the objectives.

    Args:
        tokenizer: a fast one, with sentinels.
        config: lengths and ratios.
    """

    def __init__(self, tokenizer: Any, config: Config) -> None:
        self.tokenizer = tokenizer
        self.config = config
        self.sentinels = sentinel_ids(tokenizer)
        self.begin, self.end = int(tokenizer.cls_token_id), int(tokenizer.sep_token_id)

    def encode(self, texts: list[str]) -> list[list[int]]:
        """Token ids without special tokens; sentinels written in a text are taken for text."""
        if not texts:
            return []
        encoded = self.tokenizer(texts, add_special_tokens=False, split_special_tokens=True)
        return list(encoded["input_ids"])

    def pieces(self, text: str, limit: int) -> Pieces:
        """The first `limit` tokens of a text."""
        encoded = self.tokenizer(
            text[: limit * _CHARACTERS_A_TOKEN],
            add_special_tokens=False,
            split_special_tokens=True,
            return_offsets_mapping=True,
        )
        return Pieces(encoded["input_ids"][:limit], encoded["offset_mapping"][:limit])

    def seen(self, example: Example) -> View:
        """The view of an example's code, as far as it can be read."""
        limit = self.config.max_source * _CHARACTERS_A_TOKEN
        return view(example.text[:limit], example.language)

    def comment(self, example: Example) -> Pieces:
        """The comment, at most a quarter of what the encoder reads."""
        return self.pieces(example.comment, self.config.max_source // 4)

    def source(self, comment: Sequence[int], code: Sequence[int]) -> list[int]:
        """The encoder's input; the segment of the comment is left out where there is none."""
        head = [self.begin, *comment, self.end] if comment else [self.begin]
        return [*head, *code, self.end][: self.config.max_source]

    def room(self, comment: Sequence[int]) -> int:
        """Tokens of code that fit beside a comment."""
        return self.config.max_source - len(self.source(comment, ()))

    def target(self, ids: Sequence[int]) -> list[int]:
        """What the decoder writes; a longer one is cut and does not end."""
        return [self.begin, *ids, self.end][: self.config.max_target]

    # The objectives

    def spans(self, example: Example, generator: torch.Generator) -> Written:
        """Masked span prediction; comment and code are corrupted each for itself."""
        # section 3.2: 15 % of the words in spans of 1 to 5, drawn before words are parted
        comment, seen = self.comment(example), self.seen(example)
        code = self.pieces(seen.text, self.room(comment.ids))
        whole = self.config.whole_words
        words = text_words(example.comment, comment.offsets) if whole else [True] * len(comment.ids)
        read, written = self._hide(comment.ids, words, 0, generator)
        words = seen.word_starts(code.offsets) if whole else [True] * len(code.ids)
        num_used = sum(token in set(self.sentinels) for token in read)
        code_read, code_written = self._hide(code.ids, words, num_used, generator, least=1)
        return Written(
            self.source(read, code_read), self.target(written + code_written), [], seen.parsed
        )

    def _hide(
        self,
        ids: list[int],
        words: list[bool],
        num_used: int,
        generator: torch.Generator,
        least: int = 0,
    ) -> tuple[list[int], list[int]]:
        """Spans hidden behind the sentinels not used yet; few words are left as they are."""
        num_words = sum(words)
        if max(least, round(self.config.corruption_ratio * num_words)) == 0 or not ids:
            return list(ids), []
        return span_corruption(
            ids,
            self.sentinels[num_used:],
            self.config.corruption_ratio,
            self.config.mean_length,
            generator=generator,
            word_starts=words,
        )

    def names(self, example: Example, generator: torch.Generator) -> Written:
        """Masked identifier prediction; code without names falls back on spans."""
        comment, seen = self.comment(example), self.seen(example)
        read, written = mask_identifiers(
            seen.text,
            seen.identifiers(),
            self.sentinels,
            self.encode,
            max_length=self.room(comment.ids),
        )
        if not written:
            return self.spans(example, generator)
        return Written(self.source(comment.ids, read), self.target(written), [], seen.parsed)

    def tags(self, example: Example, generator: torch.Generator) -> Written:
        """Identifier tagging; only tokens of the code are tagged."""
        comment, seen = self.comment(example), self.seen(example)
        code = self.pieces(seen.text, self.room(comment.ids))
        source = self.source(comment.ids, code.ids)
        head = len(source) - len(code.ids) - 1
        tags = [*[IGNORE] * head, *seen.labels(code.offsets), IGNORE]
        return Written(source, [], tags, seen.parsed)

    # Dual generation

    def both_ways(self, example: Example, to_code: bool) -> Written:
        """Code from its comment, or the comment from the code, each behind its language's token."""
        texts = [(f"<{ENGLISH}>", example.comment), (f"<{example.language}>", example.text)]
        (mark, read), (other, write) = texts if to_code else texts[::-1]
        ids = [
            [int(self.tokenizer.convert_tokens_to_ids(sign)), *self.pieces(text, limit - 3).ids]
            for sign, text, limit in (
                (mark, read, self.config.max_source),
                (other, write, self.config.max_target),
            )
        ]
        return Written(self.source((), ids[0]), self.target(ids[1]), [], True)

    def marked(self, example: Example | str, to: str) -> list[int]:
        """What is read to be written in a language: code is described in words, words give code."""
        given = Example(example) if isinstance(example, str) else example
        language = given.language if to == ENGLISH else ENGLISH
        ids = self.encode([given.source])[0][: self.config.max_source - 3]
        return self.source((), [self.language_token(language), *ids])

    def language_token(self, language: str) -> int:
        """The token that stands for a language.

        Raises:
            UserError: there is none.
        """
        token = f"<{language}>"
        vocabulary = self.tokenizer.get_vocab()
        if token not in vocabulary:
            raise UserError(
                f"the model has no token {token}: it was not trained to write from comments and"
                " code; train it with --dual-ratio above 0, or fine-tune it and leave --to out"
            )
        return int(vocabulary[token])


def text_words(text: str, offsets: Sequence[tuple[int, int]]) -> list[bool]:
    """True where a piece begins a word of a text: after white space, and at the beginning."""
    return [
        start == 0 or text[start : start + 1].isspace() or text[start - 1].isspace()
        for start, _ in offsets
    ]
