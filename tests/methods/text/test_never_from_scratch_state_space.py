"""State space layers: convolution and recurrence, directions, HiPPO, the public layout."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from pretrial.checkpoints.keys import load_strict
from pretrial.errors import UserError
from pretrial.methods.text.never_from_scratch.network.state_space import (
    DLRKernel,
    S4DKernel,
    S4Kernel,
    StateSpaceLayer,
    convolve,
    hippo_legs,
)

WIDTH, STATES, LENGTH = 3, 8, 25
KERNELS = [S4DKernel, DLRKernel, S4Kernel]


def signal(size: int = 2) -> torch.Tensor:
    return torch.randn(size, WIDTH, LENGTH)


def recurrence(step, gain, out, u):
    """y_l = Re out x_l with x_l = step x_(l-1) + gain u_l, for steps [H, N] and u [B, H, L]."""
    state = torch.zeros(u.shape[0], *step.shape, dtype=step.dtype)
    answers = []
    for place in range(u.shape[-1]):
        state = step * state + gain * u[..., place, None]
        answers.append((out * state).sum(-1).real)
    return torch.stack(answers, -1)


# -- kernels --------------------------------------------------------------------------------------


@pytest.mark.parametrize("structured", [True, False])
def test_the_convolution_of_s4d_is_its_recurrence(structured) -> None:
    kernel = S4DKernel(WIDTH, STATES, structured=structured, dt_min=0.01)
    u = signal()
    rates = torch.complex(-kernel.log_A_real.exp(), kernel.A_imag)
    step = (rates * kernel.log_dt.exp()[:, None]).exp()
    gain = (step - 1) / rates
    out = 2 * torch.view_as_complex(kernel.C)
    torch.testing.assert_close(
        convolve(u, kernel(LENGTH)), recurrence(step, gain, out, u), rtol=1e-4, atol=1e-4
    )


def test_the_convolution_of_dlr_is_its_recurrence() -> None:
    kernel = DLRKernel(WIDTH, STATES)
    u = signal()
    rates = torch.complex(-kernel.Lambda_log_neg_re.square(), kernel.Lambda_im)
    step = rates.exp().expand(WIDTH, -1)
    out = torch.view_as_complex(kernel.W)
    torch.testing.assert_close(
        convolve(u, kernel(LENGTH)),
        recurrence(step, torch.ones_like(step), out, u),
        rtol=1e-4,
        atol=1e-4,
    )


@pytest.mark.parametrize("structured", [True, False])
def test_the_kernel_of_s4_is_its_recurrence(structured) -> None:
    kernel = S4Kernel(WIDTH, STATES, structured=structured, kernel_length=LENGTH + 7, dt_min=0.01)
    last, gain = kernel.matrices()
    half = torch.view_as_complex(kernel.C.detach().double())
    one = torch.eye(STATES, dtype=last.dtype)
    left = (one - torch.linalg.matrix_power(last, LENGTH + 7)).mT
    out = torch.linalg.solve(left, torch.cat([half, half.conj()], -1)[..., None])[..., 0]
    answers, state = [], gain
    for _ in range(LENGTH):
        answers.append((out * state).sum(-1))
        state = (last @ state[..., None])[..., 0]
    expected = torch.stack(answers, -1)
    assert expected.imag.abs().max() < 1e-9  # states come in conjugate pairs
    torch.testing.assert_close(kernel(LENGTH), expected.real.float(), rtol=1e-4, atol=1e-5)


def test_s4_begins_as_hippo_legs() -> None:
    """In the basis of the eigenvectors, C A^l B is that of the real matrices."""
    n = torch.arange(STATES, dtype=torch.double)
    roots = (2 * n + 1).sqrt()
    dense = -(torch.tril(torch.outer(roots, roots), -1) + torch.diag(n + 1))
    rates, low_rank, inputs = (torch.cat([x, x.conj()]) for x in hippo_legs(STATES))
    other = torch.diag(rates) - torch.outer(low_rank, low_rank.conj())
    # moments P* A^l B say the same in both bases
    ours, theirs, p = inputs, roots, (n + 0.5).sqrt()
    for _ in range(5):
        assert (low_rank.conj() @ ours).real == pytest.approx(float(p @ theirs), rel=1e-8)
        ours, theirs = other @ ours / 8, dense @ theirs / 8
    found = torch.linalg.eigvals(other).real.sort().values
    torch.testing.assert_close(found, -(n + 1).flip(0), rtol=1e-6, atol=1e-6)


def test_starting_points() -> None:
    kernel = S4DKernel(4, 64)
    torch.testing.assert_close(kernel.log_A_real.exp(), torch.full((4, 32), 0.5))
    torch.testing.assert_close(kernel.A_imag[2], math.pi * torch.arange(32))
    assert kernel.log_dt.min() >= math.log(0.001)
    assert kernel.log_dt.max() <= math.log(0.1)
    assert S4DKernel(4, 64, structured=False).A_imag.abs().max() < 10
    turns = DLRKernel(4, 16).Lambda_im
    torch.testing.assert_close(turns, 2 * math.pi * torch.arange(16) / 16)
    assert DLRKernel(4, 16, structured=False).Lambda_im.min() < 0


@pytest.mark.parametrize("kind", KERNELS)
def test_parameters_are_real_numbers(kind) -> None:
    kernel = kind(WIDTH, STATES, 2)
    assert all(p.dtype == torch.float32 and p.is_contiguous() for p in kernel.parameters())
    kernel(LENGTH).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in kernel.parameters())
    kernel.bfloat16()
    assert torch.isfinite(kernel(LENGTH)).all()


# -- layers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KERNELS)
def test_nothing_wraps_around(kind) -> None:
    kernel = kind(WIDTH, STATES)(LENGTH).detach()
    u = signal()
    late = u.clone()
    late[..., -1] += 5.0
    before, after = convolve(u, kernel), convolve(late, kernel)
    torch.testing.assert_close(before[..., :-1], after[..., :-1], rtol=1e-4, atol=1e-5)
    early = u.clone()
    early[..., 0] += 5.0
    one, other = (convolve(x, torch.zeros_like(kernel), kernel) for x in (u, early))
    torch.testing.assert_close(one[..., 1:], other[..., 1:], rtol=1e-4, atol=1e-5)
    assert (before[..., -1] - after[..., -1]).abs().max() > 1e-3


@pytest.mark.parametrize("kind", KERNELS)
def test_a_turned_sequence_with_swapped_kernels_gives_the_turned_answer(kind) -> None:
    kernel = kind(WIDTH, STATES, 2)
    layer = StateSpaceLayer(kernel, WIDTH)
    states = signal().transpose(1, 2)
    expected = layer(states).flip(1)
    outputs = kernel.W if kind is DLRKernel else kernel.C
    with torch.no_grad():
        outputs.copy_(outputs.flip(0))
    torch.testing.assert_close(layer(states.flip(1)), expected, rtol=1e-4, atol=1e-5)


def test_padding_decides_nothing() -> None:
    layer = StateSpaceLayer(S4DKernel(WIDTH, STATES, 2), WIDTH)
    states = signal().transpose(1, 2)
    wide = torch.cat([states, torch.full((2, 6, WIDTH), 7.0)], 1)
    mask = torch.arange(LENGTH + 6).expand(2, -1) < LENGTH
    torch.testing.assert_close(layer(wide, mask)[:, :LENGTH], layer(states), rtol=1e-4, atol=1e-5)


# -- parity ---------------------------------------------------------------------------------------


def public_layer(state: dict[str, torch.Tensor], u: torch.Tensor) -> torch.Tensor:
    """The layer of src/models/s4/s4d.py on u [B, H, L], from its weights and its equations."""
    c = torch.view_as_complex(state["kernel.C"])
    a = -state["kernel.log_A_real"].exp() + 1j * state["kernel.A_imag"]
    dt_a = a * state["kernel.log_dt"].exp().unsqueeze(-1)
    length = u.shape[-1]
    exponents = (dt_a.unsqueeze(-1) * torch.arange(length)).exp()
    k = 2 * (((c * (dt_a.exp() - 1) / a).unsqueeze(-1)) * exponents).sum(1).real  # [H, L]
    y = state["D"].unsqueeze(-1) * u
    for shift in range(length):
        y[..., shift:] += k[:, shift, None] * u[..., : length - shift]
    y = nn.functional.gelu(y)
    weight, bias = state["output_linear.0.weight"][..., 0], state["output_linear.0.bias"]
    return nn.functional.glu(weight @ y + bias[:, None], dim=1)


def public_state() -> dict[str, torch.Tensor]:
    half = STATES // 2
    return {
        "D": torch.randn(WIDTH),
        "kernel.C": torch.randn(WIDTH, half, 2),
        "kernel.log_dt": torch.randn(WIDTH) - 3,
        "kernel.log_A_real": torch.randn(WIDTH, half),
        "kernel.A_imag": 3 * torch.randn(WIDTH, half),
        "output_linear.0.weight": torch.randn(2 * WIDTH, WIDTH, 1),
        "output_linear.0.bias": torch.randn(2 * WIDTH),
    }


def test_weights_of_the_public_layout_give_the_public_output() -> None:
    state, u = public_state(), signal()
    layer = StateSpaceLayer(S4DKernel(WIDTH, STATES), WIDTH)
    load_strict(layer, state, "s4d.pt")
    found = layer(u.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(found, public_layer(state, u), rtol=1e-4, atol=1e-4)


def test_another_layout_is_refused() -> None:
    state = public_state()
    state["kernel.inv_A_real"] = state.pop("kernel.log_A_real")
    with pytest.raises(UserError, match=r"lacks kernel\.log_A_real"):
        load_strict(StateSpaceLayer(S4DKernel(WIDTH, STATES), WIDTH), state, "s4d.pt")
