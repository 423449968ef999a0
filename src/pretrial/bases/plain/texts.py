"""Encoders of texts and language models that come as plain checkpoints."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from torch import Tensor
from torch.nn import functional as F
from transformers import AutoModel

from pretrial.bases.language_model import DecoderMethod, TextToTextMethod
from pretrial.bases.text_encoder import TextEncoder
from pretrial.card import Card, Field
from pretrial.checkpoints.keys import load_config, load_pretrained, load_tokenizer
from pretrial.checkpoints.packaged import place_of
from pretrial.checkpoints.positions import num_positions
from pretrial.checkpoints.pretrained import load_generator
from pretrial.data.rows import mapped
from pretrial.models.architectures.sentence_encoder import sentence_settings
from pretrial.models.architectures.text_classifier import TextClassifier
from pretrial.models.architectures.text_encoder import Pooling, classifier_from

_LONGEST = 512  # tokens that are read where nothing is said: attention costs their square


@dataclass(frozen=True)
class PlainConfig:
    """How a plain checkpoint of texts is read.

    Attributes:
        max_length: tokens that are read at once; 0 is as the checkpoint says, 512 at most where it
            says nothing.
        pooling: of vectors: the state of the first token, or the mean of all; "" is as the
            checkpoint says, or the mean.
        unit_length: bring vectors to length 1, as sentence-transformers' `Normalize` does.
    """

    max_length: int = 0
    pooling: Literal["", "first", "mean"] = ""
    unit_length: bool = False

    @property
    def max_source(self) -> int:
        """Tokens that an encoder-decoder reads."""
        return self.max_length

    @property
    def max_target(self) -> int:
        """Tokens that it writes."""
        return self.max_length

    def sized_as(self, network: Any) -> Self:
        """The same for the config of a network, which may read less."""
        most = getattr(network, "max_position_embeddings", None) or _LONGEST
        return replace(self, max_length=min(self.max_length or _LONGEST, most))


def plain_card(summary: str, *abilities: str, field: str = "text") -> Card:
    """What a plain checkpoint can do, as a method's card says it."""
    return Card(
        slug="checkpoint",
        title="a checkpoint of transformers",
        authors="",
        year=0,
        arxiv="",
        summary=summary,
        baseline="",
        abilities=abilities,
        fields=(Field(field, f"what is read: a field {field!r}"),),
        claims=(),
    )


def load_base(place: str) -> Any:
    """The network of a checkpoint without its head; every weight of it must be there.

    Raises:
        UserError: one is missing; a pooler may be, and is then left out where it can be.
    """
    kind: Any = AutoModel._model_mapping[type(load_config(place))]
    options: dict[str, Any] = {}
    if "add_pooling_layer" in inspect.signature(kind).parameters:
        # a classifier of transformers begins with the pooler where the checkpoint has one
        options["add_pooling_layer"] = True
    # "" is the beginning of every name: weights of whatever head may lie beside the network's
    return load_pretrained(kind, place, beside=("",), fresh=("pooler.",), **options)


class PlainEncoder(TextEncoder):
    """An encoder of texts without a head."""

    Config: ClassVar[type] = PlainConfig
    CARD: ClassVar[Card] = plain_card("An encoder of texts", "encode")

    @classmethod
    def load(cls, config: Any, source: str | Path) -> tuple[Any, ...]:
        """See `TextEncoder.load`; the files of sentence-transformers say how vectors are made."""
        place = place_of(source)
        network, tokenizer = load_base(place), load_tokenizer(place)
        own = sentence_settings(place)
        most = min(num_positions(network) or _LONGEST, tokenizer.model_max_length)
        return (
            replace(
                config,
                max_length=min(config.max_length or own.max_length or _LONGEST, most),
                pooling=config.pooling or own.pooling,
                unit_length=own.unit_length,
            ),
            network,
            tokenizer,
        )

    def encode(self, examples: Sequence[Any], **how: Any) -> Tensor:
        """See `TextEncoder.encode`."""
        vectors = super().encode(examples, **how)
        return F.normalize(vectors, dim=-1) if self.config.unit_length else vectors


class PlainDecoder(DecoderMethod):
    """A causal language model."""

    Config: ClassVar[type] = PlainConfig
    CARD: ClassVar[Card] = plain_card("A causal language model", "generate", "encode")

    def classifier(self, num_labels: int, pooling: Pooling = "first") -> TextClassifier:
        """A classifier that reads the state of the last token, whatever `pooling` says."""
        pad = self.language_model.pad
        model = classifier_from(self.network.base_model, num_labels, pad_token_id=pad)
        model.config.pad_token_id = pad
        tokenizer = self.tokenizer
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token
        return TextClassifier(model, tokenizer, self.config.max_length, text_of=self.text_of)


class PlainTextToText(TextToTextMethod):
    """An encoder-decoder that writes one text for another."""

    Config: ClassVar[type] = PlainConfig
    CARD: ClassVar[Card] = plain_card(
        "An encoder-decoder of texts", "generate", "encode", field="source"
    )

    @classmethod
    def load(cls, config: Any, source: str | Path) -> tuple[Any, ...]:
        """See `LanguageMethod.load`."""
        network, tokenizer = load_generator(source)
        return config.sized_as(network.config), network, tokenizer

    @classmethod
    def read(cls, rows: Sequence[dict[str, Any]]) -> Sequence[Any]:
        """The rows as pairs; a row without a source may have it as `text`."""
        return super().read(mapped(rows, lambda _, row: _as_pair(row)))

    def nll(self, examples: Sequence[Any]) -> tuple[list[float], list[int]]:
        """-log p of the target of each pair in nats, and the target's UTF-8 bytes."""
        pairs = [(self.text_of(each), str(getattr(each, "target", ""))) for each in examples]
        found = self.language_model.nll(pairs, per_token=False)
        return found, [len(target.encode()) for _, target in pairs]


def _as_pair(row: dict[str, Any]) -> dict[str, Any]:
    return row if "source" in row or "text" not in row else row | {"source": row["text"]}
