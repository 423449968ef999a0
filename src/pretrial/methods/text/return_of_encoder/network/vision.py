"""A vision tower before the encoder."""

from __future__ import annotations

from typing import Any

from pretrial.errors import UserError
from pretrial.methods.text.return_of_encoder.network.mu import MuForConditionalGeneration
from pretrial.models.layers.vision import freeze_unread, load_clip
from pretrial.models.tokenizers import add_task_tokens

_IMAGE = "<image>"


def attach_vision(network: Any, tokenizer: Any, source: str, train: bool) -> None:
    """Puts a CLIP model and a projector before the encoder, unless it has them already.

    Args:
        network: the student.
        tokenizer: gets a token that stands for a patch; None in a model that is not used.
        source: name or folder of a CLIP model.
        train: train CLIP too, and not the projector alone.

    Raises:
        UserError: the student is no encoder-decoder of ours, or there is no such CLIP model.
    """
    if not isinstance(network, MuForConditionalGeneration):
        raise UserError(
            f"a {network.config.model_type} reads no images here: leave out --init or --vision"
        )
    if network.encoder.vision is None:
        vision = load_clip(source)
        if tokenizer is not None:
            add_task_tokens(tokenizer, network, (_IMAGE,))
            network.config.image_token_id = tokenizer.convert_tokens_to_ids(_IMAGE)
        network.encoder.attach(vision)
    network.encoder.vision.requires_grad_(train)
    freeze_unread(network.encoder.vision, network.config.vision_layer)
