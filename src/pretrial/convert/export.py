"""Export: a trained method as a folder that other tools load."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import PreTrainedModel

from pretrial.card import Card
from pretrial.checkpoints.positions import num_positions
from pretrial.checkpoints.t5 import save_network
from pretrial.convert.card import adapter_card, model_card
from pretrial.convert.gguf_write import Bits, write_gguf
from pretrial.convert.vit import reading_colours
from pretrial.errors import UserError
from pretrial.train.checkpoint import whole_folder

if TYPE_CHECKING:
    from pretrial.train.method import Method


def export_model(
    method: Method,
    folder: Path,
    card: Card,
    record: Mapping[str, Any],
    data_note: str = "",
    dtype: str = "",
) -> str:
    """Writes the model in its own library's layout, its tokenizer and a model card.

    A model of transformers goes through `save_pretrained`; any other module is written as
    `model.safetensors`, tied weights once. The tokenizer is the first `tokenizer` that the method
    or one of its parts has; a method of images has its preparation as `processor`, and takes
    pictures in colour even if it was trained on grey ones, see `reading_colours`.

    Args:
        method: the trained method.
        folder: where it goes; must not exist.
        card: of the method.
        record: what `run.json` holds.
        data_note: for the card, see `model_card`.
        dtype: of the weights, such as "bfloat16"; "" is that of the checkpoint that the run started
            from, and float32 without one.

    Returns:
        What the model card says of the use of the model where loading it does not suffice.

    Raises:
        UserError: the folder exists, or the type cannot hold a weight.
    """
    if folder.exists():
        raise UserError(f"{folder} exists already: give --to a folder that does not")
    kept = getattr(torch, dtype or record.get("init_dtype") or "float32", torch.float32)
    model, processor = reading_colours(
        _as_type(method.export().cpu(), kept), getattr(method, "processor", None)
    )
    with whole_folder(folder) as partial:
        library, loader = "", ""
        if isinstance(model, PreTrainedModel):
            save_network(model, partial)
            place = f"{type(model).__module__}.{type(model).__name__}"
            if place.startswith("pretrial."):
                loader = f"{place}.from_pretrained"
            else:
                library = "transformers"
        else:
            from safetensors.torch import save_model

            save_model(model, str(partial / "model.safetensors"))
        tokenizer = tokenizer_of(method)
        if tokenizer is not None:
            tokenizer.model_max_length = min(tokenizer.model_max_length, _reads(model, method))
            tokenizer.save_pretrained(partial)
        if processor is not None:
            processor.save_pretrained(partial)
        usage = method.export_beside(partial)
        text = model_card(card, record, data_note, library, loader, usage)
        (partial / "README.md").write_text(text, encoding="utf-8")
    return usage


def export_adapter(adapter: Path, folder: Path, method: Method, base: str) -> None:
    """Writes what a run with LoRA has trained beside its checkpoint, as peft reads it.

    Args:
        adapter: the folder that the run keeps it in.
        folder: where it goes; must not exist.
        method: the trained method, for its tokenizer.
        base: the checkpoint that it belongs to.

    Raises:
        UserError: the folder exists.
    """
    if folder.exists():
        raise UserError(f"{folder} exists already: give --to a folder that does not")
    with whole_folder(folder) as partial:
        shutil.copytree(adapter, partial, dirs_exist_ok=True)
        tokenizer = tokenizer_of(method)
        if tokenizer is not None:
            tokenizer.save_pretrained(partial)
        text = adapter_card(base, type(method.export()))
        (partial / "README.md").write_text(text, encoding="utf-8")


def export_gguf(method: Method, path: Path, bits: Bits) -> None:
    """Writes the model and its tokenizer as a GGUF file; see `write_gguf`.

    Args:
        method: the trained method.
        path: must not exist.
        bits: of a weight.

    Raises:
        UserError: the file exists, or the model or its tokenizer is of a kind that is not written.
    """
    if path.exists():
        raise UserError(f"{path} exists already: give --to a file that does not")
    model: Any = method.export().cpu()
    tokenizer = tokenizer_of(method)
    if not isinstance(model, PreTrainedModel) or tokenizer is None:
        raise UserError(
            f"{type(model).__name__} is no language model of transformers, which alone a GGUF file"
            " is written of: give --to a folder"
        )
    write_gguf(model, tokenizer, path, bits)


def _as_type(model: Any, kept: torch.dtype) -> Any:
    """The model with weights of a type.

    Raises:
        UserError: a weight would become infinite.
    """
    most = torch.finfo(kept).max
    for name, weight in model.named_parameters():
        largest = float(weight.detach().abs().max()) if weight.numel() else 0.0
        if most < largest < math.inf:
            told = str(kept).removeprefix("torch.")
            raise UserError(
                f"{name} has values up to {largest:.3g}, and {told} ends at {most:.3g}: give"
                " --dtype bf16 or fp32"
            )
    return model.to(kept)


def _reads(model: Any, method: Method) -> int:
    """How many tokens a model reads, so that a pipeline cuts longer texts: its positions, and where
    it has none those that it was trained with.
    """
    positions = num_positions(model)
    if positions is not None:
        return positions
    names = ("max_length", "max_inputs", "max_source", "max_text", "max_code")
    return max((int(getattr(method.config, name, 0)) for name in names), default=0) or sys.maxsize


def tokenizer_of(method: Method) -> Any:
    """The first that the method or one of its parts has; None without any."""
    found: list[Any] = [getattr(part, "tokenizer", None) for part in method.modules()]
    return next(filter(None, found), None)
