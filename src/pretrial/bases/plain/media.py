"""Encoders of images and of sound that come as plain checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

from torch import Tensor
from transformers import PreTrainedModel

from pretrial.bases.examples import Example, as_examples, read_examples
from pretrial.bases.plain.readers import Reader, load_reader
from pretrial.bases.plain.texts import load_base, plain_card
from pretrial.card import Card
from pretrial.train.in_batches import in_batches
from pretrial.train.method import Method


@dataclass(frozen=True)
class MediaConfig:
    """A plain checkpoint of images or sound has no settings."""


class MediaEncoder(Method):
    """An encoder without a head, whose vectors are the mean of its last states.

    Args:
        config: the settings.
        network: of transformers.
        reader: prepares its inputs.

    Attributes:
        field: of rows.
    """

    Config: ClassVar[type] = MediaConfig
    field: ClassVar[Any] = "image"

    def __init__(self, config: Any, network: Any, reader: Reader) -> None:
        super().__init__(config)
        self.network = network
        self.reader = reader

    @classmethod
    def build(
        cls, config: Any, source: str | Path | None = None, data: Sequence[Any] | None = None
    ) -> Self:
        """See `Method.build`; there must be a source."""
        assert source is not None
        return cls(config, load_base(str(source)), load_reader(source, cls.field))

    @classmethod
    def read(cls, rows: Sequence[dict[str, Any]]) -> Sequence[Example]:
        """The images or recordings of the rows."""
        return read_examples(rows, (cls.field,))

    def encode(self, examples: Sequence[Any], *, batch_size: int = 32) -> Tensor:
        """One vector each [N, d].

        Args:
            examples: as `read` gives them, or bare images or recordings.
            batch_size: images of a forward pass; recordings go one by one, so that none is padded.
        """
        contents = [each.content for each in as_examples(examples, self.field)]
        at_once = batch_size if self.field == "image" else 1
        return in_batches(self, contents, self._vectors, at_once)

    def _vectors(self, contents: Sequence[Any]) -> Tensor:
        """[B, d]."""
        network: Any = self.network
        if network.config.is_encoder_decoder:
            network = network.get_encoder()
        device = next(network.parameters()).device
        inputs = {name: value.to(device) for name, value in self.reader.inputs(contents).items()}
        states = network(**inputs).last_hidden_state
        if states.ndim == 4:  # of a convolutional network [B, d, H, W]
            return states.mean((2, 3))
        return states.mean(1)

    def export(self) -> PreTrainedModel:
        """The network."""
        return self.network


class ImageEncoder(MediaEncoder):
    """An encoder of images."""

    CARD: ClassVar[Card] = plain_card("An encoder of images", "encode", field="image")
    field = "image"


class SoundEncoder(MediaEncoder):
    """An encoder of recordings."""

    CARD: ClassVar[Card] = plain_card("An encoder of sound", "encode", field="audio")
    field = "audio"
