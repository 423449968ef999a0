"""Polynomials with trained coefficients, composed with another function (section 2, equation 1).

With rho that function, the two forms are sum a_i rho(x)^i ("outside": PolyReLU for rho = ReLU) and
sum a_i rho(x^i) ("inside": PolyNorm for rho = normalisation), i from 1 to the order, plus a_0.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from pretrial.errors import UserError, nearest

Form = Literal["inside", "outside"]
Rho = Callable[[Tensor], Tensor]

#: Functions that can be composed with powers beside "norm", by name.
RHOS: dict[str, Rho] = {
    "relu": F.relu,
    "gelu": F.gelu,
    "silu": F.silu,
    "tanh": torch.tanh,
    "identity": lambda x: x,
}


class PolynomialActivation(nn.Module):
    """sum a_i rho(x)^i or sum a_i rho(x^i), plus a_0.

    Args:
        rho: a name in `RHOS`, "norm" (division by the root mean square over the last axis), or a
            function.
        form: what is raised to powers: rho's result ("outside") or x ("inside").
        order: the highest power.
        eps: of the normalisation, added to the mean square.
        trained: False keeps the coefficients as they begin.
        recompute: the powers are computed again in the backward pass instead of being kept.

    Attributes:
        weight: a_order, ..., a_1, the highest power first as in the release [order]; each begins as
            1 / order.
        bias: a_0 [1], begins as 0.
    """

    def __init__(
        self,
        rho: str | Rho = "norm",
        form: Form = "inside",
        order: int = 3,
        *,
        eps: float = 1e-6,
        trained: bool = True,
        recompute: bool = True,
    ) -> None:
        super().__init__()
        if order < 1:
            raise UserError(f"a polynomial's order is 1 or more, not {order}")
        if isinstance(rho, str) and rho != "norm" and rho not in RHOS:
            raise UserError(f"there is no {rho!r} to compose: {nearest(rho, [*RHOS, 'norm'])}")
        self.rho, self.form, self.order, self.eps = rho, form, order, eps
        self.recompute = recompute
        self.weight = nn.Parameter(torch.full((order,), 1 / order), requires_grad=trained)
        self.bias = nn.Parameter(torch.zeros(1), requires_grad=trained)

    def forward(self, x: Tensor) -> Tensor:
        """As x [..., d], in its type; computed in 32 bits at least."""
        wanted = torch.promote_types(x.dtype, torch.float32)
        function = self._function()
        inputs = x.to(wanted), self.weight.to(wanted), self.bias.to(wanted)
        if self.recompute and torch.is_grad_enabled():
            value = checkpoint(function, *inputs, use_reentrant=False, preserve_rng_state=False)
        else:
            value = function(*inputs)
        return value.to(x.dtype)

    def _function(self) -> Any:
        if self.rho == "norm" and self.form == "inside":
            return partial(poly_norm, eps=self.eps)
        named = RHOS | {"norm": lambda x: F.rms_norm(x, x.shape[-1:], eps=self.eps)}
        rho = named[self.rho] if isinstance(self.rho, str) else self.rho
        return partial(compose, rho=rho, form=self.form)

    def coefficients(self) -> list[float]:
        """a_0, a_1, ..., a_order."""
        return [*self.bias.detach().tolist(), *self.weight.detach().flip(0).tolist()]


def compose(x: Tensor, weight: Tensor, bias: Tensor, *, rho: Rho, form: Form) -> Tensor:
    """The polynomial in general.

    Args:
        x: [..., d].
        weight: coefficients, of the highest power first [order].
        bias: [1].
        rho: what is composed.
        form: see `PolynomialActivation`.
    """
    base = rho(x) if form == "outside" else x
    power, total = base, bias.expand_as(x)
    for number, factor in enumerate(weight.flip(0)):
        power = power if number == 0 else power * base
        total = total + factor * (power if form == "outside" else rho(power))
    return total


def poly_norm(x: Tensor, weight: Tensor, bias: Tensor, *, eps: float) -> Tensor:
    """sum a_i N(x^i) + a_0 (equation 3), without overflow.

    N hardly depends on the scale of its argument, so x is divided by its largest value s first, and
    eps by s^2i: the result is the same and the powers stay below 1. s needs no gradient, as nothing
    depends on it. It is eps at least: near 0 the result is x^i / sqrt(eps), with the gradient
    a_1 / sqrt(eps) at 0, and eps / s^2i must not overflow.

    Args:
        x: [..., d].
        weight: coefficients, of the highest power first [order].
        bias: [1].
        eps: added to the mean square.
    """
    least = max(eps, torch.finfo(x.dtype).tiny)
    scale = x.detach().abs().amax(-1, keepdim=True).clamp(min=least)
    base = x / scale
    power, total = base, bias.expand_as(x)
    for number, factor in enumerate(weight.flip(0)):
        power = power if number == 0 else power * base
        small = eps * scale ** (-2.0 * (number + 1))
        total = total + factor * power * torch.rsqrt(power.square().mean(-1, keepdim=True) + small)
    return total
