"""Models from GGUF files, and where to find a small one that comes as a Python package."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from pretrial.checkpoints.guard import reading
from pretrial.checkpoints.keys import mark_loaded
from pretrial.checkpoints.packaged import GENERATORS as PACKAGED
from pretrial.checkpoints.packaged import place_of
from pretrial.errors import UserError, nearest


def find_gguf(path_or_name: str | Path) -> Path:
    """The GGUF file of that path, or of that name in `PACKAGED`.

    Raises:
        UserError: neither, or the named package is not installed.
    """
    path = Path(path_or_name)
    if path.is_file():
        return path
    if str(path_or_name) not in PACKAGED:
        raise UserError(
            f"there is no GGUF file {str(path_or_name)!r}; give a path or one of the names"
            f" {nearest(str(path_or_name), PACKAGED)}"
        )
    return Path(place_of(path_or_name))


def load_gguf(path_or_name: str | Path, dtype: str = "float32") -> tuple[Any, Any]:
    """A transformers model, its weights back in full precision, and its tokenizer.

    Args:
        path_or_name: a GGUF file, or a name in `PACKAGED`.
        dtype: of the weights: "float32", "bfloat16" or "float16".

    Returns:
        (model in eval mode, tokenizer)

    Raises:
        UserError: the file or a package is missing.
    """
    path = find_gguf(path_or_name)
    try:
        version("gguf")
    except PackageNotFoundError:
        raise UserError("gguf is not installed: pip install 'pretrial[code]'") from None
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with reading(path):
        model = AutoModelForCausalLM.from_pretrained(
            path.parent, gguf_file=path.name, dtype=getattr(torch, dtype), trust_remote_code=False
        )
        tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    # The weights are plain again, but transformers remembers the format and would not save them
    model.__dict__["hf_quantizer"] = None
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    mark_loaded(model)
    return model.eval(), tokenizer
