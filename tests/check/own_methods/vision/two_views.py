"""Two views of an image attract, all others of the batch repel: as a newcomer would write it.

| field | content |
| --- | --- |
| image | path, array or picture |
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from pretrial.bases.config import Optimisation, published_size
from pretrial.card import Card, Field
from pretrial.corrupt.draws import row_seeds
from pretrial.corrupt.image_views import crop_and_flip
from pretrial.data.media.image import stack
from pretrial.data.rows import require
from pretrial.objectives.contrastive import nt_xent
from pretrial.train.method import Method

CARD = Card(
    slug="two_views",
    title="Views that attract",
    authors="A newcomer",
    year=2026,
    arxiv="",
    summary="Two crops of an image get vectors that are alike",
    baseline="random weights",
    abilities=("encode",),
    fields=(Field("image", "path, array or picture"),),
    claims=(),
)


@dataclass(frozen=True)
class Config(Optimisation):
    """Settings.

    Attributes:
        width: of a vector.
        temperature: of the similarities.
    """

    width: int = 64
    temperature: float = 0.1

    @classmethod
    def tiny(cls) -> Self:
        return cls(width=16, batch_size=8, lr=1e-2)

    @classmethod
    def paper(cls, name: str) -> Self:
        return published_size(name, {"own": cls(width=256)})


class TwoViews(Method):
    """A convolution and a projection."""

    Config = Config
    compares_examples: ClassVar[bool] = True

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.encoder = nn.Sequential(
            nn.Conv2d(1, config.width, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(2),
            nn.Flatten(), nn.Linear(4 * config.width, config.width),
        )  # fmt: skip

    @classmethod
    def build(cls, config: Config, source: Any = None, data: Any = None) -> Self:
        method = cls(config)
        if source is not None:
            method.load_state_dict(load_file(Path(source) / "weights.safetensors"))
        return method

    @classmethod
    def read(cls, rows: Any) -> list[Any]:
        require(rows, ("image",))
        return [row["image"] for row in rows]

    def batch(self, examples: Any, generator: torch.Generator) -> dict[str, Any]:
        views, num = [], len(examples)
        for _ in range(2):
            seeds = row_seeds(num, generator)
            views.append(crop_and_flip(stack(examples, 1, (8, 8)), seeds, min_crop=0.3))
        return {"views": torch.cat(views), "counts": {"examples": float(num)}}

    def losses(self, batch: dict[str, Any]) -> dict[str, Tensor]:
        one, other = self.encoder(batch["views"]).chunk(2)
        count = batch["counts"]["examples"]
        return {"loss": nt_xent(one, other, self.config.temperature, count)}

    @torch.no_grad()
    def encode(self, examples: Any) -> Tensor:
        return self.encoder(stack(examples, 1, (8, 8)))

    def export(self) -> nn.Module:
        return self.encoder

    def save(self, folder: Path) -> None:
        save_file(self.state_dict(), folder / "weights.safetensors")

    @classmethod
    def sample_rows(cls) -> list[dict[str, Any]]:
        rng = np.random.default_rng(0)
        return [{"image": rng.integers(0, 255, (8, 8), dtype=np.uint8)} for _ in range(16)]
