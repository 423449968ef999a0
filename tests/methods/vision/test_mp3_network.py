"""What MP3 adds to the encoder of patches: attention to a context."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import ViTConfig

from pretrial.methods.vision.mp3.network import context_states as attended
from pretrial.models.architectures import patch_encoder
from pretrial.models.architectures.patch_encoder import PatchEncoder

CONTEXT = torch.tensor([[0, 3, 5, 9, 14], [1, 2, 8, 10, 15]])


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


@pytest.fixture
def tokens() -> torch.Tensor:
    return torch.randn(2, 16, 16, generator=torch.Generator().manual_seed(1))


def test_permuted_tokens_give_permuted_states(encoder: PatchEncoder, tokens: torch.Tensor) -> None:
    order = torch.randperm(16, generator=torch.Generator().manual_seed(2))
    moved = order.argsort()[CONTEXT]  # where the tokens of the context stand now
    with torch.no_grad():
        one, other = (
            attended(encoder, tokens, CONTEXT),
            attended(encoder, tokens[:, order], moved),
        )
    torch.testing.assert_close(other, one[:, order], atol=1e-5, rtol=1e-5)


def test_a_token_outside_of_the_context_is_seen_by_none(
    encoder: PatchEncoder, tokens: torch.Tensor
) -> None:
    changed = tokens.clone()
    changed[0, 4] += 1.0  # 4 is no context
    with torch.no_grad():
        one, other = (
            attended(encoder, tokens, CONTEXT),
            attended(encoder, changed, CONTEXT),
        )
    moved = (one != other).any(-1)
    assert moved[0].nonzero().flatten().tolist() == [4]
    assert not moved[1].any()


def test_a_context_for_each_layer_leaks(encoder: PatchEncoder, tokens: torch.Tensor) -> None:
    changed = tokens.clone()
    changed[0, 4] += 1.0
    contexts = [CONTEXT, CONTEXT + torch.tensor([[1] * 5, [0] * 5]), CONTEXT]  # 4 is in the second
    with torch.no_grad():
        moved = attended(encoder, tokens, contexts) != attended(encoder, changed, contexts)
    assert moved[0].any(-1).sum() > 10


def test_context_attention_is_attention_with_the_rest_masked(
    encoder: PatchEncoder, tokens: torch.Tensor
) -> None:
    mask = torch.full((2, 1, 1, 16), float("-inf"))
    mask.scatter_(3, CONTEXT[:, None, None], 0.0)
    states = tokens
    for layer in encoder.layers:
        states = layer(states, mask)
    with torch.no_grad():
        torch.testing.assert_close(attended(encoder, tokens, CONTEXT), encoder.layernorm(states))


def test_scores_are_of_queries_times_context(
    encoder: PatchEncoder, tokens: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = []

    def watched(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **kwargs: object):  # type: ignore[no-untyped-def]
        shapes.append((query.shape[2], key.shape[2], value.shape[2]))
        return scaled_dot_product_attention(query, key, value, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(patch_encoder, "scaled_dot_product_attention", watched)
    attended(encoder, tokens, CONTEXT)
    assert shapes == [(16, 5, 5)] * 3
