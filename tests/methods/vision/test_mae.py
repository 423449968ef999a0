"""MAE: the same loss as transformers, and hidden patches that stay hidden."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import ViTMAEForPreTraining

from pretrial.methods.vision.mae import MAE, Config, patchify

TINY = Config.tiny()
ROWS = MAE.read(MAE.sample_rows())


@pytest.mark.parametrize("normalised", [False, True])
def test_loss_is_that_of_transformers(normalised: bool) -> None:
    torch.manual_seed(0)
    method = MAE.build(replace(TINY, normalised=normalised), data=ROWS).eval()
    theirs = ViTMAEForPreTraining(method.config.decoder_config()).eval()
    own = {
        f"vit.{name}".replace("vit.patch_embeddings", "vit.embeddings.patch_embeddings"): value
        for name, value in method.encoder.state_dict().items()
    }
    own |= {f"decoder.{name}": value for name, value in method.decoder.state_dict().items()}
    own |= {
        "vit.embeddings.cls_token": method.class_token,
        "vit.embeddings.position_embeddings": method.places,
    }
    theirs.load_state_dict(own)
    batch = method.batch(ROWS, torch.Generator().manual_seed(0))
    noise = batch["order"].argsort(1).float()  # what is seen has the least
    with torch.no_grad():
        expected = theirs(batch["pixels"], noise=noise)
        found = method.losses(batch)["loss"]
        logits = method.reconstruct(batch["pixels"], batch["order"])
    torch.testing.assert_close(logits, expected.logits, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(found, expected.loss, atol=1e-5, rtol=1e-5)


def test_hidden_patches_do_not_change_what_is_painted() -> None:
    torch.manual_seed(0)
    method = MAE.build(TINY, data=ROWS).eval()
    batch = method.batch(ROWS[:1], torch.Generator().manual_seed(0))
    hidden = int(batch["order"][0, -1])
    row, column = divmod(hidden, 4)
    changed = batch["pixels"].clone()
    changed[0, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2] += 0.5
    with torch.no_grad():
        one, other = (method.reconstruct(x, batch["order"]) for x in (batch["pixels"], changed))
    assert torch.equal(one, other)
    assert one.std() > 0


def test_patches_have_the_order_of_transformers() -> None:
    config = replace(TINY, num_channels=3).decoder_config()
    images = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(patchify(images, 2, 2), ViTMAEForPreTraining(config).patchify(images))


def test_sound_is_painted_group_by_group(tmp_path: Path) -> None:
    config = replace(
        TINY, input="audio", sampling_rate=4000, seconds=0.2, num_mels=8, frames=2, hidden_ratio=0.7
    )
    rng = np.random.default_rng(0)
    rows = MAE.read(
        [
            {"audio": {"array": rng.normal(size=900), "sampling_rate": 4000}, "label": number % 2}
            for number in range(6)
        ]
    )
    torch.manual_seed(0)
    method = MAE.build(config, data=rows).eval()
    batch = method.batch(rows, torch.Generator().manual_seed(0))
    assert batch["pixels"].shape == (6, 1, 8, 18)
    targets = patchify(batch["pixels"], 8, 2)
    assert targets.shape == (6, 9, 16)
    torch.testing.assert_close(targets[1, 3], batch["pixels"][1, 0, :, 6:8].flatten())
    with torch.no_grad():
        painted = method.reconstruct(batch["pixels"], batch["order"])
        hidden = torch.zeros(6, 9).scatter_(1, batch["order"][:, config.num_visible :], 1.0).bool()
        assert hidden.sum(1).tolist() == [6] * 6
        expected = (painted - targets).square().mean(-1)[hidden].mean()
        torch.testing.assert_close(method.losses(batch)["loss"], expected)
    # places differ, though the network begins with equal weights for all of them
    assert not torch.allclose(method.places[0, 1], method.places[0, 2])
    method.save(tmp_path)
    again = MAE.build(config, source=tmp_path, data=rows).eval()
    torch.testing.assert_close(again.encode(rows), method.encode(rows))
