"""The vision-language model in the layout of Llava: written for transformers, and read from it.

A projector without norms is Llava's own, so `LlavaForConditionalGeneration` loads what is exported.
One with norms, as section 7.2 has it, is in no layout of transformers: `YiLlava` loads that.
"""

from __future__ import annotations

import copy
import importlib.util
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)

from pretrial.checkpoints.keys import load_config, load_pretrained, load_tokenizer
from pretrial.checkpoints.pretrained import load_generator
from pretrial.data.media.image_tiles import MEAN, STD
from pretrial.errors import UserError, missing_package
from pretrial.methods.text.yi.network.vision import LAYER, VisionTower
from pretrial.models.layers.vision import projector

#: Stands in a text for each patch of an image.
IMAGE = "<image>"


class YiLlavaConfig(LlavaConfig):
    """A type of its own, so that nobody loads it as a Llava whose norms are left out."""

    model_type = "yi_llava"


class YiLlava(LlavaForConditionalGeneration):
    """A Llava whose projector has norms."""

    config_class = YiLlavaConfig

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        widths = config.vision_config.hidden_size, config.text_config.hidden_size
        self.model.multi_modal_projector = projector(*widths, norms=True)


_PLAIN = (LlavaForConditionalGeneration, LlavaConfig)


def to_llava(network: Any, tower: VisionTower, size: int, tokenizer: Any) -> Any:
    """A copy of both models as one.

    Args:
        network: the language model.
        tower: the vision model and its projector.
        size: side in pixels of the images; positions are interpolated to it once and for all.
        tokenizer: with `IMAGE`, see `with_image_token`.
    """
    network, vision = copy.deepcopy(network), _at_size(tower.vision, size)
    image = tokenizer.convert_tokens_to_ids(IMAGE)
    if image >= network.config.vocab_size:
        network.resize_token_embeddings(image + 1, mean_resizing=False)
    kind, config_kind = (YiLlava, YiLlavaConfig) if tower.norms else _PLAIN
    config = config_kind(
        vision_config=vision.config,
        text_config=network.config,
        image_token_index=image,
        image_seq_length=(size // vision.config.patch_size) ** 2,
        vision_feature_layer=LAYER,
        tie_word_embeddings=network.config.tie_word_embeddings,
    )
    with torch.device("meta"):
        made = kind(config)
    inner = made.model
    inner.vision_tower, inner.language_model, made.lm_head = vision, network.model, network.lm_head
    linear = copy.deepcopy(tower.projector)
    if tower.norms:
        inner.multi_modal_projector = linear
    else:
        inner.multi_modal_projector.linear_1 = linear[0]
        inner.multi_modal_projector.linear_2 = linear[-1]
    made.generation_config = network.generation_config
    return made.eval()


def with_image_token(tokenizer: Any) -> Any:
    """A copy of the tokenizer that knows `IMAGE`; itself if it does already."""
    if IMAGE in tokenizer.get_vocab():
        return tokenizer
    tokenizer = copy.deepcopy(tokenizer)
    tokenizer.add_special_tokens({"additional_special_tokens": [IMAGE]}, False)
    return tokenizer


def llava_processor(tower: VisionTower, size: int, tokenizer: Any) -> LlavaProcessor:
    """What makes the inputs of `to_llava`'s model of images and texts with `IMAGE` in them.

    Raises:
        UserError: Pillow, which it needs, is not installed.
    """
    if importlib.util.find_spec("PIL") is None:
        raise missing_package("pillow", "vision")
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    square = {"height": size, "width": size}
    images = CLIPImageProcessorPil(
        size=square, do_center_crop=False, crop_size=square, image_mean=MEAN, image_std=STD
    )
    return LlavaProcessor(
        images,
        with_image_token(tokenizer),
        patch_size=tower.vision.config.patch_size,
        vision_feature_select_strategy="default",
        image_token=IMAGE,
        num_additional_image_tokens=1,  # CLIP's class token, which is dropped
    )


def read_checkpoint(source: str | Path) -> tuple[Any, Any, VisionTower | None]:
    """Language model, tokenizer, and tower if the checkpoint is a Llava.

    Raises:
        UserError: nothing is there, or it is laid out otherwise.
    """
    path = Path(source)
    config = None if path.suffix == ".gguf" else _llava_config(source)
    if config is None:
        return (*load_generator(source), None)
    read = (config.vision_feature_layer, config.vision_feature_select_strategy)
    if read != (LAYER, "default") or config.vision_config.model_type != "clip_vision_model":
        raise UserError(
            f"{source} reads layer {read[0]} of a {config.vision_config.model_type}: give a Llava"
            f" that reads the patches of layer {LAYER} of CLIP"
        )
    norms = isinstance(config, YiLlavaConfig)
    model: Any = load_pretrained(YiLlava if norms else _PLAIN[0], source)
    with torch.device("meta"):
        network = AutoModelForCausalLM.from_config(model.config.text_config)
        tower = VisionTower(model.model.vision_tower, network.config.hidden_size, norms)
    network.model, network.lm_head = model.model.language_model, model.lm_head
    network.generation_config = model.generation_config
    found = model.model.multi_modal_projector
    if norms:
        tower.projector = found
    else:
        tower.projector = nn.Sequential(found.linear_1, nn.GELU(), found.linear_2)
    return network.eval(), load_tokenizer(source), tower


def _llava_config(source: str | Path) -> Any:
    """The config of a Llava, ours or transformers'; None of anything else."""
    from transformers import PreTrainedConfig

    try:
        found = PreTrainedConfig.get_config_dict(str(source))[0].get("model_type")
    except (OSError, ValueError):  # `load_generator` says what is wrong
        return None
    if found == YiLlavaConfig.model_type:
        return YiLlavaConfig.from_pretrained(str(source))
    return load_config(source) if found == LlavaConfig.model_type else None


def _at_size(vision: Any, size: int) -> Any:
    """A copy of a CLIP model for images of another size, its positions interpolated."""
    config = copy.deepcopy(vision.config)
    config.image_size = size
    state = dict(vision.state_dict())
    (name,) = (key for key in state if key.endswith("position_embedding.weight"))
    embeddings = getattr(vision, "vision_model", vision).embeddings
    number = (size // config.patch_size) ** 2 + 1
    shaped = state[name].new_empty(1, number, config.hidden_size)
    state[name] = embeddings.interpolate_pos_encoding(shaped, size, size)[0].detach()
    made = type(vision)(config)
    made.load_state_dict(state)
    return made
