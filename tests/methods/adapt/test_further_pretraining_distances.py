"""Distances of features and of weights."""

import copy

import pytest
import torch
from torch import nn

from pretrial.methods.adapt.further_pretraining import feature_loss, squared_distance


def test_features_are_compared_dimension_by_dimension_and_the_teacher_is_left_alone():
    student = torch.tensor([[1.0, 2.0], [0.0, 1.0]], requires_grad=True)
    teacher = torch.tensor([[0.0, 0.0], [0.0, 3.0]], requires_grad=True)
    loss = feature_loss(student, teacher, 2.0)
    assert float(loss.detach()) == pytest.approx((1 + 4 + 0 + 4) / 2)
    loss.backward()
    assert teacher.grad is None
    assert student.grad.tolist() == [[1.0, 2.0], [0.0, -2.0]]


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
