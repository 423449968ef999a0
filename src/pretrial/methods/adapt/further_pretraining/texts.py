"""A masked language model."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from transformers import (
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    RobertaConfig,
    RobertaForMaskedLM,
)

from pretrial.checkpoints.keys import load_config, load_pretrained, load_tokenizer
from pretrial.corrupt.masks import chosen_of, mask_windows
from pretrial.errors import UserError
from pretrial.methods.adapt.further_pretraining.config import Config
from pretrial.methods.adapt.further_pretraining.inputs import Example, check_input
from pretrial.methods.adapt.further_pretraining.network import Network
from pretrial.models.tokenizers import ROBERTA_SPECIALS, learn_bpe, texts_of
from pretrial.objectives.tokens import token_loss
from pretrial.train.stage import Batch


class TextNetwork(Network):
    """A masked language model, such as `RobertaForMaskedLM`; examples are windows of token ids."""

    input = "text"
    counted = "masked"

    @classmethod
    def fresh(cls, config: Config, examples: Sequence[Example] | None) -> Self:
        if examples is None:
            return cls(config, RobertaForMaskedLM(_roberta_config(config)))
        check_input(examples, "text")
        texts = texts_of(examples, lambda each: (each.content,))
        tokenizer = learn_bpe(
            texts, config.vocab_size, specials=ROBERTA_SPECIALS, template="<s> $A </s>"
        )
        sizes = _roberta_config(config, len(tokenizer), int(tokenizer.pad_token_id))
        return cls(config, RobertaForMaskedLM(sizes), tokenizer)

    @classmethod
    def load(cls, config: Config, source: str | Path) -> Self:
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
        return cls(_sized_as_texts(config, model.config), model, tokenizer)

    def batch(self, examples: Sequence[Any], generator: torch.Generator) -> Batch:
        return mask_windows(
            examples,
            self.tokenizer,
            generator,
            ratio=self.config.mask_ratio,
            mask_prob=self.config.mask_prob,
            random_prob=self.config.random_prob,
        )

    def inputs(self, examples: Sequence[Example]) -> Batch:
        check_input(examples, "text")
        encoded = self.tokenizer(
            [each.content for each in examples],
            truncation=True,
            max_length=self.config.max_length,
            padding=True,
            return_tensors="pt",
        )
        return {
            "input_ids": encoded["input_ids"],
            "attention_mask": encoded["attention_mask"].bool(),
        }

    def ssl_loss(self, batch: Batch) -> Tensor:
        """Mean cross-entropy of the chosen tokens."""
        logits = self.model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"].long()
        ).logits
        right = chosen_of(batch["labels"], batch)  # [N]
        return token_loss(chosen_of(logits, batch), right, batch["counts"]["masked"])

    def features(self, batch: Batch) -> Tensor:
        ids = batch.get("labels", batch["input_ids"])  # without masks
        output = self.encoder(input_ids=ids, attention_mask=batch["attention_mask"].long())
        return output.last_hidden_state[:, 0]

    def classifier(self, num_labels: int) -> Any:
        config = copy.deepcopy(self.model.config)
        config.num_labels = num_labels
        if hasattr(config, "hidden_dropout_prob"):
            config.hidden_dropout_prob = self.config.finetune_dropout_prob
        with self.model.device:
            model: Any = AutoModelForSequenceClassification.from_config(config)
        base = model.base_model
        base.load_state_dict(base.state_dict() | self.encoder.state_dict())  # it may have a pooler
        return model

    def exported(self) -> Any:
        """The masked language model."""
        return self.model


def _roberta_config(config: Config, vocab_size: int = 0, pad_id: int = 1) -> RobertaConfig:
    return RobertaConfig(
        vocab_size=vocab_size or config.vocab_size,
        hidden_size=config.width,
        num_hidden_layers=config.num_layers,
        num_attention_heads=config.num_heads,
        intermediate_size=config.feed_forward,
        # positions are counted from behind padding's
        max_position_embeddings=config.num_positions + pad_id + 1,
        type_vocab_size=1,
        pad_token_id=pad_id,
        hidden_dropout_prob=config.dropout_prob,
        attention_probs_dropout_prob=config.dropout_prob,
    )


def _sized_as_texts(config: Config, model: Any) -> Config:
    """The same settings with the sizes of a model of texts."""
    reach = int(model.max_position_embeddings)
    if model.model_type in ("roberta", "xlm-roberta", "camembert"):
        reach -= int(model.pad_token_id) + 1  # whose table begins behind padding
    return replace(
        config,
        input="text",
        vocab_size=model.vocab_size,
        width=model.hidden_size,
        num_layers=model.num_hidden_layers,
        num_heads=model.num_attention_heads,
        feed_forward=model.intermediate_size,
        num_positions=reach,
        max_length=min(config.max_length, reach),
    )
