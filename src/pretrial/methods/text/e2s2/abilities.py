"""What an E2S2 is for beside writing: vectors, and a diagnosis of its two sides."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from pretrial.bases.language_model import TextToTextMethod
from pretrial.errors import UserError
from pretrial.evaluate.sides import diagnose_sides
from pretrial.methods.text.e2s2.data import Example, Views
from pretrial.models.architectures.seq2seq import pad_rows


class Abilities(TextToTextMethod):
    """A model that reads sources as they were in training."""

    @staticmethod
    def text_of(example: Example | str) -> str:
        """The text of an example, which may be the text itself."""
        return example if isinstance(example, str) else example.text

    @classmethod
    def parts(cls, example: Example) -> Iterable[str]:
        """The text alone: targets are for `diagnose`."""
        return (example.text,)

    @cached_property
    def views(self) -> Views:
        """What makes batches."""
        return Views(self.tokenizer, self.config)

    def pool(self, states: Tensor, mask: Tensor) -> Tensor:
        """Sentence vectors [B, d] of states [B, T, d] whose mask is 1 at tokens [B, T]."""
        if self.config.pooling == "prompt":  # its mask stands before the end token
            return states[torch.arange(len(states), device=states.device), mask.sum(1) - 2]
        weights = mask.unsqueeze(-1).to(states.dtype)
        return (states * weights).sum(1) / weights.sum(1)

    @torch.no_grad()
    def encode(self, examples: Sequence[Example | str], batch_size: int = 64) -> Tensor:
        """One vector a text [N, d] by the encoder, pooled as in training."""
        if not examples:
            raise UserError("there are no texts to encode: give at least one")
        vectors: list[Tensor] = [torch.empty(0)] * len(examples)
        sources = self.views.sources([self.text_of(each) for each in examples])
        for rows, states, mask in self.states(sources, batch_size):
            for row, vector in zip(rows, self.pool(states, mask).float().cpu(), strict=True):
                vectors[row] = vector
        return torch.stack(vectors)

    def states(
        self, sources: Sequence[list[int]], batch_size: int = 64
    ) -> Iterator[tuple[list[int], Tensor, Tensor]]:
        """For some sources, alike in length: places, the encoder's states [B, T, d], mask [B, T].

        Args:
            sources: token ids with what stands around a text.
            batch_size: sources at once.
        """
        network = self.network
        encoder, training = network.get_encoder(), network.training
        order = sorted(range(len(sources)), key=lambda place: len(sources[place]))
        network.eval()
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            chosen = [sources[row] for row in rows]
            ids = pad_rows(chosen, self.language_model.pad).to(network.device)
            mask = pad_rows([[1] * len(row) for row in chosen], 0).to(network.device)
            yield rows, encoder(input_ids=ids, attention_mask=mask).last_hidden_state, mask
        network.train(training)

    def diagnose(
        self,
        examples: Sequence[Example],
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
        pairs = [(example.text, example.target) for example in examples]
        yield from diagnose_sides(
            lambda: self.writer(max_new_tokens),
            pairs,
            epochs=epochs,
            lr=lr,
            batch_size=batch_size,
            test_ratio=test_ratio,
            seed=seed,
        )
