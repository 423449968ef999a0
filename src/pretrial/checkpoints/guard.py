"""Checkpoints are strangers' files: what they may not do, and one sentence for what is wrong.

Code that comes with a checkpoint is run only after `--trust-remote-code`. Where that flag is not
given nobody is asked either, as transformers would: a run in the night has no one to answer.
"""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any

from pretrial.errors import UserError

FLAG, VARIABLE = "--trust-remote-code", "PRETRIAL_TRUST_REMOTE_CODE"
_LAYERS = ("num_hidden_layers", "num_layers", "n_layer", "n_layers", "encoder_layers")
_WIDTHS = ("hidden_size", "d_model", "n_embd")
_MOST_LAYERS = 1024
_WEIGHTS_PER_BYTE = 8  # no format packs more
_LARGE = 1 << 28  # numbers, for which memory is taken without a thought; libraries tell misfits


def trust_remote_code() -> None:
    """From now on code of checkpoints is run, in this process and those it starts."""
    os.environ[VARIABLE] = "1"


def trusted() -> bool:
    """Whether the user allows code of checkpoints to be run."""
    return os.environ.get(VARIABLE) == "1"


@contextmanager
def reading(source: str | Path, what: str = "checkpoint") -> Iterator[None]:
    """Turns what libraries raise while they read a part of a checkpoint into a UserError."""
    try:
        yield
    except (UserError, ModuleNotFoundError):
        raise
    # transformers, torch, safetensors, tokenizers and gguf raise dozens of kinds for broken files
    except Exception as error:
        raise UserError(_reason(source, what, error)) from error


def check_folder(source: str | Path) -> None:
    """Checks what the libraries do not, in a folder; a name on the Hub is left alone.

    Raises:
        UserError: its index names files elsewhere, or its config.json asks for a model that its
            weights cannot fill, for which memory would be taken before that shows.
    """
    folder = Path(source)
    if not folder.is_dir():
        return
    for path in folder.glob("*.index.json"):
        _check_index(path)
    config = _object(folder / "config.json")
    layers = max((_number(config, name) for name in _LAYERS), default=0)
    if layers > _MOST_LAYERS:
        raise UserError(
            f"{folder}/config.json asks for {layers} layers, more than the {_MOST_LAYERS} that are"
            " taken for real: get the checkpoint again"
        )
    files = [path for kind in ("*.safetensors", "*.bin", "*.pt") for path in folder.glob(kind)]
    num_bytes = sum(path.stat().st_size for path in files)
    width = max(_number(config, name) for name in _WIDTHS)
    rows = max(_number(config, "vocab_size"), width)
    if files and rows * width > max(_LARGE, _WEIGHTS_PER_BYTE * num_bytes):
        raise UserError(
            f"{folder}/config.json asks for matrices of {rows} x {width}, and its weights are"
            f" {num_bytes} bytes in all: the files do not belong together, or were cut off"
        )


def _check_index(path: Path) -> None:
    files = _object(path).get("weight_map")
    if not isinstance(files, Mapping):
        raise UserError(f"{path} is no index of weights (it has no weight_map): get it again")
    for name in files.values():
        if not isinstance(name, str) or PurePath(name).name != name or name in ("", ".", ".."):
            raise UserError(
                f"{path} names the file {name!r}, which is not one of its own folder: weights"
                " from elsewhere are not read"
            )


def _object(path: Path) -> Mapping[str, Any]:
    """The JSON object in a file; an empty one where there is none, which its reader reports."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, Mapping) else {}


def _number(config: Mapping[str, Any], name: str) -> int:
    value = config.get(name)
    return value if isinstance(value, int) else 0


def _reason(source: str | Path, what: str, error: Exception) -> str:
    first = (str(error).strip().split("\n") or [""])[0][:300]
    if "trust_remote_code" in str(error):
        return (
            f"{source} comes with code of its own, which is not run: read that code, and give"
            f" {FLAG} if you trust it"
        )
    if isinstance(error, pickle.UnpicklingError):
        return (
            f"{source} holds a pickle that is more than weights, and such are not opened since"
            " they can run code: convert it to safetensors"
        )
    if what == "tokenizer":
        return f"{source} has no tokenizer that can be read ({type(error).__name__}: {first})"
    if isinstance(error, OSError):
        if Path(source).is_dir():
            return f"the folder {source} holds no {what} that can be read: {first}"
        return (
            f"{source} is no {what} that can be read: it is neither a folder nor a {what} in the"
            f" cache, and it could not be fetched: {first}"
        )
    return (
        f"the {what} of {source} cannot be read ({type(error).__name__}: {first}): it is broken or"
        " cut off, get it again"
    )
