"""TwoViews: two crops of an image get vectors that are alike, and unlike those of other images.

Each image of a batch is cropped twice. A small convolution makes a vector of each crop; the two of
one image attract each other, and all others of the batch repel them (NT-Xent, SimCLR).

| field | content |
| --- | --- |
| image | path, array or picture, of 8x8 pixels |
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

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
from pretrial.train.stage import Batch

if TYPE_CHECKING:
    from pretrial.compare.trial import Trial

CARD = Card(
    slug="two_views",
    title="Two views of an image",
    authors="A newcomer",
    year=2026,
    arxiv="",
    summary="Two crops of an image get vectors that are alike",
    baseline="the same network on whole images",
    abilities=("encode",),
    fields=(Field("image", "path, array or picture, of 8x8 pixels"),),
    claims=(),
)


@dataclass(frozen=True)
class Config(Optimisation):
    """Settings of TwoViews.

    Attributes:
        width: of a vector.
        temperature: of the similarities.
        min_crop: least share of an image that a crop takes; 1 crops nothing.
    """

    width: int = 64
    temperature: float = 0.2
    min_crop: float = 0.3
    lr: float = 2e-3
    batch_size: int = 64

    @classmethod
    def tiny(cls) -> Self:
        """Small enough for a test."""
        return cls(width=16, batch_size=8, lr=1e-2)

    @classmethod
    def paper(cls, name: str) -> Self:
        """The one size that there is."""
        return published_size(name, {"small": cls()})


class TwoViews(Method):
    """A convolution, and a layer that makes a vector of what it gives."""

    Config: ClassVar[type] = Config
    compares_examples: ClassVar[bool] = True  # the other images of the batch are the negatives

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.encoder = nn.Sequential(
            nn.Conv2d(1, config.width, 3),
            nn.ReLU(),
            nn.AdaptiveMaxPool2d(3),
            nn.Flatten(),
            nn.Linear(9 * config.width, config.width),
        )

    @classmethod
    def build(
        cls, config: Any, source: str | Path | None = None, data: Sequence[Any] | None = None
    ) -> Self:
        """See `Method.build`; `source` is a folder that `save` has written."""
        method = cls(config)
        if source is not None:
            method.load_state_dict(load_file(Path(source) / "weights.safetensors"))
        return method

    @classmethod
    def read(cls, rows: Sequence[dict[str, Any]]) -> list[Any]:
        """The images of the rows."""
        require(rows, ("image",))
        return [row["image"] for row in rows]

    def batch(self, examples: Sequence[Any], generator: torch.Generator) -> Batch:
        """Views [2 B, 1, 8, 8]: a crop of each image, then another of each."""
        images, num = stack(examples, 1, (8, 8)), len(examples)
        views = [
            crop_and_flip(images, row_seeds(num, generator), min_crop=self.config.min_crop)
            for _ in range(2)
        ]
        return {"views": torch.cat(views), "counts": {"examples": float(num)}}

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """Each view is to find the other one of its image."""
        ones, others = self.encoder(batch["views"]).chunk(2)  # [B, d] each
        count = batch["counts"]["examples"]
        return {"loss": nt_xent(ones, others, self.config.temperature, count)}

    @torch.no_grad()
    def encode(self, examples: Sequence[Any]) -> Tensor:
        """One vector an image [N, d]."""
        device = next(self.parameters()).device
        return self.encoder(stack(examples, 1, (8, 8)).to(device))

    def export(self) -> nn.Module:
        """The network."""
        return self.encoder

    def save(self, folder: Path) -> None:
        """The weights."""
        save_file(self.state_dict(), folder / "weights.safetensors")

    @classmethod
    def sample_rows(cls) -> list[dict[str, Any]]:
        """Sixteen images of noise."""
        rng = np.random.default_rng(0)
        return [{"image": rng.integers(0, 255, (8, 8), dtype=np.uint8)} for _ in range(16)]


def trial(*, data: str = "builtin:digits", num_labels: int = 100, tiny: bool = False) -> Trial:
    """Crops against random weights, by a linear classifier on vectors with few labels.

    Args:
        data: images of 8x8 pixels with `label`.
        num_labels: images whose labels are learnt from.
        tiny: a network and a budget small enough for a test.
    """
    # imported here, since training needs none of it
    from pretrial.compare.kit import few_labels
    from pretrial.compare.trial import Arm, Data, Gate, Trial
    from pretrial.train.budget import Budget

    config = Config.tiny() if tiny else Config()
    whole = replace(config, min_crop=1.0)

    def measure(method: Any, found: Data, seed: int) -> dict[str, list[float]]:
        return few_labels.plain_accuracies(
            found, lambda rows: method.encode(method.read(rows)).numpy()
        )

    return Trial(
        question="Do crops that attract each other make vectors that tell digits better than those"
        " of random weights?",
        data=lambda: few_labels.split(data, num_labels, 500),
        arms=(
            Arm("crops", "TwoViews", "method", "two_views", config),
            Arm("random", "random weights", "baseline", "two_views", config, trains=False),
            Arm("whole", "whole images", "control", "two_views", whole),
        ),
        measure=measure,
        metric="accuracy",
        direction="higher",
        useful=0.02,
        gate=Gate(ceiling=1.0),
        packages=few_labels.NEEDED,
        budget=Budget(8 if tiny else 500, "steps"),
    )
