"""The APPS layout: a folder a problem, or rows whose tests and solutions are JSON texts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pretrial.data.problems.examples import extract_examples
from pretrial.data.problems.problem import Problem
from pretrial.errors import UserError
from pretrial.sandbox.literals import (
    is_missing,
    list_of,
    object_of,
    parse_literal,
    read_json,
    text_of,
    whole_number,
)
from pretrial.sandbox.tests import Tests

_FILES = {
    "question": "question.txt",
    "solutions": "solutions.json",
    "input_output": "input_output.json",
    "example_input_output": "example_input_output.json",
    "starter_code": "starter_code.py",
    "metadata": "metadata.json",
}


def apps_questions(folder: Path) -> list[Path]:
    """The question files of an APPS folder, of a split or of both; empty if it is none."""
    for pattern in ("question.txt", "*/question.txt", "*/*/question.txt"):
        found = sorted(folder.glob(pattern))
        if found:
            return found
    return []


def apps_folder_rows(folder: Path) -> Iterator[dict[str, Any]]:
    """Rows as the data set's own JSON lines have them, one for each problem folder."""
    for question in apps_questions(folder):
        row: dict[str, Any] = {}
        for name, file in _FILES.items():
            path = question.with_name(file)
            try:
                row[name] = path.read_text(encoding="utf-8") if path.exists() else ""
            except UnicodeDecodeError as error:
                raise UserError(f"{path} is not UTF-8 text: convert it or leave it out") from error
        metadata = _metadata(question.with_name(_FILES["metadata"]), row.pop("metadata"))
        name = question.parent.relative_to(folder).as_posix()
        row["problem_id"] = question.parent.name if name == "." else name
        row["difficulty"] = metadata.get("difficulty", "")
        row["url"] = metadata.get("url", "")
        yield row


def _metadata(path: Path, text: str) -> dict[str, Any]:
    try:
        found = read_json(text) if text.strip() else {}
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON ({error}): mend it or leave it out") from error
    if not isinstance(found, dict):
        raise UserError(f"{path} is not a JSON object: mend it or leave it out")
    return found


def apps_problem(row: dict[str, Any], name: str) -> Problem:
    """One problem from an APPS row; its tests are empty where the row has none.

    Raises:
        ValueError: the tests or solutions are not what the layout says.
    """
    starter_code = text_of(row.get("starter_code"))
    tests = apps_tests(row.get("input_output"))
    if not is_missing(row.get("example_input_output")):
        examples = apps_tests(row["example_input_output"], tests.function) or None
    else:
        statement = f"{row['question']}\n\n{starter_code}"
        extracted = extract_examples(statement, tests.kind, tests.function)
        examples = extracted.tests if extracted.confidence == "high" else None
    solutions = list_of(row.get("solutions"), "solutions")
    if not all(isinstance(text, str) for text in solutions):
        raise ValueError("solutions is not a list of programs")
    return Problem(
        id=str(row.get("problem_id", row.get("id", name))),
        question=row["question"],
        tests=tests,
        examples=examples,
        solutions=tuple(solutions),
        starter_code=starter_code,
        difficulty=text_of(row.get("difficulty")),
    )


def apps_tests(value: Any, function: str = "") -> Tests:
    """Reads {"inputs": [...], "outputs": [...], "fn_name": ...}, as JSON text or parsed.

    The layout is loose. Texts may be lists of lines. Arguments of a call may be text with one
    literal a line. The value of a call is mostly wrapped in a list of one: it is unwrapped if all
    outputs of the problem are such lists. JSON turned number keys of dicts into text: turned back.

    Raises:
        ValueError: not of that form.
    """
    record = object_of(value, "input_output")
    inputs, outputs = (list_of(record.get(name), name) for name in ("inputs", "outputs"))
    function = record.get("fn_name") or function
    if len(inputs) != len(outputs):
        raise ValueError(f"input_output has {len(inputs)} inputs but {len(outputs)} outputs")
    if not function:
        return Tests("stdin", "", tuple(map(_text, inputs)), tuple(map(_text, outputs)))
    arguments = tuple(_arguments(item) for item in inputs)
    if all(isinstance(item, str) for item in inputs) and all(isinstance(o, str) for o in outputs):
        values = [_literal(item) for item in outputs]
    elif all(isinstance(item, list) and len(item) == 1 for item in outputs):
        values = [item[0] for item in outputs]
    else:
        values = outputs
    return Tests("call", function, arguments, tuple(map(_number_keys, values)))


def _text(item: Any) -> str:
    return "\n".join(map(str, item)) if isinstance(item, list) else str(item)


def _arguments(item: Any) -> list[Any]:
    if isinstance(item, str):
        return [_literal(line) for line in item.splitlines() if line.strip()]
    return [_number_keys(value) for value in item] if isinstance(item, list) else [item]


def _literal(text: str) -> Any:
    """The literal, or the text itself where it is none: judges print strings without quotes."""
    try:
        return parse_literal(text)
    except ValueError:
        return text


def _number_keys(value: Any) -> Any:
    if isinstance(value, dict) and value and all(isinstance(key, str) for key in value):
        try:
            return {whole_number(key): item for key, item in value.items()}
        except ValueError:
            return value
    return value
