"""A classifier as something the loop can train: what the ability `classifier` of a method gives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from pretrial.train.in_batches import in_batches
from pretrial.train.stage import Batch, Trainable


class Classifier(Trainable):
    """Learns from (content, class) pairs, whatever the contents are.

    A subclass says how contents become `inputs`, and by `forward` what their logits are.
    """

    def inputs(
        self, contents: Sequence[Any], generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Tensors by the names that `forward` takes them by; it gives logits [B, num_labels].

        Args:
            contents: as the method's `read` gives them.
            generator: given in training, for crops and the like; else nothing is random.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say what it reads")

    def num_tokens(self, inputs: dict[str, Tensor]) -> int:
        """Tokens of a batch, for budgets in tokens."""
        raise NotImplementedError(f"{type(self).__name__} does not count its tokens")

    def batch(self, examples: Sequence[tuple[Any, int]], generator: torch.Generator) -> Batch:
        """The inputs, `labels` [B], and the counts."""
        contents, labels = zip(*examples, strict=True)
        inputs = self.inputs(contents, generator if self.training else None)
        counts = {"examples": float(len(labels)), "tokens": float(self.num_tokens(inputs))}
        return {**inputs, "labels": torch.tensor(labels), "counts": counts}

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Mean cross-entropy, and the share that is classified rightly."""
        inputs = {name: value for name, value in batch.items() if name not in ("labels", "counts")}
        logits, labels, count = self(**inputs), batch["labels"], batch["counts"]["examples"]
        return {
            "loss": cross_entropy(logits.float(), labels, reduction="sum") / count,
            "right_ratio": (logits.argmax(-1) == labels).sum() / count,
        }

    def logits(self, contents: Sequence[Any], batch_size: int = 64) -> Tensor:
        """[N, num_labels], in eval mode and on the CPU; the mode comes back."""
        device = next(self.parameters()).device

        def compute(some: Sequence[Any]) -> Tensor:
            return self(**{name: value.to(device) for name, value in self.inputs(some).items()})

        return in_batches(self, contents, compute, batch_size)
