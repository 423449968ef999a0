"""The stand-in for fused attention keeps and computes what the kernel of this machine does."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
import torch.nn.functional as F

from pretrial.train import flops
from pretrial.train.attention import FusedAttention


def measured(mode, num_keys: int, masked: bool):
    """FLOPs of both passes, bytes that the first keeps for the second, shapes of gradients."""
    query = torch.randn(2, 10, 4, 8, requires_grad=True)  # as linear layers give them
    key, value = (torch.randn(2, 12, num_keys, 8, requires_grad=True) for _ in range(2))
    mask = torch.zeros(2, 1, 10, 12) if masked else None
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor.untyped_storage()
        return tensor

    def work() -> None:
        hooks = torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor)
        with hooks, mode:
            heads = (part.transpose(1, 2) for part in (query, key, value))
            found = F.scaled_dot_product_attention(*heads, mask, enable_gqa=num_keys != 4)
            merged = found.transpose(1, 2).reshape(2, 10, 32) ** 2  # keeps what it is given
        merged.sum().backward()

    _, num_flops = flops.count(work)
    assert all(t.grad is not None and t.grad.shape == t.shape for t in (query, key, value))
    return num_flops, sum(storage.nbytes() for storage in kept.values())


@pytest.mark.parametrize("masked", [False, True])
def test_as_the_kernel(masked):
    assert measured(FusedAttention(), 4, masked) == measured(nullcontext(), 4, masked)


def test_shared_keys_and_values_are_kept_once():
    num_flops, kept = measured(FusedAttention(), 2, masked=False)
    assert num_flops == measured(nullcontext(), 2, masked=False)[0]
    query, keys, out, sums = 2 * 4 * 10 * 8, 2 * 2 * 12 * 8, 2 * 4 * 10 * 8, 2 * 4 * 10
    assert kept == 4 * (query + 2 * keys + out + sums)
