"""What a method keeps beside the network that it exports: weights and plain values, in a folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import nn

from pretrial.checkpoints.keys import load_strict
from pretrial.errors import UserError

_WEIGHTS, _VALUES = "{}.safetensors", "{}.json"


def save_parts(folder: Path, parts: Mapping[str, nn.Module | Any]) -> None:
    """Writes each part under its name: the weights of a module, or any other value as JSON.

    Args:
        folder: where `Method.save` writes.
        parts: by name; None is left out.
    """
    for name, part in parts.items():
        if isinstance(part, nn.Module):
            state = {key: value.contiguous() for key, value in part.state_dict().items()}
            save_file(state, folder / _WEIGHTS.format(name))
        elif part is not None:
            text = json.dumps(part, ensure_ascii=False)
            (folder / _VALUES.format(name)).write_text(text, encoding="utf-8")


def has_part(folder: str | Path, name: str) -> bool:
    """Whether `save_parts` has written a part of that name there."""
    return any((Path(folder) / form.format(name)).is_file() for form in (_WEIGHTS, _VALUES))


def load_parts(folder: str | Path, parts: Mapping[str, nn.Module]) -> None:
    """Reads the weights of modules that `save_parts` wrote; every key and shape must fit.

    Raises:
        UserError: a part is missing or does not fit.
    """
    for name, module in parts.items():
        path = Path(folder) / _WEIGHTS.format(name)
        if not path.is_file():
            raise UserError(f"{folder} has no {path.name}: give a folder that `save` has written")
        load_strict(module, load_file(path), path)


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
