"""Folders that are whole or not there, and what a checkpoint holds.

A checkpoint is a folder: one safetensors file for each set of tensors (`weights`, `optimizer`,
`ema`, `best`) and `state.json` for the rest. It is written under a temporary name, its files are
synced to the disk, it is renamed, and its parent is synced: at any moment a power cut or a kill
leaves the old checkpoint or the new one. Nothing is ever pickled.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pretrial.errors import UserError
from pretrial.files import disk_explained
from pretrial.train.distributed import copy_whole, wholes
from pretrial.train.stage import Trainable

Tensors = dict[str, Tensor]
STATE = "state.json"
# Attribute of a network with adapters: names of the weights that stay as the checkpoint had them.
BASE = "adapted_base"


def partial_name(folder: Path) -> Path:
    """Where a folder stands while it is being written."""
    return folder.with_name(f".partial-{folder.name}")


@contextmanager
def whole_folder(folder: Path, need: int = 0) -> Iterator[Path]:
    """Yields a temporary folder that becomes `folder` when the block ends without an error.

    Args:
        folder: where the result stands; it must not exist yet.
        need: bytes that will be written, where known.

    Raises:
        UserError: the disk is full or fails; nothing is left behind.
    """
    partial = partial_name(folder)
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with disk_explained(folder, need):
            partial.mkdir(parents=True)
            yield partial
            for path in [partial, *partial.rglob("*")]:
                _sync(path)
            os.rename(partial, folder)
            _sync(folder.parent)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise


@contextmanager
def new_folder(folder: Path, need: int = 0) -> Iterator[Path]:
    """As `whole_folder`, but `folder` may exist: what it holds stays until the new one is whole."""
    made = folder.with_name(f".new-{folder.name}")
    shutil.rmtree(made, ignore_errors=True)
    with whole_folder(made, need) as partial:
        yield partial
    shutil.rmtree(folder, ignore_errors=True)
    os.rename(made, folder)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write(folder: Path, tensors: Mapping[str, Tensors], state: dict[str, Any]) -> None:
    """Writes a checkpoint; `tensors` maps the name of a file to its tensors on the CPU."""
    need = sum(tensor.nbytes for part in tensors.values() for tensor in part.values())
    tied = {}
    with whole_folder(folder, need) as partial:
        for name, part in tensors.items():
            single, tied[name] = _without_duplicates(part)
            save_file(single, partial / f"{name}.safetensors")
        (partial / STATE).write_text(json.dumps({**state, "tied": tied}))


def _without_duplicates(tensors: Tensors) -> tuple[Tensors, dict[str, str]]:
    """Tensors that are one and the same (tied weights) once, and which name stands for which."""
    first: dict[Any, str] = {}
    single, same = {}, {}
    for name, tensor in tensors.items():
        key = (tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype)
        if tensor.numel() and key in first:
            same[name] = first[key]
        else:
            first[key] = name
            alone = tensor.is_contiguous() and tensor.untyped_storage().nbytes() == tensor.nbytes
            single[name] = tensor if alone else tensor.clone(memory_format=torch.contiguous_format)
    return single, same


def read_object(path: Path, *names: str) -> dict[str, Any]:
    """A JSON object that a run has written.

    Raises:
        UserError: it is damaged, or lacks one of the names.
    """
    try:
        found = json.loads(path.read_text())
        if not isinstance(found, dict):
            raise ValueError("it is no object")
        lost = [name for name in names if name not in found]
        if lost:
            raise ValueError(f"it lacks {lost[0]}")
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"{path} cannot be read ({error}): delete the folder {path.parent} and run the same"
            " command again"
        ) from error
    return found


def read_state(folder: Path, *names: str) -> dict[str, Any]:
    """The JSON part of a checkpoint.

    Raises:
        UserError: it is damaged, or lacks one of the names.
    """
    return read_object(folder / STATE, "tied", *names)


def read_tensors(folder: Path, name: str) -> Tensors:
    """One set of tensors of a checkpoint, tied names included.

    Raises:
        UserError: the file cannot be read.
    """
    try:
        tensors = load_file(folder / f"{name}.safetensors")
    except (OSError, SafetensorError) as error:
        raise UserError(
            f"{folder / name}.safetensors cannot be read ({error}): delete {folder} to go on from"
            " the checkpoint before it"
        ) from error
    tied = read_state(folder)["tied"]
    try:
        for duplicate, original in tied[name].items():
            tensors[duplicate] = tensors[original]
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{folder / STATE} does not belong to {name}.safetensors beside it: delete {folder} to"
            " go on from the checkpoint before it"
        ) from error
    return tensors


def newest(folder: Path) -> Path | None:
    """The newest checkpoint in a stage's folder."""
    found = sorted(folder.glob("step-*"))
    return found[-1] if found else None


def prune(folder: Path, keep: int) -> None:
    """Removes all checkpoints but the newest `keep`, and what a kill left half written."""
    found = sorted(folder.glob("step-*"))
    for path in found[: len(found) - keep]:
        # a name that says so, since deleting takes a while and can be cut short
        path.rename(path.with_name(f".partial-{path.name}"))
    for path in folder.glob(".partial-*"):
        shutil.rmtree(path)


def frozen_prefixes(module: nn.Module) -> tuple[str, ...]:
    """Prefixes of the names that belong to `frozen` modules, at any depth."""
    return tuple(
        f"{name}." if name else ""
        for name, _ in module.named_modules(remove_duplicate=False)
        if name.split(".")[-1] == "frozen"
        and isinstance(module.get_submodule(name.rpartition(".")[0]), Trainable)
    )


def base_names(module: nn.Module) -> set[str]:
    """Names of the weights that adapters leave as the checkpoint had them."""
    return {
        f"{prefix}.{name}" if prefix else name
        for prefix, network in module.named_modules(remove_duplicate=False)
        for name in getattr(network, BASE, ())
    }


def _kept(module: nn.Module) -> Tensors:
    """The variables that checkpoints hold: not those of frozen modules, nor what adapters keep."""
    frozen, base = frozen_prefixes(module), base_names(module)
    return {
        name: tensor
        for name, tensor in module.state_dict(keep_vars=True).items()
        if not name.startswith(frozen) and name not in base
    }


def weights_of(module: nn.Module) -> Tensors:
    """Parameters and buffers on the CPU, without those of frozen modules.

    Where a network has adapters, these are held and not what they leave as it is.

    Tied parameters stay one tensor under several names.
    """
    own = _kept(module)
    single = {id(tensor): tensor for tensor in own.values()}
    copies = dict(zip(single, wholes(list(single.values())), strict=True))
    copies = {key: tensor.cpu() for key, tensor in copies.items()}
    return {name: copies[id(tensor)] for name, tensor in own.items()}


def load_weights(module: nn.Module, tensors: Tensors, origin: Path) -> None:
    """Copies the weights into the module, frozen modules left alone.

    Raises:
        UserError: names or shapes do not match; it names them.
    """
    own = _kept(module)
    shared = own.keys() & tensors.keys()
    problems = [
        *_listed("not in the checkpoint", own.keys() - shared),
        *_listed("not in the model", tensors.keys() - shared),
        *_listed("of another shape", {n for n in shared if own[n].shape != tensors[n].shape}),
    ]
    if problems:
        raise UserError(
            f"the weights in {origin} do not fit the model: {'; '.join(problems)}. Use the config"
            " that the run was started with, or another run folder"
        )
    for name, tensor in tensors.items():
        copy_whole(own[name], tensor)


def _listed(what: str, names: Iterable[str], most: int = 5) -> list[str]:
    names = sorted(names)
    if not names:
        return []
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return [f"{what}: {', '.join(names[:most])}{more}"]
