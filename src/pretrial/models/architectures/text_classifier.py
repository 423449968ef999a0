"""A sequence classifier of transformers as something the loop can train."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from pretrial.train.stage import Batch, Trainable

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class TextClassifier(Trainable):
    """What `classifier(num_labels)` of a method returns; examples are (example, class) pairs.

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

    def batch(self, examples: Sequence[tuple[Any, int]], generator: torch.Generator) -> Batch:
        contents, labels = zip(*examples, strict=True)
        inputs = self._inputs(contents)
        counts = {
            "examples": float(len(contents)),
            "tokens": float(inputs["attention_mask"].sum()),
        }
        return {**inputs, "labels": torch.tensor(labels), "counts": counts}

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        logits = self.model(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
        ).logits
        loss = cross_entropy(logits, batch["labels"], reduction="sum")
        return {"loss": loss / batch["counts"]["examples"]}

    @torch.no_grad()
    def logits(self, examples: Sequence[Any], batch_size: int = 64) -> Tensor:
        """[N, num_labels], in eval mode; the mode comes back."""
        training = self.training
        self.eval()
        parts = []
        for start in range(0, len(examples), batch_size):
            inputs = self._inputs(examples[start : start + batch_size])
            inputs = {name: value.to(self.model.device) for name, value in inputs.items()}
            parts.append(self.model(**inputs).logits)
        self.train(training)
        return torch.cat(parts)

    def _inputs(self, examples: Sequence[Any]) -> dict[str, Tensor]:
        inputs = self.tokenizer(
            list(map(self.text_of, examples) if self.text_of else examples),
            truncation=True,
            max_length=self.max_length,
            padding=True,
            return_tensors="pt",
            split_special_tokens=True,  # one that is written in a text is text like any other
        )
        return {name: inputs[name] for name in ("input_ids", "attention_mask")}
