"""Yi's images in the layout of Llava."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoConfig,
    CLIPVisionConfig,
    CLIPVisionModel,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)

from pretrial.convert.export import export_model
from pretrial.data.media.image_tiles import tiles
from pretrial.errors import UserError
from pretrial.methods.text.yi import CARD, Config, Yi
from pretrial.methods.text.yi.network.llava import IMAGE, YiLlava
from pretrial.train.checkpoint import weights_of

Image = pytest.importorskip("PIL.Image")
TEXT = "Return the list number 3"
RECORD: dict[str, Any] = {
    "slug": "yi", "config": {}, "arguments": {"data": "x", "budget": "1steps", "seed": 0},
    "num_examples": 1, "num_held_out": 0, "environment": {}, "commit": "",
}  # fmt: skip


def picture(side: int = 11) -> Any:
    return Image.fromarray(
        np.random.default_rng(0).integers(0, 255, (side, side, 3), dtype=np.uint8)
    )


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3}
    config = CLIPVisionConfig(num_attention_heads=2, image_size=8, patch_size=4, **sizes)
    CLIPVisionModel(config).save_pretrained(folder)
    return folder


def built(clip: Path, norms: bool, side: int = 16) -> Yi:
    torch.manual_seed(1)
    config = replace(Config.tiny(), vision=str(clip), large_image=side, projector_norms=norms)
    method = Yi.build(config, data=Yi.sample_rows()).eval()
    with torch.no_grad():  # norms that do nothing would be easily forgotten
        assert method.vision_tower is not None
        for parameter in method.vision_tower.projector.parameters():
            parameter += 0.3 * torch.randn_like(parameter)
    return method


@torch.no_grad()
def own_logits(method: Yi) -> torch.Tensor:
    """As the method reads an image and a text."""
    network, end = method.language_model.network, method.language_model.end
    ids = torch.tensor([[end, *method.tokenizer(TEXT)["input_ids"]]])
    assert method.vision_tower is not None
    seen = method.vision_tower(tiles(picture(), method.config.large_image, 0))
    vectors = torch.cat([seen, network.get_input_embeddings()(ids)], dim=1)
    return network(inputs_embeds=vectors).logits


@pytest.mark.parametrize("norms", [False, True])
@pytest.mark.parametrize("side", [8, 16])
def test_an_export_gives_the_same_logits(
    clip: Path, tmp_path: Path, norms: bool, side: int
) -> None:
    method = built(clip, norms, side)
    expected = own_logits(method)
    export_model(method, tmp_path / "out", CARD, RECORD)
    kind = YiLlava if norms else LlavaForConditionalGeneration
    model, report = kind.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    processor = LlavaProcessor.from_pretrained(tmp_path / "out")
    inputs = processor(
        images=picture(), text=f"{IMAGE}{method.tokenizer.eos_token}{TEXT}", return_tensors="pt"
    )
    with torch.no_grad():
        found = model.eval()(**inputs).logits
    assert found.shape[:2] == expected.shape[:2]
    known = expected.shape[2]  # the image's token may be new
    torch.testing.assert_close(found[..., :known], expected, atol=1e-4, rtol=1e-4)
    # the method itself is as it was
    assert method.language_model.network.config.vocab_size == len(method.tokenizer)
    assert IMAGE not in method.tokenizer.get_vocab()


@pytest.mark.parametrize("norms", [False, True])
def test_an_export_is_a_checkpoint_to_start_from(clip: Path, tmp_path: Path, norms: bool) -> None:
    method = built(clip, norms)
    export_model(method, tmp_path / "out", CARD, RECORD)
    again = Yi.build(replace(method.config, vision=""), source=tmp_path / "out").eval()
    known = len(method.tokenizer)
    torch.testing.assert_close(
        own_logits(again)[..., :known], own_logits(method), atol=1e-4, rtol=1e-4
    )
    export_model(again, tmp_path / "twice", CARD, RECORD)
    third = Yi.build(replace(method.config, vision=""), source=tmp_path / "twice")
    assert len(third.tokenizer) == len(again.tokenizer) == known + 1
    one, other = weights_of(again), weights_of(third)
    assert one.keys() == other.keys()
    assert all(torch.equal(weight, other[name]) for name, weight in one.items())
    # what is saved keeps its projector, whatever the options say
    again.save(tmp_path / "saved")
    back = Yi.build(replace(method.config, projector_norms=not norms), source=tmp_path / "saved")
    assert back.vision_tower is not None
    assert back.vision_tower.norms == norms


def test_what_is_laid_out_otherwise_is_refused(clip: Path, tmp_path: Path) -> None:
    method = built(clip, norms=False)
    model: Any = method.export()
    model.config.vision_feature_layer = -1
    model.save_pretrained(tmp_path / "last")
    with pytest.raises(UserError, match="reads the patches of layer -2"):
        Yi.build(method.config, source=tmp_path / "last")
    # a projector with norms is not taken for one without
    built(clip, norms=True).export().save_pretrained(tmp_path / "norms")
    with pytest.raises(ValueError, match="yi_llava"):
        AutoConfig.from_pretrained(tmp_path / "norms")
