"""Pre-training of the backbone on code: masked spans, then next tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from pretrial.corrupt.prefix import prefix_split
from pretrial.corrupt.spans import span_corruption
from pretrial.errors import UserError
from pretrial.methods.code.coderl.network.model import ProgramModel
from pretrial.models.tokenizers import sentinel_ids
from pretrial.train.stage import Batch, Trainable


def code_sequences(program_model: ProgramModel, texts: Sequence[str]) -> list[list[int]]:
    """Sequences of at most `max_source` tokens, without special tokens, from files of code."""
    tokenizer, length = program_model.tokenizer, program_model.config.max_source
    found: list[list[int]] = []
    for text in texts:
        ids = list(tokenizer(text, add_special_tokens=False)["input_ids"])
        found += [ids[i : i + length] for i in range(0, len(ids), length)]
    return [ids for ids in found if len(ids) >= 8]


class _OnCode(Trainable):
    """Cross-entropy of what is made of sequences of code."""

    def __init__(self, program_model: ProgramModel) -> None:
        super().__init__()
        self.program_model = program_model

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        return self.program_model.losses(batch)


class MaskedSpans(_OnCode):
    """Masked span prediction: spans of 1 to 5 tokens, 15 % of the sequence, behind sentinels."""

    def __init__(self, program_model: ProgramModel, corruption_ratio: float = 0.15) -> None:
        super().__init__(program_model)
        self.corruption_ratio = corruption_ratio
        self.sentinels = sentinel_ids(program_model.tokenizer)
        if not self.sentinels:
            raise UserError(
                "masked span prediction needs a tokenizer with <extra_id_0>, <extra_id_1>, ...;"
                " leave it out with --span-epochs 0"
            )

    def batch(self, examples: Sequence[Any], generator: torch.Generator) -> Batch:
        how: dict[str, Any] = {"ratio": self.corruption_ratio, "eos": self.program_model.end}
        pairs = [
            span_corruption(ids, self.sentinels, generator=generator, **how) for ids in examples
        ]
        return self.program_model.batch(pairs, generator)


class NextTokens(_OnCode):
    """Next-token prediction: a pivot uniform in 10 to 90 % parts what is read from what is written.

    A decoder-only model writes the whole sequence.
    """

    def batch(self, examples: Sequence[Any], generator: torch.Generator) -> Batch:
        pairs = []
        for ids in examples:
            read, written = list(ids[:1]), list(ids[1:])
            if self.program_model.encoder_decoder:
                read, written = prefix_split(ids, generator=generator)
            pairs.append((read, [*written, self.program_model.end]))
        return self.program_model.batch(pairs, generator)
