"""The next letter from the last one: the smallest method that trains, for the tests.

| field | content |
| --- | --- |
| text | lower-case text |
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn
from torch.distributions import Categorical

from pretrial.card import Card, Claim, Field
from pretrial.errors import UserError
from pretrial.train.method import Method
from pretrial.train.stage import Batch, Optim, Stage

CARD = Card(
    slug="bigram",
    title="Prediction and Entropy of Printed English",
    authors="Shannon",
    year=1951,
    arxiv="",
    summary="The next letter from the last one",
    baseline="letters at random",
    abilities=("score", "generate"),
    fields=(Field("text", "lower-case text"),),
    claims=(Claim("English letters carry 3.56 bits given the last one", "(unverified)"),),
)
_LETTERS = " abcdefghijklmnopqrstuvwxyz"


@dataclass(frozen=True)
class Config:
    """Settings.

    Attributes:
        lr: learning rate.
        batch_size: texts a step.
    """

    lr: float = 0.1
    batch_size: int = 4

    def __post_init__(self) -> None:
        if self.lr <= 0:
            raise UserError(f"--lr must be above 0, not {self.lr}")

    @classmethod
    def tiny(cls) -> Self:
        """Settings for tests."""
        return cls(batch_size=2)

    @classmethod
    def paper(cls, name: str) -> Self:
        """The published settings."""
        if name != "shannon":
            raise UserError(f"bigram was published as shannon, not {name!r}")
        return cls(batch_size=8)


class Bigram(Method):
    """Logits of the next letter, [27, 27]."""

    Config = Config

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.logits = nn.Parameter(0.01 * torch.randn(len(_LETTERS), len(_LETTERS)))

    @classmethod
    def build(
        cls,
        config: Config,
        source: str | Path | None = None,
        data: Sequence[Any] | None = None,
    ) -> Self:
        method = cls(config)
        if source is not None:
            method.load_state_dict(load_file(Path(source) / "weights.safetensors"))
        return method

    @classmethod
    def read(cls, rows: Sequence[dict[str, Any]]) -> Sequence[str]:
        for row in rows:
            if "text" not in row:
                raise UserError(f"a row has no field 'text', only {', '.join(row)}")
        return [row["text"] for row in rows]

    def stages(self, run: Any) -> Iterator[Stage]:
        size = self.config.batch_size
        optim = Optim(lr=self.config.lr)
        yield Stage("letters", self, run.data, budget=run.budget, optim=optim, batch_size=size)

    def batch(self, examples: Sequence[str], generator: torch.Generator) -> Batch:
        pairs = [pair for text in examples for pair in pairwise(_ids(text))]
        first, second = torch.tensor(pairs).T
        counts = {"examples": float(len(examples)), "tokens": float(len(pairs))}
        return {"first": first, "second": second, "counts": counts}

    def losses(self, batch: Batch) -> dict[str, torch.Tensor]:
        logits = self.logits[batch["first"]]
        loss = F.cross_entropy(logits, batch["second"], reduction="sum")
        return {"loss": loss / batch["counts"]["tokens"]}

    def export(self) -> nn.Module:
        module = nn.Embedding(len(_LETTERS), len(_LETTERS))
        module.weight = self.logits
        return module

    def save(self, folder: Path) -> None:
        save_file(self.state_dict(), folder / "weights.safetensors")
        (folder / "letters.json").write_text(json.dumps(_LETTERS))

    def score(self, examples: Sequence[str]) -> Iterator[dict[str, Any]]:
        """Bits a letter."""
        log_probs = F.log_softmax(self.logits.detach(), -1)
        for text in examples:
            ids = _ids(text)
            total = sum(float(log_probs[a, b]) for a, b in pairwise(ids))
            yield {"text": text, "log_prob": total}

    def nll(self, texts: Sequence[str]) -> tuple[list[float], list[int]]:
        """Nats and scored bytes of each text, for the task "perplexity"."""
        return [-row["log_prob"] for row in self.score(texts)], [len(text) - 1 for text in texts]

    def generate(
        self, examples: Sequence[str], *, num_letters: int = 5, seed: int = 0
    ) -> Iterator[dict[str, Any]]:
        """Goes on with each text.

        Args:
            num_letters: to add.
            seed: of the drawing.
        """
        torch.manual_seed(seed)
        for text in examples:
            for _ in range(num_letters):
                text += _LETTERS[int(Categorical(logits=self.logits[_ids(text)[-1]]).sample())]
            yield {"text": text}


def demo(*, num_words: int = 2) -> None:
    """Prints words.

    Args:
        num_words: how many.
    """
    print("words " * num_words)


def _ids(text: str) -> list[int]:
    return [_LETTERS.index(letter) for letter in text]
