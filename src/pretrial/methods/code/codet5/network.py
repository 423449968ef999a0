"""What classifies code: a head on the decoder's state at the end of the text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pretrial.errors import UserError
from pretrial.models.architectures.seq2seq import pad_rows, shifted
from pretrial.train.device import to_device
from pretrial.train.stage import Batch, Trainable

Texts = str | tuple[str, str]


class PairHead(nn.Module):
    """Classes of a pair from its two vectors, with the names of the release.

    Args:
        width: of a vector.
        num_labels: classes.
    """

    def __init__(self, width: int, num_labels: int) -> None:
        super().__init__()
        self.dense = nn.Linear(2 * width, width)
        self.out_proj = nn.Linear(width, num_labels)

    def forward(self, vectors: Tensor) -> Tensor:
        """Logits [B, C] of vectors [2 B, d], the two of a pair side by side."""
        return self.out_proj(torch.tanh(self.dense(vectors.view(-1, 2 * vectors.shape[-1]))))


class EosClassifier(Trainable):
    """Classes from the decoder's state at the end token; examples are (texts, class).

    The source is the decoder's text too, as in DefectModel and CloneModel of the release. The state
    at the end token has seen all tokens before it, and not that token itself.

    Args:
        network: the T5.
        tokenizer: its tokenizer.
        num_labels: classes.
        max_length: tokens of a text; longer ones are cut, and end all the same.
        pairs: the texts of an example are two, whose vectors go through a layer together.
    """

    def __init__(
        self, network: Any, tokenizer: Any, num_labels: int, max_length: int, pairs: bool = False
    ) -> None:
        super().__init__()
        self.network = network
        self.tokenizer = tokenizer
        self.max_length = max_length
        self.pairs = pairs
        width = int(network.config.d_model)
        self.classifier = PairHead(width, num_labels) if pairs else nn.Linear(width, num_labels)
        if not network.config.tie_word_embeddings:
            network.lm_head.weight.requires_grad_(False)  # a classifier writes nothing

    def batch(self, examples: Sequence[tuple[Texts, int]], generator: torch.Generator) -> Batch:
        texts, classes = zip(*examples, strict=True)
        batch = self._inputs(texts)
        batch["classes"] = torch.tensor(classes)  # [B]
        batch["counts"]["examples"] = float(len(examples))
        return batch

    def _inputs(self, texts: Sequence[Texts]) -> Batch:
        flat = [t for each in texts for t in ((each,) if isinstance(each, str) else each)]
        if len(flat) != (1 + self.pairs) * len(texts):
            raise UserError("a pair of texts is needed to compare, one text to classify")
        rows = self.tokenizer(
            flat, truncation=True, max_length=self.max_length, split_special_tokens=True
        )["input_ids"]
        ends = end_positions(rows, int(self.tokenizer.eos_token_id))
        return {
            "input_ids": pad_rows(rows, int(self.tokenizer.pad_token_id)),
            "attention_mask": pad_rows([[1] * len(row) for row in rows], 0),
            "ends": torch.tensor(ends),
            "counts": {"examples": float(len(texts)), "tokens": 2.0 * sum(map(len, rows))},
        }

    def vectors(self, batch: Batch) -> Tensor:
        """The decoder's last states at the end tokens [B, d]; of pairs [2 B, d]."""
        ids, mask = batch["input_ids"], batch["attention_mask"]
        states = self.network.decoder(
            input_ids=shifted(self.network, ids),
            attention_mask=mask,
            encoder_hidden_states=self.network.encoder(
                input_ids=ids, attention_mask=mask
            ).last_hidden_state,
            encoder_attention_mask=mask,
            use_cache=False,
        ).last_hidden_state  # [B, T, d]
        return states[torch.arange(len(ids), device=ids.device), batch["ends"]]

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        logits = self.classifier(self.vectors(batch)).float()
        loss = F.cross_entropy(logits, batch["classes"], reduction="sum")
        right = (logits.argmax(-1) == batch["classes"]).float().sum()
        count = batch["counts"]["examples"]
        return {"loss": loss / count, "accuracy": right / count}

    @torch.no_grad()
    def logits(self, texts: Sequence[Texts], batch_size: int = 64) -> Tensor:
        """[N, num_labels], in eval mode; the mode comes back."""
        training, device = self.training, next(self.parameters()).device
        self.eval()
        parts = []
        for start in range(0, len(texts), batch_size):
            batch = to_device(self._inputs(texts[start : start + batch_size]), device)
            parts.append(self.classifier(self.vectors(batch)).float().cpu())
        self.train(training)
        return torch.cat(parts)


def end_positions(rows: Sequence[Sequence[int]], eos: int) -> list[int]:
    """Where the last end token of each row stands.

    Raises:
        UserError: a row has none, or another number of them than the others.
    """
    numbers = {list(row).count(eos) for row in rows}
    if numbers == {0} or len(numbers) > 1:
        raise UserError(
            f"all texts of a batch need one end token, or the same number of them, not"
            f" {sorted(numbers)}: use the tokenizer of a CodeT5 checkpoint"
        )
    return [len(row) - 1 - list(row)[::-1].index(eos) for row in rows]
