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
from pretrial.convert.card import Facts, adapter_card, model_card
from pretrial.convert.gguf_write import Bits, write_gguf
from pretrial.convert.remote_code import is_ours, write_remote_code
from pretrial.convert.sentence import write_sentence_layout
from pretrial.convert.snippets import snippet, use_of
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
    metrics: Mapping[str, float] | None = None,
    licence: str = "",
    name: str = "",
) -> str:
    """Writes the model in its own library's layout, its tokenizer and a model card.

    A model of transformers goes through `save_pretrained`; any other module is written as
    `model.safetensors`, tied weights once. The tokenizer is the first `tokenizer` that the method
    or one of its parts has; a method of images has its preparation as `processor`, and takes
    pictures in colour even if it was trained on grey ones, see `reading_colours`. The code of an
    architecture that transformers lacks goes with it, and an encoder of texts is a folder of
    sentence-transformers too.

    Args:
        method: the trained method.
        folder: where it goes; must not exist.
        card: of the method.
        record: what `run.json` holds.
        data_note: for the card, see `model_card`.
        dtype: of the weights, such as "bfloat16"; "" is that of the checkpoint that the run started
            from, and float32 without one.
        metrics: what was last measured, for the card.
        licence: of the model, as the Hub calls it, for the card.
        name: of the model on the Hub, for the card; the folder's without one.

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
        tokenizer = tokenizer_of(method)
        how, code = None, False
        if isinstance(model, PreTrainedModel):
            save_network(model, partial)
            if code := is_ours(type(model)):
                write_remote_code(model, partial)
            if tokenizer is not None and (how := method.sentence_vectors()) is not None:
                write_sentence_layout(how, model.config.hidden_size, partial)
        else:
            from safetensors.torch import save_model

            save_model(model, str(partial / "model.safetensors"))
        if tokenizer is not None:
            tokenizer.model_max_length = min(tokenizer.model_max_length, _reads(model, method))
            tokenizer.save_pretrained(partial)
        if processor is not None:
            processor.save_pretrained(partial)
        usage = method.export_beside(partial)
        facts = Facts(data_note, dict(metrics or {}), licence, usage)
        if isinstance(model, PreTrainedModel):
            parts = {"tokenizer": tokenizer is not None, "processor": processor is not None}
            own = "```python" in usage  # a recipe for what is more than loading it
            text = "" if own else snippet(model, name or folder.name, code=code, **parts)
            facts = facts._replace(task=use_of(model).task, snippet=text, sentences=how is not None)
        text = model_card(card, record, facts)
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
