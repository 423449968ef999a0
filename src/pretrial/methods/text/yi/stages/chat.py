"""Chat training (section 3.2): the loss on responses only, noise on the token vectors (NEFTune)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from pretrial.errors import UserError
from pretrial.methods.text.yi.data import Turns, has_messages, turns
from pretrial.methods.text.yi.network.context import context_values
from pretrial.models.architectures.language_model import CausalLM, decoder_batch
from pretrial.train.device import to_device
from pretrial.train.stage import Batch


class ChatTuner(CausalLM):
    """Learns the responses of dialogues.

    Args:
        network: of transformers.
        tokenizer: its tokenizer.
        noise: alpha; in training, uniform noise in [-1, 1] * alpha / sqrt(L d) is added to the
            token vectors of a dialogue of L tokens of width d (NEFTune, 2310.05914, Algorithm 1).
    """

    def __init__(self, network: Any, tokenizer: Any, noise: float) -> None:
        super().__init__(network, tokenizer)
        self.noise = noise

    def batch(self, examples: Sequence[Turns], generator: torch.Generator) -> Batch:  # type: ignore[override]
        """The tokens of responses are predicted; `seeds` [B] are those of the noise."""
        ids, predicted = zip(*examples, strict=True)
        batch = decoder_batch(ids, predicted, self.pad)
        batch["counts"]["tokens"] = batch["counts"]["targets"]
        batch["seeds"] = torch.randint(2**62, (len(examples),), generator=generator)
        return batch

    def losses(self, batch: Batch, vectors: Tensor | None = None) -> dict[str, Tensor]:
        """Mean cross-entropy of the tokens of responses."""
        vectors = self.network.get_input_embeddings()(batch["input_ids"])  # [B, T, d]
        if self.training and self.noise:
            vectors = vectors + self._noise(vectors, batch)
        return super().losses(batch, vectors)

    def _noise(self, vectors: Tensor, batch: Batch) -> Tensor:
        """Noise [B, T, d], of each dialogue from a seed of its own; none on padding."""
        width = vectors.shape[2]
        noise = torch.zeros_like(vectors)
        lengths = batch["attention_mask"].sum(1)
        pairs = zip(batch["seeds"].tolist(), lengths.tolist(), strict=True)
        for row, (seed, length) in enumerate(pairs):
            generator = torch.Generator().manual_seed(seed)
            drawn = 2 * torch.rand(length, width, generator=generator) - 1
            noise[row, :length] = (drawn * self.noise / (length * width) ** 0.5).to(noise)
        return noise


@torch.no_grad()
def surprising(
    network: Any, tokenizer: Any, rows: Sequence[Mapping[str, Any]]
) -> list[tuple[float, int]]:
    """The loss of each dialogue's responses and its number, the highest loss first.

    Raises:
        UserError: a row has no dialogue.
    """
    tuner = ChatTuner(network, tokenizer, 0.0).eval()
    length = context_values(network)["max_position_embeddings"]
    found = []
    for number, row in enumerate(rows):
        if not has_messages(row):
            raise UserError(f"row {number} has no 'messages': flag looks at dialogues")
        own = turns(row["messages"], tokenizer, length)
        if any(own.predicted[1:]):
            batch = tuner.batch([own], torch.Generator())
            batch = to_device(batch, network.device)
            found.append((float(tuner.losses(batch)["loss"]), number))
    return sorted(found, reverse=True)
