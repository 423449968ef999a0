"""MAE: the same loss as transformers, and hidden patches that stay hidden."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from transformers import ViTMAEForPreTraining

from pretrial.errors import UserError
from pretrial.methods.vision.mae import MAE, Config, examples, patches_of

TINY = Config.tiny()
ROWS = MAE.read(examples())


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
    assert torch.equal(patches_of(images, 2), ViTMAEForPreTraining(config).patchify(images))


def test_sound_is_refused() -> None:
    with pytest.raises(UserError, match="input=image"):
        replace(TINY, input="audio")
