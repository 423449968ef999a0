"""A sequence classifier of transformers as something the loop can train."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from pretrial.models.architectures.classifier import Classifier

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class TextClassifier(Classifier):
    """What `classifier(num_labels)` of a method returns; contents are texts.

    Args:
        model: such as `BertForSequenceClassification`.
        tokenizer: its tokenizer, with a padding token.
        max_length: longer texts are cut.
        text_of: the text of an example, where examples are not texts themselves.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
        text_of: Callable[[Any], str] | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.text_of = text_of

    def inputs(
        self, contents: Sequence[Any], generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Token ids and the tokenizer's mask, which is 1 at tokens [B, T]."""
        inputs = self.tokenizer(
            list(map(self.text_of, contents) if self.text_of else contents),
            truncation=True,
            max_length=self.max_length,
            padding=True,
            return_tensors="pt",
            split_special_tokens=True,  # one that is written in a text is text like any other
        )
        return {name: inputs[name] for name in ("input_ids", "attention_mask")}

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits [B, num_labels]."""
        return self.model(input_ids=input_ids, attention_mask=attention_mask).logits

    def num_tokens(self, inputs: dict[str, Tensor]) -> int:
        """Tokens, padding not counted."""
        return int(inputs["attention_mask"].sum())
