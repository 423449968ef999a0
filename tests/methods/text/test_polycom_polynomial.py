"""Polynomial activations: their special cases, numerics and gradients."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.nn import functional as F

from pretrial.errors import UserError
from pretrial.methods.text.polycom.network.polynomial import (
    PolynomialActivation,
    poly_norm,
)

X = torch.randn(5, 7, 24, generator=torch.Generator().manual_seed(0))


def with_coefficients(activation: PolynomialActivation, *values: float) -> PolynomialActivation:
    """a_0, a_1, ..., a_order."""
    with torch.no_grad():
        activation.bias.fill_(values[0])
        activation.weight.copy_(torch.tensor(values[:0:-1]))
    return activation


def test_special_cases_of_poly_relu() -> None:
    torch.testing.assert_close(
        with_coefficients(PolynomialActivation("relu", "outside"), 0, 1, 0, 0)(X), F.relu(X)
    )
    torch.testing.assert_close(
        with_coefficients(PolynomialActivation("relu", "outside"), 0, 0, 1, 0)(X), F.relu(X) ** 2
    )
    found = with_coefficients(PolynomialActivation("relu", "outside"), 0.5, 2, -1, 3)(X)
    relu = F.relu(X)
    torch.testing.assert_close(found, 0.5 + 2 * relu - relu**2 + 3 * relu**3)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 30.0])
def test_poly_norm_is_the_sum_of_normalised_powers(scale: float) -> None:
    """The released layout: highest power first, a_0 as bias; eps counts where x is small."""
    x = X * scale
    activation = with_coefficients(PolynomialActivation(), 0.1, 0.7, -0.4, 0.2)
    weight, eps = activation.weight, 1e-6
    expected = activation.bias.clone()
    for factor, power in zip(weight, (3, 2, 1), strict=True):
        value = (x**power).double()
        expected = expected + factor * value / (value.square().mean(-1, keepdim=True) + eps).sqrt()
    torch.testing.assert_close(activation(x), expected.float(), atol=1e-6, rtol=1e-5)


def test_coefficients_begin_as_thirds() -> None:
    activation = PolynomialActivation()
    assert activation.coefficients() == pytest.approx([0, 1 / 3, 1 / 3, 1 / 3])
    assert sum(p.numel() for p in activation.parameters()) == 4
    assert PolynomialActivation(order=4).coefficients() == pytest.approx([0] + [0.25] * 4)
    assert not any(p.requires_grad for p in PolynomialActivation(trained=False).parameters())


def test_scale_falls_out_and_a_negative_one_flips_odd_powers() -> None:
    activation = with_coefficients(PolynomialActivation(), 0.1, 0.7, -0.4, 0.2)
    torch.testing.assert_close(activation(3.7 * X), activation(X), atol=1e-5, rtol=1e-4)
    flipped = with_coefficients(PolynomialActivation(), 0.1, -0.7, -0.4, -0.2)
    torch.testing.assert_close(activation(-2.0 * X), flipped(X), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"recompute": False},
        {"rho": "relu", "form": "outside"},
        {"rho": "tanh", "form": "inside", "order": 2},
        {"rho": "norm", "form": "outside", "order": 4},
        {"order": 1},
    ],
)
def test_gradients_in_double_precision(options: dict[str, Any]) -> None:
    activation = PolynomialActivation(**options).double()
    x = X[0, :3, :6].double().requires_grad_()
    assert torch.autograd.gradcheck(activation, (x,))
    assert torch.autograd.gradcheck(
        lambda weight, bias: torch.func.functional_call(
            activation, {"weight": weight, "bias": bias}, (x.detach(),)
        ),
        (activation.weight, activation.bias),
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("size", [1.0, 1e3, 3e4])
def test_half_precision_does_not_overflow(dtype: torch.dtype, size: float) -> None:
    x = (X / X.abs().max() * size).to(dtype).requires_grad_()
    activation = PolynomialActivation()
    found = activation(x)
    assert found.dtype == dtype
    assert torch.isfinite(found).all()
    torch.testing.assert_close(found.float(), activation(x.float()), atol=1e-2, rtol=1e-2)
    found.float().sum().backward()
    assert torch.isfinite(x.grad).all()  # type: ignore[arg-type]


def test_extremes_are_finite() -> None:
    for x in (torch.zeros(2, 8), torch.full((2, 8), 1e30), torch.full((2, 8), 1e-30)):
        x = x.requires_grad_()
        value = PolynomialActivation()(x)
        assert torch.isfinite(value).all()
        value.sum().backward()
        assert torch.isfinite(x.grad).all()  # type: ignore[arg-type]


@pytest.mark.parametrize("rho", ["gelu", "silu", "tanh", "identity", torch.sin])
def test_general_forms(rho: Any) -> None:
    function = (
        rho
        if callable(rho)
        else {"identity": lambda x: x, "tanh": torch.tanh}.get(rho, getattr(F, rho, None))
    )
    for form, expected in (
        ("outside", sum(function(X) ** i for i in (1, 2, 3)) / 3),
        ("inside", sum(function(X**i) for i in (1, 2, 3)) / 3),
    ):
        found = PolynomialActivation(rho, form)(X)  # type: ignore[arg-type]
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    found = PolynomialActivation("norm", "outside")(X)
    norm = F.rms_norm(X, X.shape[-1:], eps=1e-6)
    torch.testing.assert_close(found, (norm + norm**2 + norm**3) / 3, atol=1e-5, rtol=1e-5)


def test_the_general_form_of_the_norm_is_poly_norm() -> None:
    from pretrial.methods.text.polycom.network.polynomial import compose

    def norm(x: torch.Tensor) -> torch.Tensor:
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6)

    activation = PolynomialActivation()
    found = compose(X, activation.weight, activation.bias, rho=norm, form="inside")
    torch.testing.assert_close(activation(X), found, atol=1e-5, rtol=1e-5)


def test_powers_are_not_kept_for_the_backward_pass() -> None:
    def kept(recompute: bool) -> int:
        sizes: dict[int, int] = {}

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.numel()
            return tensor

        x = X.clone().requires_grad_()
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            PolynomialActivation(recompute=recompute)(x)
        return sum(sizes.values())

    assert kept(False) > 4 * X.numel()
    assert kept(True) <= X.numel() + 8


def test_unknown_functions_and_orders_are_refused() -> None:
    with pytest.raises(UserError, match="relu"):
        PolynomialActivation("rely")
    with pytest.raises(UserError, match="1 or more"):
        PolynomialActivation(order=0)


@pytest.mark.parametrize("eps", [1e-6, 1e-4])
@pytest.mark.parametrize("size", [0.0, 1e-20, 1e-9, 1e-7, 1e-5, 1e-3])
def test_poly_norm_is_the_plain_formula_near_nought(eps: float, size: float) -> None:
    x = (size * torch.randn(3, 8, dtype=torch.float64)).requires_grad_()
    weight, bias = torch.tensor([0.2, 0.3, 0.7]).double(), torch.zeros(1).double()
    up = torch.randn(3, 8, dtype=torch.float64)

    def plain(x):
        powers = [x**number for number in (3, 2, 1)]
        norms = [p / (p.square().mean(-1, keepdim=True) + eps).sqrt() for p in powers]
        return sum(factor * norm for factor, norm in zip(weight, norms, strict=True))

    (expected,) = torch.autograd.grad((plain(x) * up).sum(), x)
    single = x.detach().float().requires_grad_()
    made = poly_norm(single, weight.float(), bias.float(), eps=eps)
    (found,) = torch.autograd.grad((made * up.float()).sum(), single)
    torch.testing.assert_close(made.double(), plain(x), rtol=1e-4, atol=1e-12)
    torch.testing.assert_close(found.double(), expected, rtol=1e-4, atol=1e-4)
    if not size:  # a_1 / sqrt(eps)
        torch.testing.assert_close(found, 0.7 / eps**0.5 * up.float())
