"""The two networks, each a method that learns from data without labels, so with a loss of its own.

Both are built as a method is, and give beyond it: `field`, what they read; `prepared`, the examples
of a run as `batch` takes them; `features`, what a student and its teacher have alike; `encode`,
the same of examples; `classifier`, a new head on a copy of the encoder.

- `images`: a masked autoencoder, on the base of patches;
- `texts`: a masked language model, on the base of encoders of texts.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import AutoModelForMaskedLM

from pretrial.checkpoints.keys import load_config
from pretrial.errors import UserError
from pretrial.methods.adapt.further_pretraining.config import Input
from pretrial.methods.adapt.further_pretraining.network.images import MaskedAutoencoder
from pretrial.methods.adapt.further_pretraining.network.texts import MaskedLanguageModel

NETWORKS: dict[Input, Any] = {"image": MaskedAutoencoder, "text": MaskedLanguageModel}


def kind_of(source: str | Path) -> Input:
    """What the network of a checkpoint reads.

    Raises:
        UserError: it is neither a ViT-MAE nor a masked language model.
    """
    try:
        config = load_config(source)
    except (OSError, ValueError):
        config, kind = None, "nothing that can be read"
    if config is not None:
        kind = config.model_type
        if kind == "vit_mae":
            return "image"
        if type(config) in AutoModelForMaskedLM._model_mapping and not config.is_encoder_decoder:
            return "text"
    raise UserError(
        f"{source} is {kind}, neither a ViT-MAE nor a masked language model: give one, such as"
        " facebook/vit-mae-base or roberta-base"
    )
