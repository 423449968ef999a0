"""Encoders of texts: a network of transformers with a head, trained on windows of token ids.

A method of this kind says which network it is (`network_class`, or `new_network`), what a batch is
and what its losses are. The rest has a default here: a vocabulary learned from the data, sizes and
weights of checkpoints, windows and stages, vectors, classifiers, what is exported and saved.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from pretrial.bases.config import Optimisation, TransformerSizes
from pretrial.checkpoints.keys import load_tokenizer
from pretrial.checkpoints.parts import has_part, load_parts, save_parts
from pretrial.checkpoints.pretrained import load_encoder
from pretrial.corrupt.masks import mask_windows
from pretrial.data.rows import mapped, texts
from pretrial.data.windows.cutting import cut
from pretrial.models.architectures.text_classifier import TextClassifier
from pretrial.models.architectures.text_encoder import (
    Pooling,
    classifier_from,
    encode,
    hidden_states,
    token_vectors,
)
from pretrial.models.tokenizers import learn_bpe
from pretrial.train.budget import Budget
from pretrial.train.method import Method
from pretrial.train.stage import Batch, Optim, Stage
from pretrial.train.tokens import run_windows

if TYPE_CHECKING:
    from pretrial.train.run import Run


@dataclass(frozen=True)
class EncoderConfig(Optimisation, TransformerSizes):
    """Settings that encoders of texts share, by default those of BERT-base.

    Attributes:
        vocab_size: most entries of the vocabulary that is learned when there is no checkpoint.
        num_positions: longest sequence that the encoder can read.
        max_length: tokens of a training sequence, the two special ones included.
        mask_ratio: share of the ordinary tokens that is chosen.
        mask_prob: share of the chosen that becomes the mask token.
        random_prob: share of the chosen that becomes a random token; the rest stays.
    """

    vocab_size: int = 30522
    width: int = 768
    num_layers: int = 12
    num_heads: int = 12
    feed_forward: int = 3072
    num_positions: int = 512
    max_length: int = 512
    dropout_prob: float = 0.1
    mask_ratio: float = 0.15
    mask_prob: float = 0.8
    random_prob: float = 0.1

    @classmethod
    def tiny(cls) -> Self:
        """Small enough for a test."""
        return cls(
            vocab_size=300,
            width=32,
            num_layers=2,
            num_heads=2,
            feed_forward=64,
            num_positions=32,
            max_length=24,
            dropout_prob=0.0,
            lr=3e-3,
            warmup=2,
            batch_size=8,
        )

    @classmethod
    def small(cls) -> Self:
        """1.1 M parameters, for a megabyte of text: minutes on two cores."""
        return cls(
            vocab_size=2048,
            width=128,
            num_layers=4,
            num_heads=4,
            feed_forward=512,
            num_positions=64,
            max_length=64,
            lr=1e-3,
            warmup=0.1,
            batch_size=32,
        )


class TextEncoder(Method):
    """An encoder with a head. A method overrides whatever is otherwise with it.

    Args:
        config: the settings.
        network: the encoder and its head.
        tokenizer: None in a model that is neither trained nor used, such as one on the meta device.

    Attributes:
        network: of transformers; its `base_model` is the encoder alone.
        mend: what to give instead of a checkpoint that does not fit, for the errors.
        other_heads: classes of the same encoder whose checkpoints will do, with a new head.
        beside: beginnings of the names of further weights that checkpoints may hold.
    """

    mend: ClassVar[str] = "give the name or folder of a checkpoint that the method can read"
    other_heads: ClassVar[tuple[str, ...]] = ()
    beside: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: Any, network: Any, tokenizer: Any = None) -> None:
        super().__init__(config)
        self.tokenizer = tokenizer
        self.network: Any = network

    # -- how it is made ---------------------------------------------------------------------------

    @classmethod
    def build(
        cls, config: Any, source: str | Path | None = None, data: Sequence[Any] | None = None
    ) -> Self:
        """See `Method.build`. With neither source nor data there is no tokenizer, only networks.

        A checkpoint decides the sizes and the vocabulary; a head that it lacks is randomly
        initialised.
        """
        if source is not None:
            network, tokenizer = cls.load(config, source)
            method = cls(config.sized_as(network.config), network, tokenizer)
            method.adopt(source)
            return method
        if data is None:
            return cls(config, cls.new_network(config, pad_id=0))
        tokenizer = cls.vocabulary(config, data)
        config = replace(config, vocab_size=len(tokenizer))
        return cls(config, cls.new_network(config, int(tokenizer.pad_token_id)), tokenizer)

    @classmethod
    def network_class(cls, config: Any) -> Any:
        """The class of the network, head included, such as `BertForMaskedLM`."""
        raise NotImplementedError(f"{cls.__name__} does not say which network it is")

    @classmethod
    def new_network(cls, config: Any, pad_id: int) -> PreTrainedModel:
        """A randomly initialised network.

        Args:
            config: the settings, sized to the vocabulary.
            pad_id: id of padding.
        """
        kind = cls.network_class(config)
        return kind(config.network_config(kind.config_class, pad_token_id=pad_id))

    @classmethod
    def vocabulary(cls, config: Any, data: Sequence[Any]) -> Any:
        """A tokenizer learned from the examples; it closes a text in a first and a last token."""
        return learn_bpe(data, config.vocab_size, template="<cls> $A <sep>")

    @classmethod
    def load(cls, config: Any, source: str | Path) -> tuple[Any, Any]:
        """The network and the tokenizer of a checkpoint; see `load_encoder`."""
        kind = cls.network_class(config)
        network = load_encoder(source, kind, cls.mend, others=cls.other_heads, beside=cls.beside)
        return network, load_tokenizer(source)

    def parts(self) -> Mapping[str, nn.Module]:
        """Modules that are kept beside the network, by name."""
        return {}

    def adopt(self, source: str | Path) -> None:
        """Takes over the parts that lie beside a checkpoint's network, as far as there are any."""
        found = {name: part for name, part in self.parts().items() if has_part(source, name)}
        load_parts(source, found)

    # -- how it is trained ------------------------------------------------------------------------

    @classmethod
    def read(cls, rows: Sequence[dict[str, Any]]) -> Sequence[Any]:
        """The texts of the rows."""
        return texts(rows)

    def masked(
        self, windows: Sequence[Sequence[int]], generator: torch.Generator, **more: Any
    ) -> Batch:
        """Hides tokens of windows at the rates of the settings; see `mask_windows`.

        Args:
            windows: token ids without special tokens.
            generator: the only source of randomness.
            more: arguments of `mask_windows`, which go before the settings.
        """
        config = self.config
        rates = {
            "ratio": config.mask_ratio,
            "mask_prob": config.mask_prob,
            "random_prob": config.random_prob,
        }
        return mask_windows(windows, self.tokenizer, generator, **(rates | more))

    def states(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The encoder's last hidden states [B, T, d]; see `hidden_states`."""
        return hidden_states(self.network.base_model, input_ids, attention_mask)

    def stages(self, run: Run) -> Iterator[Stage]:
        """One stage over the windows of the texts."""
        yield self.stage("train", run, run.budget)

    def stage(self, name: str, run: Run, budget: Budget) -> Stage:
        """A stage over the windows of the run's texts."""
        length = self.config.max_length - 2  # a special token at each end
        make = partial(cut, tokenizer=self.tokenizer, length=length)
        windows, held_out = run_windows(run, make, name=str(length))
        return Stage.of(
            name, self, windows, self.config, budget=budget, held_out=held_out, optim=self.optim
        )

    @property
    def optim(self) -> Optim:
        """AdamW with BERT's eps; the rest is as the settings say."""
        config = self.config
        return Optim(config.lr, config.weight_decay, eps=1e-6, warmup=config.warmup)

    # -- what it is for ---------------------------------------------------------------------------

    @property
    def text_length(self) -> int:
        """Tokens of a text that vectors and classifiers read; longer ones are cut."""
        return self.config.max_length

    def text_of(self, example: Any) -> str:
        """What is read of an example, which may be a bare text."""
        return example

    def encode(
        self, examples: Sequence[Any], *, pooling: Literal["", "first", "mean"] = ""
    ) -> Tensor:
        """One vector each [N, d].

        Args:
            examples: as `read` gives them, or texts.
            pooling: the state of the first token, or the mean of all; "" is as the settings say,
                or the mean.
        """
        own: Pooling = getattr(self.config, "pooling", "mean") if pooling == "" else pooling
        contents = mapped(examples, lambda _, example: self.text_of(example))
        encoder, length = self.network.base_model, self.text_length
        return encode(encoder, self.tokenizer, contents, length, pooling=own)

    def token_vectors(self, examples: Sequence[Any]) -> list[tuple[Tensor, list[tuple[int, int]]]]:
        """For each example the last hidden states of its tokens [T, d] and their places."""
        contents = mapped(examples, lambda _, example: self.text_of(example))
        return token_vectors(self.network.base_model, self.tokenizer, contents, self.text_length)

    def classifier(self, num_labels: int, pooling: Pooling = "first") -> TextClassifier:
        """A classifier on a copy of the encoder; its head reads the first token, or all of them."""
        model = classifier_from(self.network.base_model, num_labels, pooling)
        return TextClassifier(model, self.tokenizer, self.text_length)

    def export(self) -> PreTrainedModel:
        """The encoder with its head."""
        return self.network

    def save(self, folder: Path) -> None:
        """Network and tokenizer in the layout of transformers, the other parts beside them."""
        self.network.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        save_parts(folder, self.parts())

    @classmethod
    def sample_rows(cls) -> list[dict[str, str]]:
        """A handful of rows for tests."""
        verbs = ("Return", "Print", "Close", "Copy", "Write down")
        nouns = ("the list", "a file", "each name", "the number of items", "an open socket")
        return [
            {"text": f"{verb} {noun} and then look at {noun}."} for verb in verbs for noun in nouns
        ]
