"""ELECTRA's public checkpoints: one network a folder, the generator in a second folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import (
    ElectraForMaskedLM,
    ElectraForPreTraining,
    PreTrainedModel,
)

from pretrial.checkpoints.keys import load_config, load_pretrained
from pretrial.errors import UserError

GENERATOR = "generator"


def load_electra(source: str | Path) -> PreTrainedModel:
    """A discriminator or a masked language model, whichever the config of `source` names.

    Raises:
        UserError: it is not an ELECTRA checkpoint, or weights are missing.
    """
    config = _config(source)
    if config is None or config.model_type != "electra":
        kind = "nothing that can be read" if config is None else f"a {config.model_type} checkpoint"
        raise UserError(
            f"{source} is {kind}: give the name or folder of an ELECTRA checkpoint, such as"
            " google/electra-small-discriminator"
        )
    masked_lm = "ElectraForMaskedLM" in (config.architectures or ())
    return load_pretrained(ElectraForMaskedLM if masked_lm else ElectraForPreTraining, source)


def generator_of(source: str | Path) -> PreTrainedModel | None:
    """The generator that belongs to a discriminator, None where there is none.

    It is the folder "generator" inside `source`, or the checkpoint of the same name that ends in
    "-generator" instead of "-discriminator".
    """
    inside = Path(source) / GENERATOR
    if inside.is_dir():
        return load_electra(inside)
    stem = str(source).removesuffix("-discriminator")
    if stem != str(source) and _config(stem + "-generator") is not None:
        return load_electra(stem + "-generator")
    return None


def _config(source: str | Path) -> Any:
    """The config of a checkpoint, None where there is none."""
    try:
        return load_config(source)
    except (OSError, ValueError):
        return None
