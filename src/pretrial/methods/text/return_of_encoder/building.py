"""Where a student comes from: from scratch, from the release, from any checkpoint that writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import CLIPVisionModel

from pretrial.checkpoints.keys import load_pretrained, load_tokenizer
from pretrial.checkpoints.pretrained import load_generator
from pretrial.errors import UserError
from pretrial.methods.text.return_of_encoder.config import Config
from pretrial.methods.text.return_of_encoder.network.mu import (
    MuForCausalLM,
    MuForConditionalGeneration,
)
from pretrial.methods.text.return_of_encoder.network.public import is_public_mu, load_public_mu
from pretrial.models.tokenizers import add_task_tokens, learn_bpe, texts_of

_TOKENIZER = "microsoft/Phi-3.5-mini-instruct"  # of the release, which has none beside it
_IMAGE = "<image>"
_SPECIALS = {
    "pad_token": "<pad>",
    "bos_token": "<s>",
    "eos_token": "</s>",
    "unk_token": "<unk>",
}
#: Weights in a CLIP checkpoint that are not of its vision model.
_BESIDE = ("text_model.", "text_projection.", "visual_projection.", "logit_scale")


def load_student(source: str | Path, config: Config) -> tuple[Any, Any]:
    """The model and the tokenizer of a checkpoint.

    Args:
        source: `model.pt` of the release, a folder of ours, or any checkpoint of transformers that
            writes text.
        config: tells the width of heads where the checkpoint does not.

    Raises:
        UserError: there is none, or it has no tokenizer with an end token.
    """
    if is_public_mu(source):
        network: Any = load_public_mu(source, config.head_width)
        folder = Path(source) if Path(source).is_dir() else Path(source).parent
        tokenizer = _tokenizer_beside(folder)
        if tokenizer.eos_token_id is not None:
            network.config.eos_token_id = tokenizer.eos_token_id
    else:
        network, tokenizer = load_generator(source)
    if tokenizer.eos_token_id is None:
        raise UserError(f"the tokenizer of {source} has no end token: give it one")
    return network, tokenizer


def _tokenizer_beside(folder: Path) -> Any:
    """The tokenizer in a folder of the release, or the one that it was trained with."""
    if any(folder.glob("tokenizer*")):
        return load_tokenizer(folder)
    try:
        return load_tokenizer(_TOKENIZER)
    except UserError as error:
        raise UserError(
            f"{folder} holds no tokenizer, and that of the release, {_TOKENIZER}, could not be"
            " fetched: put its tokenizer.json and tokenizer_config.json beside the weights"
        ) from error


def new_student(config: Config, tokenizer: Any, data: Sequence[Any] | None) -> tuple[Any, Any]:
    """A model from scratch.

    Args:
        config: its sizes.
        tokenizer: of the teacher; None learns one.
        data: examples to learn it from; None leaves it out.
    """
    if tokenizer is None and data is not None:
        tokenizer = learn_bpe(
            texts_of(data, lambda example: (example.source, example.target)),
            config.vocab_size,
            specials=_SPECIALS,
        )
    vocab_size = config.vocab_size if tokenizer is None else len(tokenizer)
    sizes = config.network_config(vocab_size, tokenizer)
    both = config.architecture == "encoder_decoder"
    return (MuForConditionalGeneration if both else MuForCausalLM)(sizes), tokenizer


def give_sight(network: Any, tokenizer: Any, config: Config) -> None:
    """Puts a CLIP model and a projector before the encoder, unless it has them already.

    Raises:
        UserError: the student is no encoder-decoder of ours, or there is no such CLIP model.
    """
    if not isinstance(network, MuForConditionalGeneration):
        raise UserError(
            f"a {network.config.model_type} reads no images here: leave out --init or --vision"
        )
    if network.encoder.vision is None:
        vision: Any = load_pretrained(CLIPVisionModel, config.vision, beside=_BESIDE)
        if tokenizer is not None:
            add_task_tokens(tokenizer, network, (_IMAGE,))
            network.config.image_token_id = tokenizer.convert_tokens_to_ids(_IMAGE)
        network.encoder.attach(vision)
    network.encoder.vision.requires_grad_(config.train_vision)
    # earlier versions of transformers have one more module around it
    seer = getattr(network.encoder.vision, "vision_model", network.encoder.vision)
    # what lies behind the layer that is read gets no gradient
    behind = network.config.vision_layer + 1
    for layer in seer.encoder.layers[behind:]:
        layer.requires_grad_(False)
    seer.post_layernorm.requires_grad_(False)
