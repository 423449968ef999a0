"""What CodeT5+ makes of rows: codes, pairs of text and code, instructions."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pretrial.data.rows import likely, mapped, text_in, where
from pretrial.errors import UserError

_FIELDS = ("code", "text", "instruction", "input", "output")
# The layout of Code Alpaca, in which published checkpoints were tuned: its bytes matter.
_TASK = "Below is an instruction that describes a task"
_WRITE = "Write a response that appropriately completes the request.\n\n"
_WITH_INPUT = (
    f"{_TASK}, paired with an input that provides further context. {_WRITE}"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:"
)
_WITHOUT_INPUT = f"{_TASK}. {_WRITE}### Instruction:\n{{instruction}}\n\n### Response:"


@dataclass(frozen=True)
class Example:
    """One row; fields that it lacks are empty.

    Attributes:
        code: a function or a file.
        text: what the code does, in words.
        prompt: an instruction in its frame.
        response: what is to be answered to it.
    """

    code: str = ""
    text: str = ""
    prompt: str = ""
    response: str = ""

    @property
    def is_pair(self) -> bool:
        """True where a text and a code belong together."""
        return bool(self.code.strip() and self.text.strip())

    @property
    def content(self) -> str:
        """What there is to be embedded: the code, else the text, else the instruction."""
        return next((part for part in (self.code, self.text, self.prompt) if part.strip()), "")


def read_rows(rows: Sequence[dict[str, Any]]) -> Sequence[Example]:
    """An example a row.

    Raises:
        UserError: a row has none of the fields, or a field is no string.
    """
    return mapped(rows, _example)


def _example(number: int, row: dict[str, Any]) -> Example:
    found = {name: text_in(row, number, name) for name in _FIELDS if row.get(name) is not None}
    if not {"code", "text", "instruction"} & found.keys():
        raise UserError(
            f"row {number} has no 'code', 'text' or 'instruction' (found:"
            f" {', '.join(row) or 'none'}): name the one to use with --fields"
            f" code={likely('code', row)}"
        )
    prompt = ""
    if "instruction" in found:
        frame = _WITH_INPUT if found.get("input", "").strip() else _WITHOUT_INPUT
        prompt = frame.format(instruction=found["instruction"], input=found.get("input", ""))
    return Example(found.get("code", ""), found.get("text", ""), prompt, found.get("output", ""))


def pairs_of(examples: Sequence[Example], cut_docstrings: bool = True) -> Sequence[Example]:
    """The pairs; a text that is its code's docstring stands in the code no longer."""
    pairs = where(examples, lambda example: example.is_pair)
    if not cut_docstrings:
        return pairs
    return mapped(
        pairs, lambda _, pair: replace(pair, code=without_docstring(pair.code, pair.text))
    )


def without_docstring(code: str, text: str) -> str:
    """Python code without the docstring of its first function or class, if `text` is from it.

    Other code comes back as it is.
    """
    start = text.strip()[:40]
    if not start or start.splitlines()[0] not in code:
        return code
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # odd escapes in strings are not our business
            tree = ast.parse(code)
    except (SyntaxError, ValueError, RecursionError):
        return code
    kinds = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
    owner = next((node for node in tree.body if isinstance(node, kinds)), None)
    if owner is None or not (ast.get_docstring(owner) or "").strip().startswith(start[:20]):
        return code
    first = owner.body[0]
    lines = code.splitlines()
    header = lines[: first.lineno - 1]
    before = lines[first.lineno - 1].encode()[: first.col_offset].decode()
    if before.strip():  # the function stands on one line
        return code
    assert first.end_lineno is not None
    rest = lines[first.end_lineno :]
    return "\n".join(
        [*header, *(rest if any(line.strip() for line in rest) else [f"{before}pass"])]
    )


def query_of(example: Example, number: int) -> str:
    """What is looked up; `number` is the row's, for the error."""
    if not (query := example.text.strip() or example.prompt or example.code.strip()):
        raise UserError(f"row {number} is empty: search needs a 'text', or a 'code' to find alike")
    return query


def wanted_of(example: Example, to: str, number: int) -> tuple[str, str]:
    """What is to be written ("code", "text" or "response"), and from what."""
    if to == "auto":
        if example.prompt:
            return "response", example.prompt
        to = "code" if example.text.strip() else "text"
    source = example.text if to == "code" else example.code
    if not source.strip():
        lacks = "text" if to == "code" else "code"
        raise UserError(f"row {number} has no {lacks!r} to write the {to} from")
    return to, source
