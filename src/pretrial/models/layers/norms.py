"""Norms in the type of mixed precision, for any network whose norms bound its speed."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class LowPrecisionLayerNorm(nn.LayerNorm):
    """A LayerNorm that works in autocast's type, where torch's own goes up to fp32."""

    def forward(self, states: Tensor) -> Tensor:
        """The normalised states, in autocast's type if it is on."""
        kind = states.device.type
        if kind == "meta" or not torch.is_autocast_enabled(kind):  # "meta" knows no autocast
            return super().forward(states)
        low = torch.get_autocast_dtype(kind)
        with torch.autocast(kind, enabled=False):
            return F.layer_norm(
                states.to(low),
                self.normalized_shape,
                self.weight.to(low),
                self.bias.to(low),
                self.eps,
            )


def lower_norms(module: nn.Module) -> None:
    """Makes every LayerNorm in a module a `LowPrecisionLayerNorm`; weights stay what they are."""
    for part in module.modules():
        if type(part) is nn.LayerNorm:
            part.__class__ = LowPrecisionLayerNorm
