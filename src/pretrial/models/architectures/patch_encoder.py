"""A vision Transformer that may read without positions, and whose attention may see few tokens.

Its blocks are those of transformers' ViT, so weights go there and back by name. There is no class
token and there are no position embeddings inside: whoever wants them adds them to the tokens. An
image may be a spectrogram; its patches then have the height of the image and form a row.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import ViTConfig, ViTModel


class PatchEncoder(nn.Module):
    """Patch embedding, blocks and the last norm of a ViT.

    Args:
        vit: gives its layers; they are shared, not copied.

    Attributes:
        config: its sizes, as transformers has them.
    """

    def __init__(self, vit: ViTModel) -> None:
        super().__init__()
        self.config: Any = vit.config
        self.patch_embeddings: Any = vit.embeddings.patch_embeddings
        self.layers = vit.layers
        self.layernorm = vit.layernorm

    @classmethod
    def new(cls, config: ViTConfig) -> PatchEncoder:
        """A randomly initialised encoder of these sizes."""
        return cls(ViTModel(config, add_pooling_layer=False))

    @property
    def grid(self) -> tuple[int, int]:
        """Patches in height and in width."""
        image, patch = self.patch_embeddings.image_size, self.patch_embeddings.patch_size
        return image[0] // patch[0], image[1] // patch[1]

    @property
    def num_patches(self) -> int:
        """Patches of an image."""
        return self.grid[0] * self.grid[1]

    @property
    def width(self) -> int:
        """Size of a state."""
        return int(self.config.hidden_size)

    def tokens(self, pixels: Tensor) -> Tensor:
        """The patches [B, n, d] of images [B, C, H, W], row by row; nothing tells their place."""
        return self.patch_embeddings(pixels)

    def states(self, tokens: Tensor, bias: Tensor | None = None) -> Tensor:
        """The normed states [B, n, d] after all blocks.

        Args:
            tokens: [B, n, d].
            bias: added to the attention scores of all layers [1, heads, n, n].
        """
        for layer in self.layers:
            tokens = block(layer, tokens, bias)
        return self.layernorm(tokens)

    def to_vit(
        self, positions: Tensor | None = None, class_token: Tensor | None = None
    ) -> ViTModel:
        """A copy as transformers' ViT, without a pooler.

        Args:
            positions: embeddings of the class token and the patches [1, 1 + n, d]; freshly drawn
                where there are none, the same each time.
            class_token: [1, 1, d]; likewise.
        """
        with torch.random.fork_rng():
            torch.manual_seed(0)
            vit: Any = ViTModel(plain_config(self.config), add_pooling_layer=False)
        own = self.state_dict()
        renamed = {
            name.replace("patch_embeddings.", "embeddings.patch_embeddings."): value
            for name, value in own.items()
        }
        drawn = vit.state_dict()
        renamed["embeddings.position_embeddings"] = (
            drawn["embeddings.position_embeddings"] if positions is None else positions
        )
        renamed["embeddings.cls_token"] = (
            drawn["embeddings.cls_token"] if class_token is None else class_token
        )
        vit.load_state_dict(renamed)
        return vit.to(next(self.parameters()).device)


def plain_config(config: Any) -> ViTConfig:
    """The sizes of a network with the same encoder, such as a ViT-MAE, as a plain ViT has them."""
    own = ViTConfig().to_dict().keys() - {"model_type", "architectures", "transformers_version"}
    known = config.to_dict()
    return ViTConfig(**{name: known[name] for name in own if name in known})


def glorot_init(module: nn.Module) -> None:
    """Weights drawn anew in the width of each layer, as MAE's and the first ViT's are.

    transformers draws all with a deviation of 0.02, which suits a width of 768; at 64 states are so
    small next to fixed positions that nothing else is learned for long.

    Args:
        module: its linear layers and convolutions of patches are changed.
    """
    for part in module.modules():
        if isinstance(part, nn.Linear | nn.Conv2d):
            nn.init.xavier_uniform_(part.weight.data.flatten(1))
            if part.bias is not None:
                nn.init.zeros_(part.bias)


def block(
    layer: Any,
    states: Tensor,
    bias: Tensor | None = None,
    select: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """A pre-norm ViT block.

    Args:
        layer: of transformers' ViT.
        states: [B, n, d].
        bias: added to the attention scores [1, heads, n, m].
        select: of the normed states [B, n, d] those that give keys and values [B, m, d], so that
            others are not masked but left out and the work is n * m; None takes all.
    """
    attention = layer.attention
    normed = layer.layernorm_before(states)  # [B, n, d]
    source = normed if select is None else select(normed)  # [B, m, d]
    seen = scaled_dot_product_attention(
        _heads(attention.q_proj(normed), attention),
        _heads(attention.k_proj(source), attention),
        _heads(attention.v_proj(source), attention),
        attn_mask=bias,
        dropout_p=attention.attention_dropout if layer.training else 0.0,
        scale=attention.scaling,
    )  # [B, heads, n, d / heads]
    seen = seen.transpose(1, 2).flatten(2)
    states = states + layer.dropout(attention.o_proj(seen))
    return states + layer.dropout(layer.mlp(layer.layernorm_after(states)))


def _heads(states: Tensor, attention: Any) -> Tensor:
    """[B, n, d] as [B, heads, n, d / heads]."""
    return states.unflatten(2, (attention.num_attention_heads, -1)).transpose(1, 2)
