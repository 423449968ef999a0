"""Low-rank updates: nothing at first, trained alone, merged exactly."""

from __future__ import annotations

import torch
from torch import nn

from pretrial.methods.text.return_of_encoder.network.low_rank import (
    LowRank,
    add_low_rank,
    merge_low_rank,
)


def test_updates_begin_as_nothing_and_merge_exactly():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 6), nn.Sequential(nn.GELU(), nn.Linear(6, 3)))
    rows, before = torch.randn(5, 4), None
    before = network(rows)
    names = list(network.state_dict())
    add_low_rank(network, rank=2, alpha=4.0)
    assert torch.equal(network(rows), before)
    trained = [name for name, each in network.named_parameters() if each.requires_grad]
    assert trained == ["0.down", "0.up", "1.1.down", "1.1.up"]
    network(rows).square().sum().backward()
    for part in network.modules():
        if isinstance(part, LowRank):
            assert part.up.grad.any()
            nn.init.normal_(part.up)
    updated = network(rows)
    assert not torch.allclose(updated, before)
    merge_low_rank(network)
    assert list(network.state_dict()) == names
    torch.testing.assert_close(network(rows), updated)


def test_layers_are_left_alone():
    network = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 2))
    add_low_rank(network, rank=1, alpha=1.0, leave=(network[1],))
    assert [type(part) for part in network] == [LowRank, nn.Linear]
    assert not network[1].weight.requires_grad
