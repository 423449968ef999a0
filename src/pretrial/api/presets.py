"""Sizes of a method by name, and the rule that chooses one for data and a budget.

The rule: the largest preset that has at most

- 10 parameters for each token of the data (`DATA`), and
- 10 parameters ("small"), or 1 ("base"), for each token that the budget shows it (`SHOWN`).

"small" betters "tiny" as soon as it has seen a token for every ten parameters: after 150 steps of
language modelling (polycom) 2.94 bits a byte against 4.13. "base" is some hundred times as large,
and in the time that it sees few tokens, "small" sees many.

A token is four characters of text, or four values of an image or a recording, of which one example
counts for 200 tokens at most. A budget in seconds shows as many tokens as this machine computes in
that time, at 6 operations for a parameter and a token.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch

from pretrial import discover
from pretrial.bases.config import PRESETS, NotPublishedError, preset_of, presets_of
from pretrial.errors import UserError
from pretrial.train.budget import Budget

Preset = Literal["auto", "tiny", "small", "base"]

NAMES = PRESETS
#: Most parameters for a token of the data, and by preset for one that is shown (chosen here).
DATA = 10.0
SHOWN = {"small": 10.0, "base": 1.0}
_OPERATIONS = 6  # for a parameter and a token, forward and backward (Kaplan and others 2020)
_UTILISATION = 0.5  # share of a product's speed that training reaches; measured 0.4 to 0.7
_SAMPLE = 200  # rows that are looked at to estimate all
_MOST_TOKENS = 200  # of an image or a recording, about 224 pixels in patches of 16


@dataclass(frozen=True)
class Choice:
    """A preset, and why.

    Attributes:
        name: of the preset.
        reason: one sentence for the user.
    """

    name: str
    reason: str


def offered(loaded: discover.Loaded) -> list[str]:
    """The presets that a method has, from the smallest on."""
    return presets_of(loaded.config)


def config_of(loaded: discover.Loaded, name: str) -> Any:
    """The settings that a preset stands for.

    Raises:
        UserError: the method lacks it.
    """
    if name not in offered(loaded):
        slug = loaded.card.slug
        raise UserError(
            f"{slug} has no preset {name}, only {' and '.join(offered(loaded))}: its Config has no"
            f" classmethod {name}()"
        )
    return preset_of(loaded.config, name)


def published(loaded: discover.Loaded, name: str) -> Any:
    """The published settings of that name.

    Raises:
        UserError: there are none.
    """
    if not hasattr(loaded.config, "paper"):
        slug = loaded.card.slug
        raise UserError(
            f"{slug} takes no --paper: its Config has no classmethod paper(), which pretrial check"
            f" {slug} tells more of"
        )
    return loaded.config.paper(name)


def published_names(loaded: discover.Loaded) -> tuple[str, ...]:
    """The names that --paper knows, as far as the method tells them."""
    try:
        published(loaded, "")
    except NotPublishedError as error:
        return error.names
    except UserError:
        pass
    return tuple(getattr(loaded.config, "published", ()))


def num_parameters(loaded: discover.Loaded, config: Any) -> int:
    """Parameters of a method with these settings; nothing is allocated.

    0 where `build` needs data to tell, as it may in a method of the user's own.
    """
    try:
        with torch.device("meta"):
            method = loaded.method.build(config)
    except Exception:  # whatever a `build` raises that looks into the data
        return 0
    return sum(parameter.numel() for parameter in method.parameters())


def num_tokens(rows: Sequence[Mapping[str, Any]], fields: Iterable[str]) -> float:
    """About how many tokens the fields of all rows hold, from some of the rows."""
    names = list(fields)
    step = max(1, len(rows) // _SAMPLE)
    sample = [rows[place] for place in range(0, len(rows), step)]
    found = sum(_tokens(name, row.get(name)) for row in sample for name in names)
    return found * len(rows) / max(len(sample), 1)


def choose(
    loaded: discover.Loaded,
    rows: Sequence[Mapping[str, Any]],
    budget: Budget | None,
    device: str = "cpu",
) -> Choice:
    """The preset that suits data and a budget; see the rule above.

    Args:
        loaded: the method.
        rows: to train on.
        budget: of the run; None leaves the choice to the data.
        device: that is trained on.
    """
    held = num_tokens(rows, (field.name for field in loaded.card.fields))
    mean = held / max(len(rows), 1)
    names = offered(loaded)
    sizes = {name: num_parameters(loaded, config_of(loaded, name)) for name in names}
    chosen, size = names[0], sizes[names[0]]
    limit = ""
    for name in names[1:]:
        config, count = config_of(loaded, name), sizes[name]
        if not count or not size:
            return Choice("base", "the sizes of the presets cannot be told without the data")
        shown = _shown(budget, held, mean, config, count, device) if budget else math.inf
        if held * DATA < count:
            limit = f"{name} has {short(count)}, too many for {short(held)} tokens of data"
            break
        if shown * SHOWN[name] < count:
            limit = f"{name} has {short(count)}, and the budget shows {short(shown)} tokens"
            break
        chosen, size = name, count
    return Choice(chosen, f"{short(size)} parameters" + (f"; {limit}" if limit else ""))


def _tokens(field: str, value: Any) -> float:
    if isinstance(value, str):
        is_file = field in ("image", "audio", "video")
        return _MOST_TOKENS if is_file else len(value) / 4
    if isinstance(value, list | tuple):
        return sum(_tokens(field, item) for item in value) if value else 0
    if isinstance(value, Mapping):
        return sum(_tokens(field, item) for item in value.values())
    size = getattr(value, "size", None)  # of an array, or width and height of a picture
    if size is None or isinstance(value, int | float):
        return float(value is not None)
    return min(math.prod(size) if isinstance(size, tuple) else int(size), 4 * _MOST_TOKENS) / 4


def _shown(budget: Budget, held: float, mean: float, config: Any, count: int, device: str) -> float:
    """Tokens that a budget shows a network of `count` parameters.

    Args:
        budget: of the run.
        held: tokens of the data.
        mean: tokens of an example.
        config: tells how many examples a step has, and how many tokens one is cut to.
        count: parameters.
        device: that is trained on.
    """
    lengths = [getattr(config, name, 0) for name in ("max_length", "max_inputs", "max_source")]
    longest = next((length for length in lengths if length), math.inf)
    each = min(mean, longest)
    examples = {"examples": 1, "steps": getattr(config, "batch_size", 32)}
    if budget.unit in examples:
        return budget.amount * examples[budget.unit] * each
    if budget.unit == "epochs":
        return budget.amount * held
    if budget.unit == "tokens":
        return budget.amount
    operations = budget.amount * (_speed(device) if budget.unit == "seconds" else 1)
    return operations / (_OPERATIONS * count)


def _speed(device: str) -> float:
    """Operations a second that training reaches on a device, measured by a product."""
    size = 512 if device == "cpu" else 4096
    square = torch.ones(size, size, device=device)
    times = []
    for _ in range(10):
        began = time.perf_counter()
        square @ square
        _wait(device)
        times.append(time.perf_counter() - began)
    return _UTILISATION * 2 * size**3 / min(times)  # the least disturbed one


def _wait(device: str) -> None:
    if device != "cpu":
        torch.accelerator.synchronize()


def short(count: float) -> str:
    """A number with three digits, such as 1.14 M."""
    for factor, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if count >= factor:
            return f"{count / factor:.3g} {letter}"
    return f"{count:.0f}"
