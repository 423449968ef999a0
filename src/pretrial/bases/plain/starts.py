"""What fine-tuning starts from: the encoder of any model, and what prepares its inputs."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedModel

from pretrial.bases.patch_encoder.method import PatchEncoderMethod
from pretrial.bases.plain.kinds import Modality
from pretrial.bases.plain.readers import ImageReader, Reader, TextReader
from pretrial.checkpoints.positions import num_positions
from pretrial.convert.export import tokenizer_of
from pretrial.convert.vit import reading_colours
from pretrial.errors import UserError
from pretrial.train.method import Method


def modality_of(method: Method) -> Modality:
    """What a method reads.

    Raises:
        UserError: neither texts nor images nor sound, or it has no encoder for them.
    """
    reader = getattr(method, "reader", None) or getattr(
        getattr(method, "tuned", None), "reader", None
    )
    if isinstance(reader, Reader):
        return reader.modality
    if getattr(method, "processor", None) is not None:
        return "image"
    if tokenizer_of(method) is not None:
        return "text"
    raise UserError(
        f"a {type(method).__name__} keeps no encoder of texts or images that a head could be put"
        " on: start from another run or checkpoint"
    )


def start_of(method: Method, config: Any) -> tuple[Any, Reader]:
    """The network of a method, of transformers, and what prepares its inputs.

    Args:
        method: a run's, or a plain checkpoint.
        config: of the fine-tuning: `modality`, and `max_length` of texts.

    Raises:
        UserError: what it exports is no model of transformers.
    """
    tuned = getattr(method, "tuned", None)
    if tuned is not None:
        return tuned.network, tuned.reader
    reader = getattr(method, "reader", None)
    if isinstance(reader, Reader):
        return method.export(), reader
    if isinstance(method, PatchEncoderMethod):  # pooled as the method does it
        classifier = method.classifier(2, method.config.pooling)
        network: Any = classifier.to_transformers(["0", "1"])
    else:
        network = method.export()
    if not isinstance(network, PreTrainedModel):
        raise UserError(
            f"a {type(method).__name__} exports no model of transformers, which fine-tuning needs:"
            " start from another run or checkpoint"
        )
    if config.modality == "image":
        network, processor = reading_colours(network, getattr(method, "processor", None))
        return network, ImageReader(processor)
    tokenizer = tokenizer_of(method)
    most = min(num_positions(network) or config.max_length, tokenizer.model_max_length)
    return network, TextReader(tokenizer, min(config.max_length, most))
