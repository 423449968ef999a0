"""What a checkpoint is, told by its config before any weight is read."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pretrial.checkpoints.keys import load_config
from pretrial.checkpoints.packaged import ENCODERS, GENERATORS, place_of
from pretrial.errors import UserError

Modality = Literal["text", "image", "audio"]
Kind = Literal["encoder", "decoder", "text_to_text", "classify", "regress", "tag"]

#: What commands accept where a run or a checkpoint is named.
ACCEPTED = (
    "the folder of a run (train --out or finetune --out named it), a folder of transformers or"
    " sentence-transformers, the name of a cached checkpoint, a GGUF file, or one of "
    + ", ".join([*ENCODERS, *GENERATORS])
)
_HEADS = (
    (r"ForTokenClassification$", "tag"),
    (r"For(Sequence|Image|Audio)Classification$", "classify"),
)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that has been looked at.

    Attributes:
        source: as it was named.
        place: the folder, file or name that is loaded.
        config: of transformers; None of a GGUF file.
        modality: what it reads.
        kind: what it does.
    """

    source: str
    place: str
    config: Any
    modality: Modality
    kind: Kind


def look_at(source: str | Path) -> Checkpoint:
    """What a name, folder or file holds.

    Raises:
        UserError: nothing that is accepted.
    """
    place = place_of(source)
    if place.endswith(".gguf"):
        return Checkpoint(str(source), place, None, "text", "decoder")
    try:
        config = load_config(place)
    except (OSError, ValueError) as error:
        raise UserError(f"{source} is no model that can be read here: give {ACCEPTED}") from error
    modality = _modality(config)
    kind = _kind(config) if modality else None
    if modality is None or kind is None:
        raise UserError(
            f"{source} is a {config.model_type}, which is neither an encoder nor a language model"
            f" of texts, images or sound: give {ACCEPTED}"
        )
    return Checkpoint(str(source), place, config, modality, kind)


def _modality(config: Any) -> Modality | None:
    """What a network reads; None where it reads several things, or none of them."""
    from transformers import (
        AutoModel,
        AutoModelForAudioClassification,
        AutoModelForImageClassification,
        AutoModelForMaskedImageModeling,
    )

    kind = type(config)
    if kind not in AutoModel._model_mapping or hasattr(config, "vision_config"):
        return None
    if kind in AutoModelForAudioClassification._model_mapping:
        return "audio"
    images: list[Any] = [AutoModelForImageClassification, AutoModelForMaskedImageModeling]
    if any(kind in each._model_mapping for each in images) or config.model_type == "vit_mae":
        return "image"
    return "text" if getattr(config, "vocab_size", None) else None


def _kind(config: Any) -> Kind | None:
    """What a network does; see `load_generator` for what is told a causal language model."""
    from transformers import (
        AutoModelForCausalLM,
        AutoModelForMaskedLM,
        AutoModelForSeq2SeqLM,
    )

    names = config.architectures or ()
    for pattern, kind in _HEADS:
        if any(re.search(pattern, name) for name in names):
            alone = kind == "classify" and (
                config.problem_type == "regression" or config.num_labels == 1
            )
            return "regress" if alone else kind  # type: ignore[return-value]
    own = type(config)
    if config.is_encoder_decoder and own in AutoModelForSeq2SeqLM._model_mapping:
        return "text_to_text"
    writes = any(re.search("CausalLM|LMHead|ForConditionalGeneration", name) for name in names)
    masked = own in AutoModelForMaskedLM._model_mapping
    if own in AutoModelForCausalLM._model_mapping and (writes or not masked):
        return "decoder"
    return "encoder"
