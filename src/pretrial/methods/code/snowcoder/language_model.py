"""The language model as what the phases train."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pretrial.objectives.tokens import token_loss
from pretrial.train.method import Batch, Trainable


class LanguageModel(Trainable):
    """A causal language model that predicts the next token of windows.

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
        """The token between two files."""
        return int(self.tokenizer.eos_token_id)

    def batch(self, examples: Sequence[list[int]], generator: torch.Generator) -> Batch:
        """Windows as `ids` [B, T], and the flat places of all tokens but the last of each [N]."""
        longest = max(map(len, examples))
        rows = [[*window, *[self.end] * (longest - len(window))] for window in examples]
        asked = torch.tensor([len(window) - 1 for window in examples])  # [B]
        positions = (torch.arange(longest) < asked[:, None]).flatten().nonzero().squeeze(1)
        counts = {"examples": float(len(examples)), "tokens": float(len(positions))}
        return {"ids": torch.tensor(rows), "positions": positions, "counts": counts}

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Mean cross-entropy of the next token."""
        ids, positions = batch["ids"], batch["positions"]
        # padding stands behind, where no token looks
        states = self.network.base_model(input_ids=ids, use_cache=False).last_hidden_state
        logits = self.network.lm_head(states.flatten(0, 1)[positions])  # [N, V]
        targets = ids.flatten()[positions + 1]
        return {"loss": token_loss(logits, targets, batch["counts"]["tokens"])}

    @torch.no_grad()
    def held_out_loss(self, windows: Sequence[list[int]], batch_size: int) -> dict[str, float]:
        """Mean cross-entropy over windows."""
        total = count = 0.0
        for start in range(0, len(windows), batch_size):
            batch = self.batch(windows[start : start + batch_size], torch.Generator())
            tokens = batch["counts"]["tokens"]
            moved = {
                name: value.to(self.network.device) if isinstance(value, Tensor) else value
                for name, value in batch.items()
            }
            total += float(self.losses(moved)["loss"]) * tokens
            count += tokens
        return {"loss": total / count}
