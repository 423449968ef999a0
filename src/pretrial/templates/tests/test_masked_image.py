"""What makes MaskedImage what it is; the contract is held by `pretrial check masked_image`."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from pretrial.discover import load

LOADED = load("masked_image")
IMAGES = LOADED.method.read(LOADED.method.sample_rows())


def made(**changes: Any) -> tuple[Any, dict[str, Any]]:
    """A method with random weights, and a batch."""
    torch.manual_seed(0)
    method = LOADED.method.build(replace(LOADED.config.tiny(), **changes), data=IMAGES).eval()
    return method, method.batch(IMAGES, torch.Generator().manual_seed(0))


def test_half_of_each_image_is_hidden_and_each_hides_its_own() -> None:
    _, batch = made(hidden_ratio=0.5)
    assert batch["hidden"].sum(1).tolist() == [8] * len(IMAGES)
    assert len({tuple(row) for row in batch["hidden"].tolist()}) > len(IMAGES) // 2


def test_what_is_hidden_is_not_seen() -> None:
    method, batch = made()
    row, column = divmod(int(batch["hidden"][0].nonzero()[0]), 4)
    changed = batch["pixels"].clone()
    changed[0, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2] += 0.5
    states = []
    method.painter.register_forward_hook(lambda _, inputs, __: states.append(inputs[0]))
    for pixels in (batch["pixels"], changed):
        method.losses(batch | {"pixels": pixels})
    assert torch.equal(*states)


def test_the_loss_is_that_of_the_patches_that_count() -> None:
    method, batch = made()
    patches = LOADED.module.patches_of(batch["pixels"], 2, 2)
    torch.nn.init.zeros_(method.painter.weight)
    torch.nn.init.zeros_(method.painter.bias)
    found = method.losses(batch)["loss"]
    torch.testing.assert_close(found, patches[batch["hidden"]].abs().mean())
    whole, batch = made(paint_all=True)
    whole.painter.load_state_dict(method.painter.state_dict())
    torch.testing.assert_close(whole.losses(batch)["loss"], patches.abs().mean())
