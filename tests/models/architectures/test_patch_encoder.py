"""The encoder of patches: its way to transformers and back."""

from __future__ import annotations

import pytest
import torch
from transformers import ViTConfig, ViTModel

from pretrial.models.architectures.patch_encoder import PatchEncoder


@pytest.fixture(scope="module")
def encoder() -> PatchEncoder:
    torch.manual_seed(0)
    config = ViTConfig(
        hidden_size=16,
        num_hidden_layers=3,
        num_attention_heads=2,
        intermediate_size=32,
        image_size=8,
        patch_size=2,
        num_channels=1,
        initializer_range=0.2,  # so that attention is far from uniform
    )
    return PatchEncoder.new(config).eval()


def test_all_tokens_with_positions_are_those_of_transformers(encoder: PatchEncoder) -> None:
    vit: ViTModel = encoder.to_vit().eval()
    pixels = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    embeddings = vit.embeddings
    with torch.no_grad():
        first = embeddings.cls_token.expand(2, -1, -1)
        tokens = torch.cat((first, encoder.tokens(pixels)), 1) + embeddings.position_embeddings
        expected = vit(pixels).last_hidden_state
        torch.testing.assert_close(encoder.states(tokens), expected, atol=1e-5, rtol=1e-5)
    again = encoder.to_vit()
    assert torch.equal(again.embeddings.position_embeddings, embeddings.position_embeddings)
    back = PatchEncoder(vit)
    assert all(
        torch.equal(value, back.state_dict()[n]) for n, value in encoder.state_dict().items()
    )
