"""A classifier of images on a `PatchEncoder`: positions, pooling and a head, as fine-tuned."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn
from transformers import (
    IJepaConfig,
    IJepaForImageClassification,
    PreTrainedModel,
    ViTForImageClassification,
)

from pretrial.errors import UserError
from pretrial.models.architectures.classifier import Classifier
from pretrial.models.architectures.patch_encoder import PatchEncoder

Positions = Literal["absolute", "relative", "none"]
Pooling = Literal["mean", "first"]


class PatchClassifier(Classifier):
    """An encoder with new positions and a head; contents are images.

    Args:
        encoder: is copied.
        num_labels: classes.
        pixels: gives images as the encoder reads them, [B, C, H, W]; a generator, given in
            training, is for crops and the like.
        positions: "absolute" embeddings, added to the patches and drawn anew; "relative" in both
            directions, a bias for each head on the scores of all layers; or "none".
        pooling: the head reads the "mean" of the patches, or a class token that stands "first".
        given: absolute positions of the class token and the patches [1, 1 + n, d] to begin with.
    """

    distances: Tensor

    def __init__(
        self,
        encoder: PatchEncoder,
        num_labels: int,
        pixels: Callable[[Sequence[Any], torch.Generator | None], Tensor],
        positions: Positions = "absolute",
        pooling: Pooling = "mean",
        given: Tensor | None = None,
    ) -> None:
        super().__init__()
        if positions == "relative" and pooling == "first":
            raise UserError(
                "a class token has no place in the grid: with relative positions, pool the mean"
            )
        self.encoder = copy.deepcopy(encoder)
        self.positions, self.pooling = positions, pooling
        self._pixels = pixels
        width, num = encoder.width, encoder.num_patches
        std = encoder.config.initializer_range
        first = int(pooling == "first")
        self.class_token = nn.Parameter(torch.randn(1, 1, width) * std) if first else None
        self.embeddings: nn.Parameter | None = None
        self.table: nn.Parameter | None = None
        if positions == "absolute":
            drawn = torch.randn(1, first + num, width) * std
            self.embeddings = nn.Parameter(
                drawn if given is None else given[:, 1 - first :].clone()
            )
        elif positions == "relative":
            distances, rows = relative_places(encoder.grid)
            heads = encoder.config.num_attention_heads
            self.table = nn.Parameter(torch.zeros(rows, heads))
            self.register_buffer("distances", distances, persistent=False)
        self.head = nn.Linear(width, num_labels)
        nn.init.trunc_normal_(self.head.weight, std=std)
        nn.init.zeros_(self.head.bias)
        self.to(next(encoder.parameters()).device)

    def forward(self, pixels: Tensor) -> Tensor:
        """Logits [B, num_labels] of images [B, C, H, W]."""
        states = self.states(pixels)
        return self.head(states[:, 0] if self.pooling == "first" else states.mean(1))

    def states(self, images: Tensor) -> Tensor:
        """The states that are pooled [B, n or 1 + n, d]."""
        tokens = self.encoder.tokens(images)
        if self.class_token is not None:
            tokens = torch.cat((self.class_token.expand(len(tokens), -1, -1), tokens), dim=1)
        if self.embeddings is not None:
            tokens = tokens + self.embeddings
        bias = None
        if self.table is not None:
            bias = self.table[self.distances].permute(2, 0, 1)[None]  # [1, heads, n, n]
        return self.encoder.states(tokens, bias=bias)

    def inputs(
        self, contents: Sequence[Any], generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Pixels [B, C, H, W]."""
        return {"pixels": self._pixels(contents, generator)}

    def num_tokens(self, inputs: dict[str, Tensor]) -> int:
        """Patches of all images."""
        return len(inputs["pixels"]) * self.encoder.num_patches

    def to_transformers(self, names: Sequence[Any]) -> PreTrainedModel:
        """A copy that answers the same: a ViT with a class token, else I-JEPA's, which has none.

        Args:
            names: of the classes.

        Raises:
            UserError: positions are relative, which neither of them has.
        """
        if self.positions == "relative":
            raise UserError(
                "transformers' ViT has no relative positions: fine-tune with positions absolute or"
                " none to export, or use pretrial predict"
            )
        config = copy.deepcopy(self.encoder.config)
        config.num_labels = len(names)
        config.id2label = {number: str(name) for number, name in enumerate(names)}
        config.label2id = {str(name): number for number, name in enumerate(names)}
        tokens = self.encoder.num_patches + int(self.pooling == "first")
        if self.embeddings is None:
            embeddings = self.head.weight.new_zeros(1, tokens, self.encoder.width)
        else:
            embeddings = self.embeddings.detach()
        model: Any
        if self.pooling == "first":
            model = ViTForImageClassification(config)
            vit = self.encoder.to_vit(embeddings, self.class_token)
            model.vit.load_state_dict(vit.state_dict())
        else:
            kept = config.to_diff_dict()
            model = IJepaForImageClassification(
                IJepaConfig(**{k: v for k, v in kept.items() if k not in ("model_type",)})
            )
            model.ijepa.load_state_dict(
                {
                    name.replace("patch_embeddings.", "embeddings.patch_embeddings."): value
                    for name, value in self.encoder.state_dict().items()
                }
                | {"embeddings.position_embeddings": embeddings}
            )
        model.classifier.load_state_dict(self.head.state_dict())
        return model.to(self.head.weight.device).eval()


def relative_places(grid: tuple[int, int]) -> tuple[Tensor, int]:
    """For each pair of places of a grid the row of a table of offsets [n, n], and its rows."""
    height, width = grid
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    rows, columns = rows.flatten(), columns.flatten()
    down = rows[None] - rows[:, None] + height - 1
    right = columns[None] - columns[:, None] + width - 1
    return down * (2 * width - 1) + right, (2 * height - 1) * (2 * width - 1)
