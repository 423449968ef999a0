"""Methods on an encoder-decoder that writes one text for another, such as a T5."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from torch import Tensor
from transformers import AutoModelForSequenceClassification, T5ForConditionalGeneration

from pretrial.bases.language_model.method import LanguageMethod
from pretrial.checkpoints.keys import load_config, load_pretrained, load_tokenizer
from pretrial.data.rows import read_as
from pretrial.errors import UserError
from pretrial.evaluate.sides import diagnose_sides
from pretrial.models.architectures import text_encoder
from pretrial.models.architectures.language_model import TextToText
from pretrial.models.architectures.seq2seq import encode_texts, new_bart, new_t5
from pretrial.models.architectures.text_classifier import TextClassifier
from pretrial.models.architectures.text_encoder import Pooling
from pretrial.models.tokenizers import ROBERTA_SPECIALS, check_sentinels, special_ids
from pretrial.train.stage import Stage, Trainable

if TYPE_CHECKING:
    from pretrial.train.run import Run


@dataclass(frozen=True)
class TextPair:
    """A text that is read, and the one that is to be written for it."""

    source: str
    target: str = ""

    def __iter__(self) -> Iterator[str]:
        return iter((self.source, self.target))


class TextToTextMethod(LanguageMethod):
    """An encoder-decoder; its settings have `max_source` and `max_target`, in tokens.

    Attributes:
        kinds: what a checkpoint may be: its `model_type`, and the class that loads it.
        known: a public checkpoint, for the error of one that does not fit.
        num_sentinels: tokens <extra_id_N> that a T5 needs, and that a learned vocabulary gets.
        beside: beginnings of the names of weights that a checkpoint may hold beside the network's.
    """

    specials: ClassVar[Mapping[str, str]] = ROBERTA_SPECIALS
    template: ClassVar[str | None] = "<s> $A </s>"
    kinds: ClassVar[Mapping[str, Any]] = {"t5": T5ForConditionalGeneration}
    known: ClassVar[str] = "google-t5/t5-small"
    num_sentinels: ClassVar[int] = 0
    beside: ClassVar[str | tuple[str, ...]] = ""

    def new_language_model(self, network: Any, tokenizer: Any) -> TextToText:
        """Learns pairs of texts."""
        return TextToText(network, tokenizer, self.config.max_source, self.config.max_target)

    @classmethod
    def vocabulary(cls, config: Any, data: Sequence[Any], **more: Any) -> Any:
        """See `LanguageMethod.vocabulary`; with sentinels."""
        number = 0 if getattr(config, "architecture", "t5") == "bart" else cls.num_sentinels
        return super().vocabulary(config, data, **({"num_sentinels": number} | more))

    @classmethod
    def new_network(cls, config: Any, vocab_size: int) -> Any:
        """An untrained T5 of the settings' sizes, or a BART where they have that architecture."""
        if getattr(config, "architecture", "t5") == "bart":
            positions, std = config.num_positions, config.init_std
            own = cls.sizes(config) | cls.token_ids()
            return new_bart(vocab_size, num_positions=positions, init_std=std, **own)
        return new_t5(vocab_size, **cls.sizes(config), **cls.token_ids())

    @staticmethod
    def sizes(config: Any) -> dict[str, Any]:
        """The settings' sizes as `new_t5` takes them."""
        names = ("width", "num_layers", "num_heads", "feed_forward", "dropout_prob")
        return {name: getattr(config, name) for name in names}

    @classmethod
    def token_ids(cls) -> dict[str, Any]:
        """Ids of special tokens in a learned vocabulary, as `new_t5` takes them."""
        ids = special_ids(cls.specials)
        return {f"{role}_id": ids[f"{role}_token_id"] for role in ("pad", "bos", "eos")}

    @classmethod
    def load(cls, config: Any, source: str | Path) -> tuple[Any, ...]:
        """See `LanguageMethod.load`.

        Raises:
            UserError: it is of another kind, or its sentinels are not what they should be.
        """
        try:
            kind = load_config(source).model_type
        except (OSError, ValueError):
            kind = "nothing that can be read"
        if kind not in cls.kinds:
            names = " or ".join(name.upper() for name in cls.kinds)
            raise UserError(
                f"{source} is {kind}, not a {names}: give the name or folder of one, such as"
                f" {cls.known}"
            )
        network: Any = load_pretrained(cls.kinds[kind], source, beside=cls.beside)
        tokenizer = load_tokenizer(source)
        if cls.num_sentinels and kind != "bart":
            num_embeddings = network.get_input_embeddings().num_embeddings
            check_sentinels(tokenizer, num_embeddings, cls.num_sentinels)
        return config.sized_as(network.config), network, tokenizer

    @classmethod
    def read(cls, rows: Sequence[dict[str, Any]]) -> Sequence[Any]:
        """The rows as pairs of a source and its target."""
        return read_as(rows, TextPair)

    @staticmethod
    def text_of(example: Any) -> str:
        """The source of a pair, which may be the source itself."""
        return example if isinstance(example, str) else str(example.source)

    @classmethod
    def parts(cls, example: Any) -> Iterable[str | None]:
        """Source and target."""
        return (example.source, example.target)

    def stages(self, run: Run) -> Iterator[Stage]:
        """One stage over the pairs."""
        yield Stage.of(
            "train",
            self,
            run.data,
            self.config,
            budget=run.budget,
            held_out=run.held_out,
            optim=self.optim(),
        )

    @property
    def max_written(self) -> int:
        """As many tokens as a target has."""
        return int(self.language_model.max_target)

    def prompts(self, examples: Sequence[Any], max_new_tokens: int) -> list[list[int]]:
        """The texts with what the tokenizer's template puts around them, cut."""
        texts = [self.text_of(each) for each in examples]
        return encode_texts(self.tokenizer, texts, self.language_model.max_source)

    def written_text(self, ids: Sequence[int]) -> str:
        """The text of tokens that were written."""
        return super().written_text(ids).strip()

    def encode(self, examples: Sequence[Any]) -> Tensor:
        """One vector an example: the mean of the encoder's last states [N, d]."""
        texts = [self.text_of(each) for each in examples]
        encoder, longest = self.network.get_encoder(), self.language_model.max_source
        return text_encoder.encode(encoder, self.tokenizer, texts, longest)

    # What tasks start from

    def copied(self) -> Any:
        """The network with weights of its own, all of them trainable."""
        return copy.deepcopy(self.network).requires_grad_(True)

    def classifier(self, num_labels: int, pooling: Pooling = "first") -> Trainable:
        """A classifier of transformers, with a fresh head on a copy of the network.

        It reads the decoder's state at the end token, whatever `pooling` says.
        """
        config = copy.deepcopy(self.network.config)
        config.num_labels = num_labels
        kind: Any = AutoModelForSequenceClassification._model_mapping[type(config)]
        classifier = kind(config)
        own, weights = classifier.base_model, self.network.base_model.state_dict()
        own.load_state_dict({name: weights[name] for name in own.state_dict()})  # no lm_head
        longest = self.language_model.max_source
        classifier.to(self.network.device)
        return TextClassifier(classifier, self.tokenizer, longest, text_of=self.text_of)

    def writer(self, max_target: int = 0) -> TextToText:
        """A copy to be fine-tuned on (source, target) texts; 0 takes the settings' longest."""
        own = self.language_model
        most = max_target or own.max_target
        return TextToText(self.copied(), self.tokenizer, own.max_source, most)

    def diagnose(
        self,
        examples: Sequence[Any],
        *,
        epochs: int = 3,
        lr: float = 1e-4,
        batch_size: int = 16,
        test_ratio: float = 0.25,
        max_new_tokens: int = 16,
        seed: int = 0,
    ) -> Iterator[dict[str, Any]]:
        """What each side is worth: fine-tuning with one fresh or frozen, and its active units.

        Args:
            epochs: of fine-tuning, once for each setting.
            lr: peak learning rate of fine-tuning.
            batch_size: examples a step.
            test_ratio: share of the examples, the last ones, to measure on.
            max_new_tokens: longest text that is written in measuring.
            seed: of the fresh weights and of fine-tuning.
        """
        pairs = [(self.text_of(each), getattr(each, "target", "")) for each in examples]
        yield from diagnose_sides(
            lambda: self.writer(max_new_tokens),
            pairs,
            epochs=epochs,
            lr=lr,
            batch_size=batch_size,
            test_ratio=test_ratio,
            seed=seed,
        )

    @classmethod
    def sample_rows(cls) -> list[dict[str, Any]]:
        """A handful of rows for tests."""
        texts = [row["text"] for row in super().sample_rows()]
        return [{"source": text, "target": text.split()[0]} for text in texts]
