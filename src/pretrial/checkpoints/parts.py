"""What a method keeps beside the network that it exports: weights and plain values, in a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pretrial.checkpoints.keys import load_strict
from pretrial.errors import UserError

_WEIGHTS, _VALUES = "{}.safetensors", "{}.json"


def save_parts(folder: Path, parts: Mapping[str, nn.Module | Any]) -> None:
    """Writes each part under its name: the weights of a module, or any other value as JSON.

    Args:
        folder: where `Method.save` writes.
        parts: by name; None is left out. Weights may be a module or what a state_dict holds.
    """
    for name, part in parts.items():
        if isinstance(part, nn.Module) or _is_weights(part):
            weights = part.state_dict() if isinstance(part, nn.Module) else part
            state = {key: value.contiguous() for key, value in weights.items()}
            save_file(state, folder / _WEIGHTS.format(name))
        elif part is not None:
            text = json.dumps(part, ensure_ascii=False)
            (folder / _VALUES.format(name)).write_text(text, encoding="utf-8")


def _is_weights(part: Any) -> bool:
    if not isinstance(part, Mapping) or not part:
        return False
    return all(isinstance(value, Tensor) for value in part.values())


def has_part(folder: str | Path, name: str) -> bool:
    """Whether `save_parts` has written a part of that name there."""
    return any((Path(folder) / form.format(name)).is_file() for form in (_WEIGHTS, _VALUES))


def load_parts(folder: str | Path, parts: Mapping[str, nn.Module]) -> None:
    """Reads the weights of modules that `save_parts` wrote; every key and shape must fit.

    Raises:
        UserError: a part is missing or does not fit.
    """
    for name, module in parts.items():
        load_strict(module, load_weights(folder, name), Path(folder) / _WEIGHTS.format(name))


def load_weights(folder: str | Path, name: str) -> dict[str, Tensor]:
    """Reads weights that `save_parts` wrote.

    Raises:
        UserError: they are missing.
    """
    path = Path(folder) / _WEIGHTS.format(name)
    if not path.is_file():
        raise UserError(f"{folder} has no {path.name}: give a folder that `save` has written")
    return load_file(path)


def load_value(folder: str | Path, name: str) -> Any:
    """Reads a value that `save_parts` wrote.

    Raises:
        UserError: it is missing or no JSON.
    """
    path = Path(folder) / _VALUES.format(name)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path} cannot be read ({error}): give a folder that `save` wrote"
        ) from None
