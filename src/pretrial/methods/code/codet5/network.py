"""What classifies code: a head on the decoder's state at the end of the text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pretrial.checkpoints.t5 import is_tied
from pretrial.errors import UserError
from pretrial.methods.code.codet5.data import Example
from pretrial.models.architectures.classifier import Classifier
from pretrial.models.architectures.seq2seq import encode_texts, pad_rows, shifted

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


class EosClassifier(Classifier):
    """Classes from the decoder's state at the end token.

    Contents are texts, pairs of them, or examples, whose code is read. The source is the decoder's
    text too, as in DefectModel and CloneModel of the release. The state at the end token has seen
    all tokens before it, and not that token itself.

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
        if not is_tied(network):
            network.lm_head.weight.requires_grad_(False)  # a classifier writes nothing

    def inputs(
        self, contents: Sequence[Texts | Example], generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Ids and mask [B, T], of pairs [2 B, T], and the places of the end tokens, `ends`."""
        texts = [each.text if isinstance(each, Example) else each for each in contents]
        flat = [t for each in texts for t in ((each,) if isinstance(each, str) else each)]
        if len(flat) != (1 + self.pairs) * len(contents):
            raise UserError("a pair of texts is needed to compare, one text to classify")
        rows = encode_texts(self.tokenizer, flat, self.max_length, plain=True)
        return {
            "input_ids": pad_rows(rows, int(self.tokenizer.pad_token_id)),
            "attention_mask": pad_rows([[1] * len(row) for row in rows], 0),
            "ends": torch.tensor(end_positions(rows, int(self.tokenizer.eos_token_id))),
        }

    def num_tokens(self, inputs: dict[str, Tensor]) -> int:
        """Those that the encoder and the decoder read."""
        return 2 * int(inputs["attention_mask"].sum())

    def vectors(self, input_ids: Tensor, attention_mask: Tensor, ends: Tensor) -> Tensor:
        """The decoder's last states at the end tokens [B, d]; of pairs [2 B, d]."""
        encoded = self.network.encoder(input_ids=input_ids, attention_mask=attention_mask)
        states = self.network.decoder(
            input_ids=shifted(self.network, input_ids),
            attention_mask=attention_mask,
            encoder_hidden_states=encoded.last_hidden_state,
            encoder_attention_mask=attention_mask,
            use_cache=False,
        ).last_hidden_state  # [B, T, d]
        return states[torch.arange(len(ends), device=ends.device), ends]

    def forward(self, input_ids: Tensor, attention_mask: Tensor, ends: Tensor) -> Tensor:
        """Logits [B, num_labels]."""
        return self.classifier(self.vectors(input_ids, attention_mask, ends))


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
