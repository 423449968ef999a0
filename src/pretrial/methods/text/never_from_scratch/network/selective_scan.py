"""Mamba's layer: a state space whose steps, inputs and outputs depend on what is read (2312.00752).

transformers has the layer, but without its CUDA kernels it takes each time step out of one large
tensor, whose gradient is as large again for every step; two layers of width 64 then spend 3 s of a
core on 16 sequences of 64, forwards and backwards, and 0.1 s here, where the steps are taken apart
once. Parameters have the names of transformers' `MambaMixer`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: Names of the parameters that set the dynamics; see `state_space.DYNAMICS`.
DYNAMICS = ("A_log", "dt_proj.weight", "dt_proj.bias")

_LEAST_STEP = 1e-4  # as in transformers


class SelectiveLayer(nn.Module):
    """A gated convolution over the last few entries, then a selective state space.

    Args:
        width: of the states.
        state_size: hidden states of each of the inner features, of which there are 2 * `width`.
        structured: rates of decay start at 1, 2, ... (S4D-Real); else they are drawn at random.
        dt_min: least initial step.
        dt_max: largest initial step.
        window: entries that the convolution sees.
    """

    def __init__(
        self,
        width: int,
        state_size: int,
        *,
        structured: bool = True,
        dt_min: float = 0.001,
        dt_max: float = 0.1,
        window: int = 4,
    ) -> None:
        super().__init__()
        inner, rank = 2 * width, math.ceil(width / 16)
        self.state_size = state_size
        self.in_proj = nn.Linear(width, 2 * inner, bias=False)
        self.conv1d = nn.Conv1d(inner, inner, window, groups=inner, padding=window - 1)
        self.x_proj = nn.Linear(inner, rank + 2 * state_size, bias=False)
        self.dt_proj = nn.Linear(rank, inner)
        rates = torch.arange(1.0, state_size + 1).log().repeat(inner, 1)
        self.A_log = nn.Parameter(rates if structured else torch.randn(inner, state_size))
        self.D = nn.Parameter(torch.ones(inner))
        self.out_proj = nn.Linear(inner, width, bias=False)
        span = math.log(dt_max) - math.log(dt_min)
        steps = (math.log(dt_min) + torch.rand(inner) * span).exp().clamp(min=_LEAST_STEP)
        with torch.no_grad():
            nn.init.uniform_(self.dt_proj.weight, -(rank**-0.5), rank**-0.5)
            self.dt_proj.bias.copy_(steps + (-torch.expm1(-steps)).log())  # softplus gives `steps`

    def forward(self, states: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """States [B, L, H] to states.

        Args:
            states: [B, L, H].
            attention_mask: not looked at: padding stands behind, and a state sees the past alone.
        """
        length = states.shape[1]
        signal, gate = self.in_proj(states).chunk(2, dim=-1)  # [B, L, D]
        signal = F.silu(self.conv1d(signal.transpose(1, 2))[..., :length].transpose(1, 2))
        low, inputs, outputs = self.x_proj(signal).split(
            [self.dt_proj.in_features, self.state_size, self.state_size], dim=-1
        )
        steps = F.softplus(self.dt_proj(low))
        mixed = selective_scan(signal, steps, -self.A_log.float().exp(), inputs, outputs)
        return self.out_proj((mixed + signal * self.D) * F.silu(gate))


def selective_scan(
    signal: Tensor, steps: Tensor, rates: Tensor, inputs: Tensor, outputs: Tensor
) -> Tensor:
    """Algorithm 2: h_t = exp(dt_t A) h_(t-1) + dt_t B_t u_t, read out as C_t h_t.

    Args:
        signal: u [B, L, D].
        steps: dt [B, L, D].
        rates: A [D, N], below 0.
        inputs: B [B, L, N].
        outputs: C [B, L, N].

    Returns:
        [B, L, D], of the type of `signal`; the states are fp32.
    """
    parts = (each.float().unbind(1) for each in (signal, steps, inputs, outputs))
    state, mixed = signal.new_zeros(len(signal), *rates.shape, dtype=torch.float32), []
    for entry, step, into, out in zip(*parts, strict=True):
        drive = (step * entry)[..., None] * into[:, None]  # [B, D, N]
        state = torch.addcmul(drive, (step[..., None] * rates).exp(), state)
        mixed.append(torch.bmm(state, out[..., None])[..., 0])
    return torch.stack(mixed, 1).to(signal.dtype)
