"""The classifier of images: its positions and pooling, and what transformers makes of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import ViTConfig, ViTForImageClassification

from pretrial.errors import UserError
from pretrial.models.architectures.patch_classifier import PatchClassifier, relative_places
from pretrial.models.architectures.patch_encoder import PatchEncoder
from pretrial.models.layers.positions import sine_positions


def encoder() -> PatchEncoder:
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    return PatchEncoder.new(
        ViTConfig(
            **sizes,
            intermediate_size=32,
            image_size=8,
            patch_size=2,
            num_channels=1,
            initializer_range=0.2,
        )
    ).eval()


def stacked(images: Any, generator: torch.Generator | None) -> torch.Tensor:
    return torch.stack(list(images))


def made(**options: Any) -> PatchClassifier:
    return PatchClassifier(encoder(), 3, stacked, **options).eval()


PIXELS = torch.randn(4, 1, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("pooling", ["mean", "first"])
@pytest.mark.parametrize("positions", ["absolute", "none"])
def test_transformers_answers_the_same(positions: Any, pooling: Any) -> None:
    classifier = made(positions=positions, pooling=pooling)
    model = classifier.to_transformers(["a", "b", "c"])
    if pooling == "first":
        assert isinstance(model, ViTForImageClassification)
    with torch.no_grad():
        torch.testing.assert_close(model(PIXELS).logits, classifier(PIXELS), atol=1e-5, rtol=1e-5)
    assert model.config.id2label == {0: "a", 1: "b", 2: "c"}


def test_relative_positions() -> None:
    classifier = made(positions="relative")
    with torch.no_grad():
        before = classifier(PIXELS)
        torch.testing.assert_close(before, made(positions="none")(PIXELS))  # begins with no bias
        classifier.table.normal_()  # type: ignore[union-attr]
        assert not torch.allclose(classifier(PIXELS), before)
    with pytest.raises(UserError, match="absolute or none"):
        classifier.to_transformers(["a", "b", "c"])
    with pytest.raises(UserError, match="pool the mean"):
        made(positions="relative", pooling="first")


def test_relative_places_tell_offsets_apart() -> None:
    places, rows = relative_places((2, 3))
    assert rows == 3 * 5
    assert places.shape == (6, 6)
    assert len(set(places.diagonal().tolist())) == 1
    assert places[0, 1] == places[4, 5]  # one to the right
    assert places[0, 3] == places[2, 5]  # one down
    assert places[0, 1] != places[1, 0]
    assert sorted(set(places.flatten().tolist())) == list(range(rows))


def test_given_positions_are_a_copy() -> None:
    given = sine_positions((4, 4), 16)
    for pooling, expected in (("mean", given[:, 1:]), ("first", given)):
        classifier = made(pooling=pooling, given=given)
        assert torch.equal(classifier.embeddings, expected)  # type: ignore[arg-type]
        assert classifier.embeddings.data_ptr() != expected.data_ptr()  # type: ignore[union-attr]


def test_losses_are_sums_over_counts() -> None:
    classifier = made()
    batch = classifier.batch([(PIXELS[i], i % 3) for i in range(4)], torch.Generator())
    losses = classifier.losses(batch)
    logits = classifier.logits(list(PIXELS), batch_size=3)
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor([0, 1, 2, 0]))
    assert float(losses["loss"].detach()) == pytest.approx(float(expected), rel=1e-5)


def test_sine_positions_are_those_of_mae() -> None:
    from transformers.models.vit_mae.modeling_vit_mae import build_2d_sinusoidal_position_embedding

    theirs = build_2d_sinusoidal_position_embedding(3, 5, 16, cls_token=True)
    halves = torch.cat((theirs[:, 8:], theirs[:, :8]), 1)  # MAE has the column first
    torch.testing.assert_close(sine_positions((3, 5), 16)[0], halves, atol=1e-6, rtol=1e-5)
