"""The example tests that a statement shows, extracted from its text.

Three sources: calls with their value (doctest prompts, asserts, `f(1) == 2`, `f(1) ➞ 2`,
`f(1) returns 2`), inputs and outputs printed under headings, and sentences such as "For x = 3 the
output should be 9". Arguments are parsed as literals; what does not parse is left out.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from pretrial.data.problems.sections import printed_pairs
from pretrial.sandbox.literals import parse_literal, parse_python
from pretrial.sandbox.tests import Tests

_CONNECTOR = re.compile(
    r"[ \t]*(?P<plain>=)?(?(plain)(?![=>])|(?:==>|==|=>|-->|->|➞|→|⇒|➜"
    r"|#[ \t]*(?:=>|returns?|->)|(?:should[ \t]+)?returns?|should[ \t]+be|is))[ \t]*"
)
_REMARK = re.compile(r"[ \t]*[.,;]?[ \t]*(?:$|#|\(|['\"]{3}|\n)")
_NUMBER_OR_WORD = re.compile(
    r"[-+]?(?:\d+\.\d*(?:[eE][-+]?\d+)?|\d+(?:[eE][-+]?\d+)?|\.\d+)(?![\w.]\w)"
    r"|(?:True|False|None|true|false|null)\b"
)
_SENTENCE = re.compile(
    r"\b(?:for|if)\s+(?P<name>\w+)\s*=\s*(?P<input>[^\n]+?),?\s+(?:the\s+)?"
    r"(?:output|result|answer)\s+(?:should\s+be|will\s+be|is)\s+(?P<output>[^\n]+)",
    re.IGNORECASE,
)
_CLOSING = {"(": ")", "[": "]", "{": "}"}


@dataclass(frozen=True)
class Extracted:
    """What was found.

    Attributes:
        tests: None where nothing was found.
        confidence: "high" where the form leaves no doubt; "low" where it is a guess, such as an
            equals sign that may belong to a definition.
    """

    tests: Tests | None
    confidence: Literal["high", "low"]


@dataclass(frozen=True)
class _Example:
    arguments: Any
    output: Any
    sure: bool


def extract_examples(question: str, kind: str, function: str = "") -> Extracted:
    """Finds the example tests in a statement.

    Args:
        question: the statement; for a completion the head of the program.
        kind: "call" or "stdin": what the tests are to be. An "assert" problem has "call" examples.
        function: name of the function called; "" takes the one that doctests or asserts call most.
    """
    if kind == "stdin":
        pairs = printed_pairs(question)
        found = [_Example(pair.input + "\n", pair.output + "\n", pair.sure) for pair in pairs]
        return _collect(found, "stdin", "")
    function = function or _called(question)
    if not function:
        return Extracted(None, "low")
    names = _parameters(question, function)
    found = [*_calls(question, function), *_printed_calls(question, names)]
    if names is None or len(names) == 1:
        found += _sentences(question)
    if names is not None:
        found = [example for example in found if len(example.arguments) <= len(names)]
    return _collect(found, "call", function)


def _collect(found: list[_Example], kind: Literal["call", "stdin"], function: str) -> Extracted:
    """Drops repeats and contradictions; keeps the sure ones if there are any."""
    outputs: dict[str, set[str]] = {}
    for example in found:
        outputs.setdefault(repr(example.arguments), set()).add(repr(example.output))
    once = {repr(e.arguments): e for e in found if len(outputs[repr(e.arguments)]) == 1}
    sure = [example for example in once.values() if example.sure]
    kept = sure or list(once.values())
    if not kept:
        return Extracted(None, "low")
    inputs, values = tuple(e.arguments for e in kept), tuple(e.output for e in kept)
    return Extracted(Tests(kind, function, inputs, values), "high" if sure else "low")


def _called(question: str) -> str:
    names = re.findall(r"(?:>>>|\bassert)\s+([A-Za-z_]\w*)\s*\(", question)
    return Counter(names).most_common(1)[0][0] if names else ""


def _parameters(question: str, function: str) -> list[str] | None:
    """Names of the parameters where the statement holds the signature, without `self`."""
    start = re.search(rf"\bdef\s+{re.escape(function)}\s*\(", question)
    end = start and _bracket_end(question, start.end() - 1)
    if not start or not end:
        return None
    try:
        tree = ast.parse(f"def f{question[start.end() - 1 : end]}: pass")
    except SyntaxError:
        return None
    assert isinstance(tree.body[0], ast.FunctionDef)
    arguments = tree.body[0].args
    if arguments.vararg or arguments.kwarg:
        return None
    return [a.arg for a in [*arguments.posonlyargs, *arguments.args] if a.arg != "self"]


def _calls(question: str, function: str) -> list[_Example]:
    """Calls of the function that are followed by their value."""
    found: list[_Example] = []
    doubt = False
    for match in re.finditer(rf"(?<![\w.]){re.escape(function)}\s*\(", question):
        start_of_line = question.rfind("\n", 0, match.start()) + 1
        before = question[start_of_line : match.start()]
        end = _bracket_end(question, match.end() - 1)
        if end is None or before.rstrip().endswith(("def", "(", "not")):
            continue
        arguments = _arguments(question[match.end() : end - 1], None)
        connector = _CONNECTOR.match(question, end)
        if connector is None and before.strip() == ">>>":
            connector = re.compile(r"[ \t]*(?:#[^\n]*)?\n[ \t]*(?P<plain>$.)?").match(question, end)
        if arguments is None or connector is None:
            continue
        plain = connector["plain"] is not None
        value = _value(question, connector.end(), before.strip() == "assert")
        doubt |= plain and value is None
        if value is not None:
            found.append(_Example(arguments, value[0], not plain))
    plain_sure = not doubt and len({type(e.output) for e in found}) == 1
    return [_Example(e.arguments, e.output, e.sure or plain_sure) for e in found]


def _value(text: str, start: int, asserted: bool = False) -> tuple[Any] | None:
    """The literal that starts here, in a tuple; None if there is none or its line goes on.

    `asserted`: it stands in an assert, where a comma ends it and brackets mean what they say.
    """
    end = _literal_end(text, start)
    if end is None or not (_REMARK.match(text, end) or (asserted and text[end : end + 1] == ",")):
        return None
    try:
        value = parse_literal(text[start:end])
    except ValueError:
        return None
    # Outside of code ("a") may be meant as a tuple of one: that is no sure example.
    doubtful = text[start] == "(" and not isinstance(value, tuple) and not asserted
    return None if doubtful else (value,)


def _literal_end(text: str, start: int) -> int | None:
    if start >= len(text):
        return None
    if text[start] in _CLOSING:
        return _bracket_end(text, start)
    if text[start] in "'\"":
        return _string_end(text, start)
    match = _NUMBER_OR_WORD.match(text, start)
    if match is None:
        return None
    # "returns 16." ends a sentence; 16. is not meant as a float.
    return match.end() - 1 if match.group().endswith(".") else match.end()


def _bracket_end(text: str, start: int) -> int | None:
    """Position after the bracket that closes the one at `start`; strings are skipped."""
    expected: list[str] = []
    place = start
    while place < len(text):
        character = text[place]
        if character in _CLOSING:
            expected.append(_CLOSING[character])
        elif character in ")]}":
            if expected.pop() != character:
                return None
            if not expected:
                return place + 1
        elif character in "'\"":
            end = _string_end(text, place)
            if end is None:
                return None
            place = end - 1
        place += 1
    return None


def _string_end(text: str, start: int) -> int | None:
    quote = re.escape(text[start])
    match = re.compile(rf"{quote}(?:\\.|(?!{quote})[^\\\n])*{quote}").match(text, start)
    return match.end() if match else None


def _arguments(text: str, names: list[str] | None) -> list[Any] | None:
    """The values of "1, [2]" or "a = 1, b = [2]", in the order of `names` where these are given."""
    try:
        tree = parse_python(f"f({text})", "eval")
        assert isinstance(tree, ast.Expression)
        call = tree.body
        assert isinstance(call, ast.Call)
        positional = [ast.literal_eval(argument) for argument in call.args]
        named = {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}
    except (SyntaxError, ValueError, TypeError, MemoryError, RecursionError):
        return None
    if named and names is not None:
        rest = names[len(positional) :]
        if set(named) != set(rest):
            return None
        return positional + [named[name] for name in rest]
    return positional + list(named.values())


def _printed_calls(question: str, names: list[str] | None) -> Iterator[_Example]:
    """Inputs and outputs under headings, where they are literals."""
    for pair in printed_pairs(question):
        lines = [line.strip().rstrip(",") for line in pair.input.splitlines() if line.strip()]
        arguments = _arguments(", ".join(lines), names) if lines else None
        start = len(pair.output) - len(pair.output.lstrip())
        value = _value(pair.output, start)
        if arguments and value is not None:
            yield _Example(arguments, value[0], pair.sure)


def _sentences(question: str) -> Iterator[_Example]:
    """Sentences of the form "For x = 3 the output should be 9."""
    for match in _SENTENCE.finditer(question):
        value = _value(question, match.start("output"))
        try:
            argument = parse_literal(match["input"])
        except ValueError:
            continue
        if value is not None:
            yield _Example([argument], value[0], True)
