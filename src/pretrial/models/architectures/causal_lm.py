"""A causal language model as what a stage trains."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pretrial.objectives.tokens import token_loss
from pretrial.train.stage import Batch, Trainable


class CausalLM(Trainable):
    """A causal language model that predicts the next token of windows of token ids.

    Args:
        network: of transformers.
        tokenizer: None in a model that is neither trained nor used.
    """

    def __init__(self, network: Any, tokenizer: Any = None) -> None:
        super().__init__()
        self.network = network
        self.tokenizer = tokenizer

    @property
    def end(self) -> int:
        """The token between two texts."""
        return int(self.tokenizer.eos_token_id)

    def batch(self, examples: Sequence[list[int]], generator: torch.Generator) -> Batch:
        """Every token of the windows but the first of each is predicted."""
        return predicting(examples, [[True] * len(window) for window in examples], self.end)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Mean cross-entropy of the tokens asked for."""
        return self.losses_of(batch, self.network.get_input_embeddings()(batch["ids"]))

    def losses_of(self, batch: Batch, vectors: Tensor) -> dict[str, Tensor]:
        """The losses of token vectors [B, T, d]."""
        ids, positions = batch["ids"], batch["positions"]
        # padding stands behind, where no token looks
        states = self.network.base_model(inputs_embeds=vectors, use_cache=False).last_hidden_state
        logits = self.network.lm_head(states.flatten(0, 1)[positions])  # [N, V]
        targets = ids.flatten()[positions + 1]
        return {"loss": token_loss(logits, targets, batch["counts"]["tokens"])}


def predicting(
    windows: Sequence[Sequence[int]], asked: Sequence[Sequence[bool]], pad: int
) -> Batch:
    """Windows as a batch.

    Args:
        windows: token ids.
        asked: True at the tokens that are to be predicted; the first of a window cannot be.
        pad: fills the shorter ones, on the right.

    Returns:
        `ids` [B, T] and `positions` [N], the flat places of the tokens before those predicted;
        only these are counted as tokens.
    """
    longest = max(map(len, windows))
    ids = torch.full((len(windows), longest), pad)
    before = torch.zeros(len(windows), longest, dtype=torch.bool)
    for row, (window, own) in enumerate(zip(windows, asked, strict=True)):
        ids[row, : len(window)] = torch.tensor(window)
        before[row, : len(window) - 1] = torch.tensor(own[1:], dtype=torch.bool)
    positions = before.flatten().nonzero().squeeze(1)
    counts = {"examples": float(len(windows)), "tokens": float(len(positions))}
    return {"ids": ids, "positions": positions, "counts": counts}
