"""Encoders of texts: a network of transformers with a head, trained on windows of token ids.

A method names what it is made of, gives `batch`, and `losses` or `logits`, and what differs:

| hook | says | default |
| --- | --- | --- |
| `network_class(config)` | the class of the network, head included | none |
| `network_config(config, vocab_size)` | its sizes in transformers' terms | as the settings say |
| `new_network(config, vocab_size)` | an untrained network | of the two above |
| `vocabulary(config, data)` | a tokenizer learned from examples | `learn_bpe` with `specials` |
| `parts(example)`, `text_of(example)` | its texts, to learn from; the one that is read | the text |
| `load(config, source)` | settings, network and tokenizer of a checkpoint | see `load_encoder` |
| `modules_beside()`, `adopt(source)` | what is kept beside the network | nothing |
| `optim()` | the optimiser | AdamW with BERT's eps |
| `stages(run)` | the stages | one over windows of the texts |
| `reader` | the tokenizer with which vectors and classifiers read texts | `tokenizer` |
| `text_length` | tokens of a text that they read | `max_length` |
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from pretrial.bases.config import Optimisation, TransformerSizes
from pretrial.bases.examples import sample_texts
from pretrial.checkpoints.keys import load_tokenizer
from pretrial.checkpoints.parts import has_part, load_parts, save_parts
from pretrial.checkpoints.pretrained import load_encoder
from pretrial.corrupt.masks import chosen_of, mask_windows
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
from pretrial.models.tokenizers import SPECIALS, learn_bpe, special_ids, texts_of
from pretrial.objectives.tokens import token_loss
from pretrial.train.budget import Budget
from pretrial.train.method import Method, SentenceVectors
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
        init_std: deviation of the weights at the beginning; 0.02 is for a width of 768, and narrow
            networks learn sooner with about 1 / sqrt(width).
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
    init_std: float = 0.02
    mask_ratio: float = 0.15
    mask_prob: float = 0.8
    random_prob: float = 0.1

    @property
    def mask_rates(self) -> dict[str, Any]:
        """The rates as `mask_windows` takes them."""
        return {
            "ratio": self.mask_ratio,
            "mask_prob": self.mask_prob,
            "random_prob": self.random_prob,
        }

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
        specials: special tokens of a vocabulary that is learned, by their role.
        template: what that vocabulary puts around a text.
        mend: what to give instead of a checkpoint that does not fit, for the errors.
        other_heads: classes of the same encoder whose checkpoints will do, with a new head.
        beside: beginnings of the names of further weights that checkpoints may hold.
        keeps_pooler: take over the pooler of a checkpoint, for what is fine-tuned and exported.
    """

    specials: ClassVar[Mapping[str, str]] = SPECIALS
    template: ClassVar[str] = "<cls> $A <sep>"
    mend: ClassVar[str] = "give the name or folder of a checkpoint that the method can read"
    other_heads: ClassVar[tuple[str, ...]] = ()
    beside: ClassVar[tuple[str, ...]] = ()
    keeps_pooler: ClassVar[bool] = False

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
            method = cls(*cls.load(config, source))
            method.adopt(source)
            return method
        if data is None:
            return cls(config, cls.new_network(config, config.vocab_size))
        tokenizer = cls.vocabulary(config, data)
        network = cls.new_network(config, len(tokenizer))
        return cls(replace(config, vocab_size=len(tokenizer)), network, tokenizer)

    @classmethod
    def network_class(cls, config: Any) -> Any:
        """The class of the network, head included, such as `BertForMaskedLM`."""
        raise NotImplementedError(f"{cls.__name__} does not say which network it is")

    @classmethod
    def network_config(cls, config: Any, vocab_size: int, **more: Any) -> Any:
        """The network in transformers' terms.

        Args:
            config: the settings.
            vocab_size: entries of the vocabulary.
            more: further fields.
        """
        kind = cls.network_class(config).config_class
        pad = special_ids(cls.specials)["pad_token_id"]
        return config.network_config(kind, vocab_size=vocab_size, pad_token_id=pad, **more)

    @classmethod
    def new_network(cls, config: Any, vocab_size: int) -> PreTrainedModel:
        """An untrained network."""
        return cls.network_class(config)(cls.network_config(config, vocab_size))

    @classmethod
    def vocabulary(cls, config: Any, data: Sequence[Any]) -> Any:
        """A tokenizer learned from examples; it puts a text between a first and a last token."""
        found = texts_of(data, cls.parts)
        return learn_bpe(found, config.vocab_size, specials=cls.specials, template=cls.template)

    @classmethod
    def load(cls, config: Any, source: str | Path) -> tuple[Any, ...]:
        """The settings with the sizes of a checkpoint, its network and its tokenizer.

        Raises:
            UserError: see `load_encoder` and `load_tokenizer`.
        """
        kind = cls.network_class(config)
        how: dict[str, Any] = {"beside": cls.beside, "pooler": cls.keeps_pooler}
        network = load_encoder(source, kind, cls.mend, others=cls.other_heads, **how)
        return config.sized_as(network.config), network, load_tokenizer(source)

    def modules_beside(self) -> Mapping[str, nn.Module]:
        """Modules that are trained and saved beside the network, by name."""
        return {}

    def adopt(self, source: str | Path) -> None:
        """Takes over the modules that lie beside a checkpoint's network, as far as any do."""
        own = self.modules_beside().items()
        load_parts(source, {name: module for name, module in own if has_part(source, name)})

    # -- how it is trained ------------------------------------------------------------------------

    @classmethod
    def read(cls, rows: Sequence[dict[str, Any]]) -> Sequence[Any]:
        """The texts of the rows."""
        return texts(rows)

    @classmethod
    def parts(cls, example: Any) -> Iterable[str | None]:
        """All texts of an example, to learn a vocabulary from."""
        return (cls.text_of(example),)

    @staticmethod
    def text_of(example: Any) -> str:
        """The text that is read of an example, which may be a bare text."""
        return example

    def masked(
        self, windows: Sequence[Sequence[int]], generator: torch.Generator, **more: Any
    ) -> Batch:
        """Hides tokens of windows at the rates of the settings; see `mask_windows`.

        Args:
            windows: token ids without special tokens.
            generator: the only source of randomness.
            more: arguments of `mask_windows`, which go before the settings.
        """
        return mask_windows(windows, self.tokenizer, generator, **(self.config.mask_rates | more))

    def logits(self, batch: Batch) -> Tensor:
        """What is predicted at the chosen positions [N, V], for masked language models."""
        raise NotImplementedError(f"{type(self).__name__} does not say what it predicts")

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Mean cross-entropy of `logits` against the tokens at the chosen positions."""
        right = chosen_of(batch["labels"], batch)  # [N]
        return {"loss": token_loss(self.logits(batch), right, batch["counts"]["masked"])}

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
            name, self, windows, self.config, budget=budget, held_out=held_out, optim=self.optim()
        )

    def optim(self) -> Optim:
        """AdamW with BERT's eps; the rest is as the settings say."""
        return Optim.of(self.config, eps=1e-6)

    # -- what it is for ---------------------------------------------------------------------------

    @property
    def reader(self) -> Any:
        """The tokenizer with which texts are read for vectors and classifiers."""
        return self.tokenizer

    @property
    def text_length(self) -> int:
        """Tokens of a text that vectors and classifiers read; longer ones are cut."""
        return self.config.max_length

    def sentence_vectors(self) -> SentenceVectors | None:
        """See `Method.sentence_vectors`; None where a reader of its own is needed."""
        how = SentenceVectors(getattr(self.config, "pooling", "mean"), self.text_length)
        return how if self.reader is self.tokenizer else None

    def encode(
        self,
        examples: Sequence[Any],
        *,
        pooling: Literal["", "first", "mean"] = "",
        batch_size: int = 64,
    ) -> Tensor:
        """One vector each [N, d].

        Args:
            examples: as `read` gives them, or texts.
            pooling: the state of the first token, or the mean of all; "" is as the settings say,
                or the mean.
            batch_size: examples at once; they are grouped by length.
        """
        own: Pooling = getattr(self.config, "pooling", "mean") if pooling == "" else pooling
        contents = mapped(examples, lambda _, example: self.text_of(example))
        encoder, length = self.network.base_model, self.text_length
        return encode(encoder, self.reader, contents, length, batch_size, own)

    def token_vectors(self, examples: Sequence[Any]) -> list[tuple[Tensor, list[tuple[int, int]]]]:
        """For each example the last hidden states of its tokens [T, d] and their places."""
        contents = mapped(examples, lambda _, example: self.text_of(example))
        return token_vectors(self.network.base_model, self.reader, contents, self.text_length)

    def classifier(self, num_labels: int, pooling: Pooling = "first") -> TextClassifier:
        """A classifier on a copy of the encoder; its head reads the first token, or all of them."""
        model = classifier_from(self.network.base_model, num_labels, pooling)
        return TextClassifier(model, self.reader, self.text_length, text_of=self.text_of)

    def export(self) -> PreTrainedModel:
        """The encoder with its head."""
        return self.network

    def save(self, folder: Path) -> None:
        """Network and tokenizer in the layout of transformers, other modules beside them."""
        self.network.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)
        save_parts(folder, self.modules_beside())

    @classmethod
    def sample_rows(cls) -> list[dict[str, str]]:
        """A handful of rows for tests."""
        return sample_texts()
