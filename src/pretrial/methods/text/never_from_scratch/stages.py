"""What is trained: an encoder that names hidden or next entries, and a classifier."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from pretrial.corrupt.masks import chosen_of
from pretrial.methods.text.never_from_scratch.config import NUM_LEVELS, Config
from pretrial.methods.text.never_from_scratch.data import MASK, Coded, hidden_entries, padded
from pretrial.methods.text.never_from_scratch.network import selective_scan, state_space
from pretrial.methods.text.never_from_scratch.network.encoder import (
    LongSequenceForSequenceClassification,
    LongSequenceModel,
)
from pretrial.methods.text.never_from_scratch.network.handover import for_causal, for_masking
from pretrial.models.architectures.classifier import Classifier
from pretrial.objectives.tokens import token_loss
from pretrial.train.stage import Batch, Optim, Trainable

_FEWEST = 20  # sequences by which chance is told from learning
_NAMES = "|".join(re.escape(name) for name in (*state_space.DYNAMICS, *selective_scan.DYNAMICS))
_DYNAMICS = rf"\.(kernel|mixer)\.({_NAMES})$"


class Pretrainer(Trainable):
    """A copy of a classifier's encoder and a linear decoder, trained on inputs alone (section 2).

    Args:
        encoder: what is copied; see `hand_over` for the way back.
        objective: name hidden entries, or each next one.
        config: the settings.
    """

    def __init__(
        self, encoder: LongSequenceModel, objective: Literal["masked", "causal"], config: Config
    ) -> None:
        super().__init__()
        self.objective = objective
        self.config = config
        self.encoder = for_masking(encoder) if objective == "masked" else for_causal(encoder)
        self.is_signal = not encoder.config.vocab_size
        self.has_levels = self.is_signal and config.signal_loss == "levels"
        size = NUM_LEVELS if self.has_levels else encoder.config.vocab_size or 1
        self.decoder = nn.Linear(encoder.config.hidden_size, size, device=encoder.device)

    def batch(self, examples: Sequence[Coded], generator: torch.Generator) -> Batch:
        """Hides entries, or leaves all to be seen and predicts the next ones.

        Returns:
            input_ids: [B, T]; of a signal `values` instead, its channels [B, T, C].
            attention_mask: True where there is an entry [B, T]; None: everywhere.
            loss_mask: True at the positions whose states predict [B, T].
            positions: their indices into the flattened [B * T], ascending [N]; see `chosen_of`.
            labels: what they predict: ids, numbers or levels [N].
            counts: "examples", "tokens" (entries) and "predicted" (N).
        """
        entries, mask, lengths = padded([each.entries for each in examples])
        hidden = None
        if self.objective == "masked":
            hidden = hidden_entries(
                lengths, self.config.mask_ratio, generator, self.config.span_length
            )
        # every entry but the last predicts the one behind it
        follows = np.arange(1, entries.shape[1] + 1) < lengths[:, None]
        loss_mask = follows if hidden is None else hidden
        positions = loss_mask.ravel().nonzero()[0]
        labels = entries.flatten()[positions + int(hidden is None)]
        if self.has_levels:
            labels = ((labels + 1) / 2 * (NUM_LEVELS - 1)).round().long()
            labels = labels.clamp(0, NUM_LEVELS - 1)
        return {
            **inputs_of(entries, self.is_signal, hidden),
            "attention_mask": mask,
            "loss_mask": torch.from_numpy(loss_mask),
            "positions": positions,
            "labels": labels,
            "counts": {
                "examples": float(len(examples)),
                "tokens": float(lengths.sum()),
                "predicted": float(len(positions)),
            },
        }

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Mean cross-entropy or absolute error over the entries that are predicted."""
        inputs = batch["values" if self.is_signal else "input_ids"]
        states = states_of(self.encoder, inputs, batch["attention_mask"])
        predicted, labels = self.decoder(chosen_of(states, batch)), batch["labels"]
        count = max(batch["counts"]["predicted"], 1.0)
        if self.is_signal and not self.has_levels:
            error = F.l1_loss(predicted.squeeze(-1).float(), labels, reduction="sum")
            return {"loss": error / count}
        return {"loss": token_loss(predicted, labels, count)}


class SequenceClassifier(Classifier):
    """The network that the user keeps, trained on labels; contents are entries as coded."""

    def __init__(self, network: LongSequenceForSequenceClassification) -> None:
        super().__init__()
        self.network: Any = network

    def inputs(
        self, contents: Sequence[NDArray[Any]], generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """What `forward` takes; no mask where all sequences are of one length."""
        entries, mask, _ = padded(contents)
        found = inputs_of(entries, not self.network.config.vocab_size)
        return found if mask is None else {**found, "attention_mask": mask}

    def forward(
        self,
        input_ids: Tensor | None = None,
        values: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        """Logits [B, num_labels] of ids [B, T] or channels [B, T, C]."""
        if values is not None:
            values = values.to(self.network.dtype)
        return self.network(input_ids, attention_mask, values).logits

    def num_tokens(self, inputs: dict[str, Tensor]) -> int:
        """Entries."""
        entries = inputs["values"][..., 0] if "values" in inputs else inputs["input_ids"]
        return int(
            inputs["attention_mask"].sum() if "attention_mask" in inputs else entries.numel()
        )


def inputs_of(
    entries: Tensor, is_signal: bool, hidden: NDArray[np.bool_] | None = None
) -> dict[str, Tensor]:
    """What an encoder reads: `input_ids` [B, T], or the channels of a signal, `values` [B, T, C].

    Args:
        entries: ids or numbers [B, T].
        is_signal: they are numbers.
        hidden: True where they are hidden [B, T]: ids become a mask; of a signal x there are two
            channels, x (1 - m) and m. None hides nothing.
    """
    if hidden is None:
        return {"values": entries[..., None]} if is_signal else {"input_ids": entries}
    mask = torch.from_numpy(hidden)
    if is_signal:
        return {"values": torch.stack([entries.masked_fill(mask, 0.0), mask.float()], -1)}
    return {"input_ids": entries.masked_fill(mask, MASK)}


def states_of(encoder: LongSequenceModel, inputs: Tensor, attention_mask: Tensor | None) -> Tensor:
    """Last states [B, T, d] of ids [B, T] or channels [B, T, C]."""
    name = "input_ids" if encoder.config.vocab_size else "values"
    return encoder(**{name: inputs}, attention_mask=attention_mask).last_hidden_state


def optims(config: Config) -> Optim | tuple[Optim, Optim]:
    """The optimisers of a stage: the dynamics of state spaces have one of their own."""
    rest = Optim.of(config, schedule="constant")
    if config.mixer == "transformer":
        return rest
    rate = min(config.lr, config.state_lr)
    dynamics = replace(rest, lr=rate, weight_decay=0.0, match=_DYNAMICS)
    return replace(rest, match=rf"^(?!.*{_DYNAMICS})"), dynamics


def chance_warning(right_ratio: float, labels: Sequence[int]) -> str | None:
    """What to tell the user of a classifier no better than naming the most frequent class.

    It tells nothing of fewer than 20 sequences, which cannot show it.

    Args:
        right_ratio: its accuracy on sequences that it did not learn from.
        labels: their classes.
    """
    if len(labels) < _FEWEST:
        return None
    majority = float(np.bincount(labels).max()) / len(labels)
    spread = math.sqrt(majority * (1 - majority) / len(labels))
    if right_ratio > majority + 2 * spread:
        return None
    return (
        f"still at chance: {right_ratio:.1%} of {len(labels)} held-out sequences are right, and the"
        f" most frequent label has {majority:.1%}. Give more steps (long sequences may stay here"
        " for tens of thousands), try lr a third as large with a longer warmup, and for state"
        " spaces on long sequences dt_min=1e-4"
    )
