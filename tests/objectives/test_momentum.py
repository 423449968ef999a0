"""The momentum encoder follows, and is not trained."""

from __future__ import annotations

import copy

import torch
from torch import nn

from pretrial.objectives.momentum import Momentum


def test_weights_are_the_closed_form_average_after_three_steps():
    network = nn.Linear(3, 2)
    seen = [network.weight.detach().clone()]
    momentum = Momentum(network, decay=0.9)
    for _ in range(3):
        with torch.no_grad():
            network.weight.add_(torch.randn(2, 3))
        seen.append(network.weight.detach().clone())
        momentum.update()
    wanted = 0.9**3 * seen[0] + 0.1 * (0.9**2 * seen[1] + 0.9 * seen[2] + seen[3])
    torch.testing.assert_close(momentum.average.weight, wanted)


def test_it_is_a_part_with_state_but_nothing_to_train():
    network = nn.Linear(3, 2)
    momentum = Momentum(network)
    assert not any(parameter.requires_grad for parameter in momentum.parameters())
    assert set(momentum.state_dict()) == {"average.weight", "average.bias"}
    assert not momentum(torch.ones(1, 3, requires_grad=True)).requires_grad


def test_a_deep_copy_follows_the_copied_network():
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.network = nn.Linear(2, 2)
            self.momentum = Momentum(self.network, decay=0.5)

    both = Both()
    other = copy.deepcopy(both)
    with torch.no_grad():
        other.network.weight.zero_()
    before = both.momentum.average.weight.clone()
    both.momentum.update()
    other.momentum.update()
    assert torch.equal(both.momentum.average.weight, before)
    torch.testing.assert_close(other.momentum.average.weight, before / 2)


def test_restart_and_buffers():
    network = nn.BatchNorm1d(2)
    momentum = Momentum(network, decay=0.9)
    network(torch.randn(5, 2))
    with torch.no_grad():
        network.weight.fill_(3.0)
    momentum.restart()
    assert torch.equal(momentum.average.weight, network.weight)
    assert torch.equal(momentum.average.running_mean, network.running_mean)
