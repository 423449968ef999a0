"""From rows of data to what CodeT5 learns from: code, comments, targets and labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pretrial.code_views import view
from pretrial.data.rows import Rows, field_names
from pretrial.errors import UserError


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
        source = getattr(rows, "source", "") or "the data"
        raise UserError(
            f"{source} has neither a field 'code' nor 'source' (found:"
            f" {', '.join(field_names(Rows(rows))) or 'none'}): name the one to use with"
            " --fields code=OTHER"
        )
    found, skipped = Examples(), []
    languages: set[str] = set()
    for number, row in enumerate(rows):
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


_OPTIONAL = ("comment", "language", "target", "other", "label", "task")


def _text(row: dict[str, Any], name: str) -> str | None:
    """A field as text; numbers are labels, None stands for what is not text."""
    value = row.get(name)
    if value is None:
        return ""
    if name == "label" and isinstance(value, int):
        return str(value)
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
