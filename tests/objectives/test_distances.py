"""Distances of weights."""

import copy

import pytest
import torch
from torch import nn

from pretrial.objectives.distances import squared_distance


def test_weights_are_compared_one_by_one():
    module = nn.Linear(2, 1)
    origin = copy.deepcopy(module)
    assert float(squared_distance(module, origin).detach()) == 0
    with torch.no_grad():
        module.weight += torch.tensor([[3.0, 0.0]])
        module.bias += 4.0
    distance = squared_distance(module, origin)
    assert float(distance.detach()) == pytest.approx(25.0)
    distance.backward()
    assert module.bias.grad.tolist() == [8.0]
    assert origin.bias.grad is None
