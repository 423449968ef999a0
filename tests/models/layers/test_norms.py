"""Norms that stay in autocast's type."""

import torch
from torch import nn

from pretrial.models.layers.norms import lower_norms


def test_norms_stay_in_autocasts_type_and_keep_their_weights():
    network = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Sequential(nn.LayerNorm(4)))
    states, weight = torch.randn(3, 4), network[1].weight
    exact = network(states)
    lower_norms(network)
    assert torch.equal(network(states), exact)
    assert network[1].weight is weight
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = network(states)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), exact, rtol=0.05, atol=0.05)
