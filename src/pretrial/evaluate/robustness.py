"""Robustness: is a function still found by its vector after its variables were renamed?"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from pretrial.code_views import View, view
from pretrial.code_views.rewrites import rename_variables
from pretrial.errors import UserError
from pretrial.evaluate.examples import examples_of, values_of
from pretrial.evaluate.result import Result


@dataclass(frozen=True)
class Renamed:
    """Functions, and the same with more and more variables renamed.

    Attributes:
        originals: N texts.
        variants: by number of renamed variables, N texts each.
        languages: N names; empty where nobody asks.
    """

    originals: list[str]
    variants: dict[int, list[str]]
    languages: list[str] = field(default_factory=list)


def renamed_functions(
    rows: Sequence[Any],
    renames: Sequence[int] = (0, 1, 2, 4, 8),
    *,
    num_functions: int = 500,
    least_variables: int = 4,
    seed: int = 0,
    code: str = "code",
    language: str = "language",
) -> Renamed:
    """Functions with enough variables, each renamed as often as asked.

    New names are drawn from those that the other functions use, so that they look like names.

    Args:
        rows: with code, and its language where it is not Python.
        renames: numbers of variables to rename; all, where a function has fewer.
        num_functions: most functions, drawn from those that qualify; none has the text of another.
        least_variables: that can be renamed, in a function that qualifies.
        seed: of the draws.
        code: name of the field.
        language: name of the field.

    Raises:
        UserError: fewer than two functions qualify.
    """
    rng = random.Random(f"renamed {seed}")
    texts: dict[str, str] = {}
    for row, function in zip(rows, values_of(rows, code, text=True), strict=True):
        named = "" if isinstance(row, str) else str(row.get(language) or "")
        texts[function] = named or "python"
    order = list(texts)
    rng.shuffle(order)
    chosen: list[View] = []
    for text in order:
        seen = view(text, texts[text])
        if len({name for name, _ in seen.edits.variables}) >= least_variables:
            chosen.append(seen)
        if len(chosen) == num_functions:
            break
    if len(chosen) < 2:
        raise UserError(
            f"{len(chosen)} functions have {least_variables} variables or more that can be renamed,"
            " and two are needed: give more code, or set least_variables lower"
        )
    names = list(dict.fromkeys(name for seen in chosen for name, _ in seen.edits.variables))
    names = [name.lstrip("$") for name in names]
    variants: dict[int, list[str]] = {}
    for count in renames:
        variants[count] = [
            rename_variables(seen, random.Random(f"{seed} {place} {count}"), count, names)
            or seen.text
            for place, seen in enumerate(chosen)
        ]
    originals = [seen.text for seen in chosen]
    return Renamed(originals, variants, [texts[text] for text in originals])


def found_again(
    encode: Callable[[Sequence[str]], Tensor], functions: Renamed
) -> dict[int, list[float]]:
    """By number of renames, 1.0 for each variant whose nearest original is its own, else 0.0.

    Nearness is the cosine of vectors; an original that is as near as the right one counts against.

    Args:
        encode: gives one vector a text [N, d].
        functions: originals and variants.
    """
    normalise = torch.nn.functional.normalize
    originals = normalise(encode(functions.originals).float(), dim=-1)
    found = {}
    for count, variants in functions.variants.items():
        scores = normalise(encode(variants).float(), dim=-1) @ originals.T  # [N, N]
        own = scores.diagonal()
        others = scores.clone().fill_diagonal_(float("-inf"))
        found[count] = (own > others.max(1).values).float().tolist()
    return found


def measure_robustness(
    method: Any,
    data: Sequence[Any],
    *,
    renames: tuple[int, ...] = (0, 1, 2, 4, 8),
    num_functions: int = 500,
    least_variables: int = 4,
    code: str = "code",
    language: str = "language",
    seed: int = 0,
) -> Result:
    """Share of functions found among all by their vectors, by the number of renamed variables.

    Args:
        method: with the ability `encode(examples) -> Tensor [N, d]`.
        data: rows with code.
        renames: numbers of variables to rename; all, where a function has fewer.
        num_functions: most functions to search among.
        least_variables: that can be renamed, in a function that takes part.
        code: name of the code's field.
        language: name of the language's field; Python where a row has none.
        seed: of the draws and of the bootstrap.

    Raises:
        UserError: a field is missing, or too few functions have enough variables.
    """
    functions = renamed_functions(
        data,
        renames,
        num_functions=num_functions,
        least_variables=least_variables,
        seed=seed,
        code=code,
        language=language,
    )

    def encode(texts: Sequence[str]) -> Tensor:
        pairs = zip(texts, functions.languages, strict=True)
        rows = [{code: text, "language": name} for text, name in pairs]
        return method.encode(examples_of(method, rows, code))

    found = found_again(encode, functions)
    items = {f"accuracy@{count}": values for count, values in found.items()}
    notes = {
        "num_functions": len(functions.originals),
        "least_variables": least_variables,
        "chance": 1 / len(functions.originals),
    }
    return Result.of_items(items, notes, seed)
