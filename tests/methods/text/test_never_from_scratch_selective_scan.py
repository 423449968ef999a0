"""Mamba's layer: the same as transformers', and blind to what is to come."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import softplus
from transformers import MambaConfig
from transformers.models.mamba.modeling_mamba import MambaMixer

from pretrial.methods.text.never_from_scratch.network.selective_scan import SelectiveLayer

WIDTH, STATES, LENGTH = 32, 6, 11


def test_the_layer_is_that_of_transformers() -> None:
    torch.manual_seed(0)
    config = MambaConfig(hidden_size=WIDTH, state_size=STATES, num_hidden_layers=1)
    theirs = MambaMixer(config, 0)
    ours = SelectiveLayer(WIDTH, STATES)
    ours.load_state_dict(theirs.state_dict())
    states = torch.randn(3, LENGTH, WIDTH)
    found, expected = ours(states), theirs(states)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    found.square().sum().backward()
    expected.square().sum().backward()
    gradients = {name: each.grad for name, each in theirs.named_parameters()}
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, gradients[name], rtol=1e-4, atol=1e-5)


def test_a_state_sees_the_past_alone() -> None:
    torch.manual_seed(0)
    layer = SelectiveLayer(WIDTH, STATES)
    states = torch.randn(2, LENGTH, WIDTH)
    late = states.clone()
    late[:, 7:] += 1.0
    before, after = layer(states), layer(late)
    torch.testing.assert_close(before[:, :7], after[:, :7])
    assert (before[:, 7] - after[:, 7]).abs().max() > 1e-3


@pytest.mark.parametrize("structured", [True, False])
def test_starting_points(structured: bool) -> None:
    torch.manual_seed(0)
    layer = SelectiveLayer(WIDTH, STATES, structured=structured, dt_min=0.01, dt_max=0.05)
    steps = softplus(layer.dt_proj.bias.detach())
    assert 0.0099 < float(steps.min()) < float(steps.max()) < 0.0501
    begins = layer.A_log.exp()
    wanted = torch.arange(1.0, STATES + 1).expand_as(begins)
    assert torch.allclose(begins, wanted) == structured
    assert layer.conv1d.in_channels == 2 * WIDTH
    assert layer.dt_proj.in_features == math.ceil(WIDTH / 16)


def test_weights_in_half_precision_keep_states_in_full() -> None:
    layer = SelectiveLayer(WIDTH, STATES).bfloat16()
    found = layer(torch.randn(2, LENGTH, WIDTH, dtype=torch.bfloat16))
    assert found.dtype == torch.bfloat16
    assert torch.isfinite(found).all()
