"""What is trained: an encoder that names hidden or next entries, and a classifier."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pretrial.corrupt.entries import hidden_entries
from pretrial.errors import UserError
from pretrial.methods.text.never_from_scratch.config import NUM_LEVELS, Config
from pretrial.methods.text.never_from_scratch.handover import for_causal, for_masking
from pretrial.methods.text.never_from_scratch.inputs import MASK, Coded, padded
from pretrial.methods.text.never_from_scratch.network import selective_scan, state_space
from pretrial.methods.text.never_from_scratch.network.encoder import (
    LongSequenceForSequenceClassification,
    LongSequenceModel,
)
from pretrial.objectives.tokens import token_loss
from pretrial.train.budget import Budget
from pretrial.train.stage import Batch, Optim, Trainable

_FEWEST = 20  # sequences by which chance is told from learning
_NAMES = "|".join(re.escape(name) for name in (*state_space.DYNAMICS, *selective_scan.DYNAMICS))
_DYNAMICS = rf"\.(kernel|mixer)\.({_NAMES})$"


class Pretrainer(Trainable):
    """A copy of a classifier's encoder and a linear decoder, trained on inputs alone.

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
        """Hides entries, or leaves all to be seen and asks for the next ones.

        Returns:
            inputs: ids [B, T], or channels of a signal [B, T, C].
            real: True where there is an entry [B, T]; None: everywhere.
            positions: of the states that answer, in the flattened batch [N].
            targets: what they answer: ids, numbers or levels [N].
            counts: "examples", "tokens" (entries) and "asked" (N).
        """
        entries, real, lengths = padded(examples)
        if self.objective == "masked":
            hidden = torch.from_numpy(
                hidden_entries(lengths, self.config.mask_ratio, generator, self.config.span_length)
            )
            asking = asked = hidden.flatten().nonzero().squeeze(-1)
        else:
            hidden = None
            follows = np.arange(1, entries.shape[1] + 1) < lengths[:, None]
            asking = torch.from_numpy(follows).flatten().nonzero().squeeze(-1)
            asked = asking + 1
        targets = entries.flatten()[asked]
        if self.has_levels:
            targets = ((targets + 1) / 2 * (NUM_LEVELS - 1)).round().long()
            targets = targets.clamp(0, NUM_LEVELS - 1)
        return {
            "inputs": self._seen(entries, hidden),
            "real": real,
            "positions": asking,
            "targets": targets,
            "counts": {
                "examples": float(len(examples)),
                "tokens": float(lengths.sum()),
                "asked": float(len(asked)),
            },
        }

    def _seen(self, entries: Tensor, hidden: Tensor | None) -> Tensor:
        """Ids [B, T] with hidden ones masked; of a signal its channels [B, T, C]."""
        if hidden is None:
            return entries[..., None] if self.is_signal else entries
        if self.is_signal:
            return torch.stack([entries.masked_fill(hidden, 0.0), hidden.float()], -1)
        return entries.masked_fill(hidden, MASK)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Mean cross-entropy or absolute error over the entries that are asked for."""
        states = states_of(self.encoder, batch["inputs"], batch["real"])
        answers = self.decoder(states.flatten(0, 1)[batch["positions"]])
        count = max(batch["counts"]["asked"], 1.0)
        if self.is_signal and not self.has_levels:
            error = F.l1_loss(answers.squeeze(-1).float(), batch["targets"], reduction="sum")
            return {"loss": error / count}
        return {"loss": token_loss(answers, batch["targets"], count)}


class Classifier(Trainable):
    """The network that the user keeps, trained on labels."""

    def __init__(self, network: LongSequenceForSequenceClassification) -> None:
        super().__init__()
        self.network = network

    def batch(self, examples: Sequence[Coded], generator: torch.Generator) -> Batch:
        """Entries `inputs` [B, T] or [B, T, 1], `real` [B, T] or None, and `places` [B]."""
        entries, real, lengths = padded(examples)
        return {
            "inputs": entries if self.network.config.vocab_size else entries[..., None],
            "real": real,
            "places": torch.tensor([each.place for each in examples]),
            "counts": {"examples": float(len(examples)), "tokens": float(lengths.sum())},
        }

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Mean cross-entropy of the classes, and the share of right guesses."""
        logits, count = self.logits(batch), batch["counts"]["examples"]
        right = (logits.argmax(-1) == batch["places"]).sum() / count
        return {"loss": token_loss(logits, batch["places"], count), "right_ratio": right}

    def logits(self, batch: Batch) -> Tensor:
        """[B, num_labels]."""
        inputs, network = batch["inputs"], self.network
        name = "input_ids" if network.config.vocab_size else "values"
        inputs = inputs if name == "input_ids" else inputs.to(network.dtype)
        return network(**{name: inputs}, attention_mask=batch["real"]).logits


def states_of(encoder: LongSequenceModel, inputs: Tensor, real: Tensor | None) -> Tensor:
    """Last states [B, T, d] of ids [B, T] or channels [B, T, C]."""
    name = "input_ids" if encoder.config.vocab_size else "values"
    return encoder(**{name: inputs}, attention_mask=real).last_hidden_state


def optims(config: Config) -> Optim | tuple[Optim, Optim]:
    """The optimisers of a stage: the dynamics of state spaces have one of their own."""
    rest = Optim(config.lr, config.weight_decay, schedule="constant", warmup=config.warmup)
    if config.mixer == "transformer":
        return rest
    rate = min(config.lr, config.state_lr)
    dynamics = replace(rest, lr=rate, weight_decay=0.0, match=_DYNAMICS)
    return replace(rest, match=rf"^(?!.*{_DYNAMICS})"), dynamics


def shares(budget: Budget, ratios: Sequence[float]) -> list[Budget]:
    """A budget in parts that add up to it; steps and examples come whole.

    Raises:
        UserError: there are fewer steps than parts.
    """
    ends = [budget.amount * sum(ratios[: place + 1]) / sum(ratios) for place in range(len(ratios))]
    if budget.unit in ("steps", "examples"):
        ends = [round(end) for end in ends]
    parts = [end - begin for begin, end in zip([0, *ends[:-1]], ends, strict=True)]
    if min(parts) <= 0:
        raise UserError(
            f"{budget.amount:g} {budget.unit} cannot be shared out over {len(parts)} stages: give"
            " more, or another pretrain_ratio"
        )
    return [Budget(part, budget.unit) for part in parts]


def chance_warning(right_ratio: float, places: Sequence[int]) -> str | None:
    """What to tell the user of a classifier no better than naming the most frequent class.

    It tells nothing of fewer than 20 sequences, which cannot show it.

    Args:
        right_ratio: its accuracy on sequences that it did not learn from.
        places: their classes.
    """
    if len(places) < _FEWEST:
        return None
    majority = float(np.bincount(places).max()) / len(places)
    spread = math.sqrt(majority * (1 - majority) / len(places))
    if right_ratio > majority + 2 * spread:
        return None
    return (
        f"still at chance: {right_ratio:.1%} of {len(places)} held-out sequences are right, and the"
        f" most frequent label has {majority:.1%}. Give more steps (long sequences may stay here"
        " for tens of thousands), try lr a third as large with a longer warmup, and for state"
        " spaces on long sequences dt_min=1e-4"
    )
