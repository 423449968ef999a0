"""Vision Transformers from elsewhere and for elsewhere: layouts of transformers and of timm."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from pretrial.checkpoints.keys import load_pretrained, load_strict, read_weights, rename
from pretrial.data.media.image import GREY
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


def reading_colours(model: Any, processor: Any) -> tuple[Any, Any]:
    """A copy of a model of grey values, and of its preparation, that takes pictures in colour.

    What prepares images in transformers' pipelines makes three channels of every picture, so a
    model of one could not be used there. The grey value is a weighted sum of the colours, and so
    is what a patch gives: the copy answers as the model does to the picture in grey.

    Args:
        model: of transformers, whose patches are of one channel.
        processor: an image processor with one mean.

    Returns:
        Both; as they are where the model reads something else than grey pictures.
    """
    config, means = getattr(model, "config", None), getattr(processor, "image_mean", None)
    if getattr(config, "num_channels", 0) != 1 or means is None or len(means) != 1:
        return model, processor
    model, processor = copy.deepcopy(model), copy.deepcopy(processor)
    for part in model.modules():
        patches = getattr(part, "projection", None)
        if isinstance(patches, nn.Conv2d) and patches.in_channels == 1:
            shares = patches.weight.new_tensor(GREY).view(1, 3, 1, 1)
            patches.weight = nn.Parameter(patches.weight.data * shares)  # [d, 3, p, p]
            patches.in_channels = part.num_channels = 3
    model.config.num_channels = 3
    processor.image_mean, processor.image_std = [*means] * 3, [*processor.image_std] * 3
    processor.do_convert_rgb = True
    return model, processor


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
