"""A masked language model of texts, with the head that names its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor
from transformers import AutoModelForMaskedLM, RobertaForMaskedLM

from pretrial.bases.examples import Example, as_examples, check_field
from pretrial.bases.text_encoder import TextEncoder
from pretrial.checkpoints.keys import load_config, load_pretrained, load_tokenizer
from pretrial.corrupt.masks import chosen_of
from pretrial.data.rows import mapped
from pretrial.data.windows.cutting import cut
from pretrial.errors import UserError
from pretrial.models.architectures.text_classifier import TextClassifier
from pretrial.models.architectures.text_encoder import classifier_from
from pretrial.models.tokenizers import ROBERTA_SPECIALS
from pretrial.objectives.tokens import token_loss
from pretrial.train.method import SentenceVectors
from pretrial.train.stage import Batch
from pretrial.train.tokens import run_windows

if TYPE_CHECKING:
    from pretrial.train.run import Run


class MaskedLanguageModel(TextEncoder):
    """A `RobertaForMaskedLM` from scratch, or any masked language model; it reads windows."""

    field = "text"
    specials = ROBERTA_SPECIALS
    template = "<s> $A </s>"

    @classmethod
    def build(
        cls, config: Any, source: str | Path | None = None, data: Sequence[Example] | None = None
    ) -> Self:
        """See `TextEncoder.build`."""
        if source is None:
            check_field(data or (), cls.field)
        if source is None and data is None:
            sizes = cls.network_config(config, config.vocab_size)
            sizes.pad_token_id = 1  # RoBERTa's; a vocabulary that is learned has it first
            sizes.max_position_embeddings += 1
            return cls(config, RobertaForMaskedLM(sizes))
        return super().build(config, source, data)

    @classmethod
    def network_class(cls, config: Any) -> Any:
        """RoBERTa with the head that names tokens."""
        return RobertaForMaskedLM

    @classmethod
    def network_config(cls, config: Any, vocab_size: int, **more: Any) -> Any:
        """See `TextEncoder.network_config`; positions are counted from behind padding's."""
        sizes = super().network_config(config, vocab_size, type_vocab_size=1, **more)
        sizes.max_position_embeddings = config.num_positions + sizes.pad_token_id + 1
        return sizes

    @classmethod
    def load(cls, config: Any, source: str | Path) -> tuple[Any, ...]:
        """Takes checkpoints with their head, without which there is nothing to learn from at once.

        Raises:
            UserError: the head or the special tokens are missing.
        """
        config_class = type(load_config(source))
        kind: Any = AutoModelForMaskedLM._model_mapping[config_class]
        prefix = kind.base_model_prefix
        # next sentences and poolers are of no use here
        beside = ("cls.seq_relationship.", "pooler.", f"{prefix}.pooler.")
        try:
            model: Any = load_pretrained(kind, source, beside=beside)
        except UserError as error:
            raise UserError(
                f"{error}: give a masked language model with the head that names tokens, such as"
                " roberta-base"
            ) from error
        tokenizer = load_tokenizer(source)
        if None in (tokenizer.mask_token_id, tokenizer.cls_token_id, tokenizer.sep_token_id):
            raise UserError(
                f"the tokenizer of {source} lacks a mask, a first or a last token: give a BERT or"
                " RoBERTa with its own"
            )
        return config.sized_as(model.config), model, tokenizer

    def prepared(self, run: Run) -> tuple[Sequence[list[int]], Sequence[list[int]]]:
        """Windows of the texts of a run and of what was held out."""
        for part in (run.data, run.held_out):
            check_field(part, self.field)
        length = self.config.max_length - 2  # a special token at each end

        def windows(examples: Sequence[Example]) -> Any:
            texts = mapped(examples, lambda _, each: each.content)
            return cut(texts, self.tokenizer, length)

        return run_windows(run, windows, name=str(length))

    def batch(self, examples: Sequence[Any], generator: torch.Generator) -> Batch:
        """Hides tokens of windows; `mask_windows` tells the fields."""
        return self.masked(examples, generator)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Mean cross-entropy of the chosen tokens."""
        mask = batch["attention_mask"].long()
        logits = self.network(input_ids=batch["input_ids"], attention_mask=mask).logits
        right = chosen_of(batch["labels"], batch)  # [N]
        return {"loss": token_loss(chosen_of(logits, batch), right, batch["counts"]["masked"])}

    def features(self, batch: Batch) -> Tensor:
        """The last state of the first token [B, d], of texts without masks."""
        return self.states(batch["labels"], batch["attention_mask"])[:, 0]

    @staticmethod
    def text_of(example: Any) -> str:
        """See `TextEncoder.text_of`."""
        return as_examples([example], "text")[0].content

    def sentence_vectors(self) -> SentenceVectors:
        """See `Method.sentence_vectors`."""
        return SentenceVectors("first", self.text_length)

    def encode(
        self, examples: Sequence[Any], *, pooling: Any = "first", batch_size: int = 64
    ) -> Tensor:
        """The features of examples, or of bare texts [N, d]."""
        return super().encode(examples, pooling=pooling, batch_size=batch_size)

    def classifier(self, num_labels: int, pooling: Any = "first") -> TextClassifier:
        """A classifier of transformers with a new head on a copy of the encoder."""
        dropout = {"hidden_dropout_prob": self.config.finetune_dropout_prob}
        model = classifier_from(self.network.base_model, num_labels, pooling, **dropout)
        return TextClassifier(model, self.tokenizer, self.text_length, text_of=self.text_of)
