"""Vision Transformers from elsewhere: the layouts of transformers and of timm."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from pretrial.checkpoints.keys import load_pretrained, load_strict, read_weights, rename
from pretrial.errors import UserError

if TYPE_CHECKING:
    from transformers import ViTModel

# What a checkpoint may hold besides an encoder: heads, poolers and the decoder of a MAE.
_BESIDE = ("pooler.", "classifier.", "decoder.", "lm_head.", "embeddings.mask_token", "vit.pooler.")
_TIMM = (
    (r"^module\.", ""),
    (r"^(head|fc_norm|head_dist|pos_head|jigsaw|decoder)\b.*", ""),
    (r"^(mask_token|dist_token)$", ""),
    (r"^cls_token$", "embeddings.cls_token"),
    (r"^pos_embed$", "embeddings.position_embeddings"),
    (r"^patch_embed\.proj\.", "embeddings.patch_embeddings.projection."),
    (r"^blocks\.", "layers."),
    (r"^norm\.", "layernorm."),
    (r"\.norm1\.", ".layernorm_before."),
    (r"\.norm2\.", ".layernorm_after."),
    (r"\.attn\.proj\.", ".attention.o_proj."),
)
_HEAD_SIZE = 64  # of every ViT that timm and DeiT have released; the weights do not tell it


def load_vit(source: str | Path) -> ViTModel:
    """A `ViTModel` without pooler.

    Args:
        source: name or folder of a ViT in the layout of transformers (`ViTModel`,
            `ViTForImageClassification`, `ViTMAEForPreTraining`), or a file, or folder without
            config.json, of weights in the layout of timm and DeiT.

    Raises:
        UserError: there is none, or it is of another architecture.
    """
    from transformers import ViTModel

    path = Path(source)
    if path.is_file() or (path.is_dir() and not (path / "config.json").is_file()):
        return _from_timm(read_weights(path), path)
    model: Any = load_pretrained(ViTModel, source, beside=_BESIDE, add_pooling_layer=False)
    return model


def _from_timm(state: dict[str, Any], path: Path) -> ViTModel:
    from transformers import ViTConfig, ViTModel

    state = state.get("model", state)
    if "patch_embed.proj.weight" not in {key.removeprefix("module.") for key in state}:
        raise UserError(
            f"{path} is no ViT: it has neither a config.json of transformers nor"
            " patch_embed.proj.weight as timm's have"
        )
    weights: dict[str, Tensor] = {}
    for name, value in rename(state, _TIMM).items():
        if ".attn.qkv." in name:
            for part, third in zip("qkv", value.chunk(3), strict=True):
                weights[name.replace(".attn.qkv.", f".attention.{part}_proj.")] = third
        else:
            weights[name] = value
    if "embeddings.position_embeddings" not in weights:
        raise UserError(f"{path} has no pos_embed, which tells the size of the images: add it")
    patch = weights["embeddings.patch_embeddings.projection.weight"]  # [d, C, p, p]
    width, channels, side = patch.shape[:3]
    grid = int((weights["embeddings.position_embeddings"].shape[1] - 1) ** 0.5)
    layers = {name.split(".")[1] for name in weights if name.startswith("layers.")}
    config = ViTConfig(
        hidden_size=width,
        num_hidden_layers=len(layers),
        num_attention_heads=max(1, width // _HEAD_SIZE),
        intermediate_size=weights["layers.0.mlp.fc1.weight"].shape[0],
        image_size=grid * side,
        patch_size=side,
        num_channels=channels,
        layer_norm_eps=1e-6,
    )
    model = ViTModel(config, add_pooling_layer=False)
    load_strict(model, weights, path)
    return model
