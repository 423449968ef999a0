"""The kinds of network, each with its self-supervised loss and its features."""

from __future__ import annotations

from pathlib import Path

from transformers import AutoModelForMaskedLM

from pretrial.checkpoints.keys import load_config
from pretrial.errors import UserError
from pretrial.methods.adapt.further_pretraining.config import Input
from pretrial.methods.adapt.further_pretraining.images import ImageNetwork
from pretrial.methods.adapt.further_pretraining.network import Network
from pretrial.methods.adapt.further_pretraining.texts import TextNetwork

NETWORKS: dict[Input, type[Network]] = {"image": ImageNetwork, "text": TextNetwork}


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
