"""MaskedText: an encoder names hidden tokens, and those that it finds hard count more.

Replace this docstring by the idea of your method in ten lines of your own words. What stands here
works: 15 % of the tokens of a text are hidden; the encoder, a BERT, names them; and the loss of
each is weighted by the probability that it was not named rightly, to the power of `focus`, so that
easy tokens soon count for little. With a focus of 0 it is plain masked language modelling.

Deviations from the paper:
1. Number what your method does otherwise than its paper, and say why.

| field | content |
| --- | --- |
| text | raw text of any length |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import BertForMaskedLM

from pretrial.bases.config import published_size
from pretrial.bases.text_encoder import EncoderConfig, TextEncoder
from pretrial.card import Card, Field
from pretrial.corrupt.masks import chosen_of
from pretrial.errors import UserError
from pretrial.train.stage import Batch

# Read without an import, so it holds literals alone. A method of the project itself also has the
# paper's `arxiv` and its `claims`: claims=(Claim("GLUE 75.1", "Table 1"),)
CARD = Card(
    slug="masked_text",
    title="The title of the paper",
    authors="First author and others",
    year=2026,
    arxiv="",
    summary="An encoder names hidden tokens, and those that it finds hard count more",
    baseline="the same encoder, to which all hidden tokens count alike",
    abilities=("encode", "classify"),
    fields=(Field("text", "raw text of any length"),),
    claims=(),
)


@dataclass(frozen=True)
class Config(EncoderConfig):
    """Settings, by default those of BERT-base; further ones are documented in `EncoderConfig`.

    Attributes:
        focus: power of the weight of a hidden token; 0 weighs all alike.
    """

    focus: float = 1.0  # say where each value is from, such as section 3.2

    #: Published parameters of what `export` gives, for each name that `paper` knows.
    published: ClassVar[dict[str, float]] = {"base": 110e6}

    def __post_init__(self) -> None:
        if self.focus < 0:
            raise UserError(f"focus must be at least 0, not {self.focus}")

    @classmethod
    def paper(cls, name: str = "base") -> Self:
        """The published size: "base" (110 M parameters)."""
        return published_size(name, {"base": cls()})


class MaskedText(TextEncoder):
    """A BERT that names hidden tokens."""

    Config: ClassVar[type] = Config
    mend = "give the name or folder of a BERT checkpoint, such as bert-base-uncased"

    @classmethod
    def network_class(cls, config: Any) -> Any:
        """BERT with the head that names tokens."""
        return BertForMaskedLM

    def batch(self, examples: Sequence[list[int]], generator: torch.Generator) -> Batch:
        """Hides tokens of windows; `mask_windows` tells the fields."""
        return self.masked(examples, generator)

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """The weighted loss, and beside it the plain one."""
        states = self.states(batch["input_ids"], batch["attention_mask"])  # [B, T, d]
        logits = self.network.cls(chosen_of(states, batch)).float()  # [N, V]
        labels = chosen_of(batch["labels"], batch)  # [N]
        nll = cross_entropy(logits, labels, reduction="none")
        # the mechanism: weights (1 - p)^focus, through which no gradient goes
        weights = (1 - (-nll.detach()).exp()).pow(self.config.focus)
        count = batch["counts"]["masked"]  # of the whole step, so that micro-batches add up
        return {"loss": (weights * nll).sum() / count, "mlm_loss": nll.sum() / count}
