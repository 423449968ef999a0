"""State space layers as long convolutions: S4, S4D and DLR.

A linear recurrence over N hidden states is, seen from outside, a convolution whose kernel is as
long as the sequence. The kernels here are that of a diagonal plus low-rank matrix (S4, Gu and
others, 2111.00396), of a diagonal one (S4D, Gu and others, 2206.11893), and of a diagonal one whose
states all features share, without a step size (DLR, Gupta and others, 2212.00768). All is plain
torch; complex parameters are stored as pairs of real numbers, which every optimiser, safetensors,
DDP and FSDP take. States that come in conjugate pairs are stored once, so N means N / 2 numbers.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

Kind = Literal["s4", "s4d", "dlr"]

#: Names of the parameters that set the dynamics, in all three kernels. They want a small learning
#: rate and no weight decay.
DYNAMICS = ("log_dt", "log_A_real", "A_imag", "P", "B", "Lambda_log_neg_re", "Lambda_im", "W")


def _parameter(value: Tensor) -> nn.Parameter:
    """A parameter in fp32; complex values as pairs on a last axis of 2."""
    if value.is_complex():
        value = torch.view_as_real(value.to(torch.cfloat))
    return nn.Parameter(value.float().contiguous())


def _complex(pairs: Tensor) -> Tensor:
    """What `_parameter` stored of complex values; fp32 whatever the weights are."""
    return torch.view_as_complex(pairs.float().contiguous())


def _log_uniform(size: int, low: float, high: float) -> Tensor:
    """Logarithms of numbers that are log-uniform in [low, high]."""
    return math.log(low) + torch.rand(size) * (math.log(high) - math.log(low))


def _directions(num_kernels: int, *shape: int) -> tuple[int, ...]:
    return shape if num_kernels == 1 else (num_kernels, *shape)


class S4DKernel(nn.Module):
    """Kernel of a diagonal state matrix; parameters are named as in the public s4d.py.

    A = -exp(log_A_real) + i A_imag, and with the step dt = exp(log_dt), held at order zero,
    K_l = 2 Re sum_n C_n (exp(dt A_n) - 1) / A_n exp(dt A_n l).

    Args:
        width: features H, each with states of its own.
        state_size: N, even.
        num_kernels: 2 for both directions; they share all but C.
        structured: A starts at -1/2 + i pi n (S4D-Lin); else the parts are drawn at random.
        dt_min: least initial step.
        dt_max: largest initial step.
    """

    def __init__(
        self,
        width: int,
        state_size: int,
        num_kernels: int = 1,
        *,
        structured: bool = True,
        dt_min: float = 0.001,
        dt_max: float = 0.1,
    ) -> None:
        super().__init__()
        half = state_size // 2
        shape = _directions(num_kernels, width, half)
        self.C = _parameter(torch.randn(shape, dtype=torch.cfloat))
        self.log_dt = _parameter(_log_uniform(width, dt_min, dt_max))
        self.log_A_real = _parameter(torch.full((width, half), math.log(0.5)))
        self.A_imag = _parameter(math.pi * torch.arange(half).repeat(width, 1))
        if not structured:
            self.log_A_real = _parameter(math.log(0.5) + torch.randn(width, half))
            self.A_imag = _parameter(torch.randn(width, half))

    def forward(self, length: int) -> Tensor:
        """[H, L], or [2, H, L] for both directions."""
        rates = torch.complex(-self.log_A_real.float().exp(), self.A_imag.float())  # [H, N/2]
        steps = rates * self.log_dt.float().exp()[:, None]
        weights = _complex(self.C) * torch.expm1(steps) / rates
        times = torch.arange(length, device=steps.device)
        powers = torch.exp(steps[..., None] * times)  # [H, N/2, L]
        return 2 * torch.einsum("...hn,hnl->...hl", weights, powers).real


class DLRKernel(nn.Module):
    """Kernel of a diagonal recurrence (equation 3); parameters are named as in the public dss.py.

    K_l = Re sum_n W_n exp(Lambda_n l), with Lambda = -Lambda_log_neg_re^2 + i Lambda_im.

    Args:
        width: features H, which share their states.
        state_size: N; states do not come in pairs here.
        num_kernels: 2 for both directions; they share Lambda.
        structured: frequencies start evenly spread over the circle; else they are drawn at random.
        dt_min: least initial rate of decay, times two.
        dt_max: largest initial rate of decay, times two.
    """

    def __init__(
        self,
        width: int,
        state_size: int,
        num_kernels: int = 1,
        *,
        structured: bool = True,
        dt_min: float = 0.0001,
        dt_max: float = 0.1,
    ) -> None:
        super().__init__()
        decay = 0.5 * _log_uniform(state_size, dt_min, dt_max).exp()
        turns = 2 * math.pi * torch.arange(state_size) / state_size
        self.Lambda_log_neg_re = _parameter(decay.sqrt())
        self.Lambda_im = _parameter(turns if structured else torch.randn(state_size))
        shape = _directions(num_kernels, width, state_size)
        self.W = _parameter(torch.view_as_complex(torch.randn(*shape, 2) / state_size))

    def forward(self, length: int) -> Tensor:
        """[H, L], or [2, H, L] for both directions."""
        rates = torch.complex(-self.Lambda_log_neg_re.float().square(), self.Lambda_im.float())
        powers = torch.exp(rates[:, None] * torch.arange(length, device=rates.device))  # [N, L]
        return torch.matmul(_complex(self.W), powers).real


class S4Kernel(nn.Module):
    """S4's kernel (its Algorithm 1) of A = diag(-exp(log_A_real) + i A_imag) - P P*.

    The bilinear rule gives the matrices of the recurrence. Their kernel of `kernel_length` entries
    is the inverse Fourier transform of its generating function at the roots of unity, which the
    identity of Woodbury makes of four sums of simple fractions. The cut at that length is in C,
    which holds C (I - A^length) as S4's does; shorter sequences use the beginning of the kernel.

    Args:
        width: features H, each with states of its own.
        state_size: N, even.
        num_kernels: 2 for both directions; they share all but C.
        structured: A and B start as HiPPO-LegS; else they are drawn at random.
        kernel_length: entries of the longest sequence.
        dt_min: least initial step.
        dt_max: largest initial step.
    """

    def __init__(
        self,
        width: int,
        state_size: int,
        num_kernels: int = 1,
        *,
        structured: bool = True,
        kernel_length: int = 1024,
        dt_min: float = 0.001,
        dt_max: float = 0.1,
    ) -> None:
        super().__init__()
        half = state_size // 2
        self.kernel_length = kernel_length
        log_dt = _log_uniform(width, dt_min, dt_max)
        if structured:
            rates, low_rank, inputs = (row.repeat(width, 1) for row in hippo_legs(state_size))
        else:
            rates = torch.complex(-0.5 * torch.randn(width, half).exp(), torch.randn(width, half))
            low_rank = torch.randn(width, half, dtype=torch.cfloat) / math.sqrt(state_size)
            inputs = torch.randn(width, half, dtype=torch.cfloat)
        self.log_dt = _parameter(log_dt)
        self.log_A_real = _parameter((-rates.real).log())
        self.A_imag = _parameter(rates.imag)
        self.P = _parameter(low_rank)
        self.B = _parameter(inputs)
        shape = _directions(num_kernels, width, half)
        outputs = torch.randn(shape, dtype=torch.cfloat)
        last, _ = self.matrices()
        power = torch.linalg.matrix_power(last, kernel_length)  # [H, N, N]
        whole = torch.cat([outputs, outputs.conj()], -1).to(power.dtype)
        cut = whole - torch.einsum("...hn,hnm->...hm", whole, power)
        self.C = _parameter(cut[..., :half])

    @torch.no_grad()
    def matrices(self) -> tuple[Tensor, Tensor]:
        """The recurrence x_l = A x_(l-1) + B u_l: A [H, N, N] and B [H, N], all states apart."""
        rates = self._pairs(torch.complex(-self.log_A_real.double().exp(), self.A_imag.double()))
        low_rank, inputs = (self._pairs(_complex(p)).to(rates) for p in (self.P, self.B))
        full = torch.diag_embed(rates) - low_rank[:, :, None] * low_rank.conj()[:, None, :]
        step = self.log_dt.double().exp()[:, None]
        half_step = 0.5 * step[..., None] * full
        one = torch.eye(full.shape[-1], dtype=full.dtype, device=full.device)
        right = torch.cat([one + half_step, (step * inputs)[..., None]], -1)
        solved = torch.linalg.solve(one - half_step, right)
        return solved[..., :-1], solved[..., -1]

    @staticmethod
    def _pairs(half: Tensor) -> Tensor:
        """Both states of each conjugate pair, on the last axis."""
        return torch.cat([half, half.conj()], -1)

    def forward(self, length: int) -> Tensor:
        """[H, L], or [2, H, L] for both directions; L is at most `kernel_length`."""
        assert length <= self.kernel_length, f"kernel of {self.kernel_length}, not {length}"
        rates = self._pairs(torch.complex(-self.log_A_real.float().exp(), self.A_imag.float()))
        low_rank, inputs, outputs = (self._pairs(_complex(p)) for p in (self.P, self.B, self.C))
        dt = self.log_dt.float().exp()[:, None]  # [H, 1]
        count = self.kernel_length // 2 + 1
        angles = torch.arange(count, device=dt.device) * (-2 * math.pi / self.kernel_length)
        roots = torch.polar(torch.ones_like(angles), angles)  # [M]
        gains = 0.5 * dt * (1 + roots)  # [H, M]
        fractions = 1 / ((1 - roots) - gains[:, None] * rates[..., None])  # [H, N, M]

        def summed(left: Tensor, right: Tensor) -> Tensor:
            return torch.einsum("...hn,hnm->...hm", left * right, fractions)

        low_in, low_low = (summed(low_rank.conj(), each) for each in (inputs, low_rank))
        spectrum = summed(outputs, inputs) - gains * summed(outputs, low_rank) * low_in / (
            1 + gains * low_low
        )
        return torch.fft.irfft(dt * spectrum, n=self.kernel_length)[..., :length]


def hippo_legs(state_size: int) -> tuple[Tensor, Tensor, Tensor]:
    """HiPPO-LegS (S4's equation 2) as diag(Lambda) - P P* in its basis: Lambda, P, B, each [N / 2].

    A = -(sqrt(2n + 1) sqrt(2k + 1) below the diagonal, n + 1 on it), B = sqrt(2n + 1). With P =
    sqrt(n + 1/2), A + P P^T is -1/2 and a skew-symmetric matrix, whose eigenvalues are imaginary
    and come in pairs.
    """
    orders = torch.arange(state_size, dtype=torch.double)
    roots = (2 * orders + 1).sqrt()
    low_rank = (orders + 0.5).sqrt()
    below = torch.tril(roots[:, None] * roots[None, :], diagonal=-1)
    skew = -below + low_rank[:, None] * low_rank[None, :] - torch.diag(orders + 0.5)
    values, vectors = torch.linalg.eigh(-1j * skew)  # ascending: the positive half stands last
    half = vectors[:, state_size // 2 :].mH.contiguous()  # [N / 2, N]
    rates = torch.complex(
        torch.full_like(orders[: state_size // 2], -0.5), values[state_size // 2 :]
    )
    return rates, half @ low_rank.to(half.dtype), half @ roots.to(half.dtype)


def convolve(signal: Tensor, kernel: Tensor, backward: Tensor | None = None) -> Tensor:
    """Convolution with kernels as long as the signal, by FFT padded so that nothing wraps around.

    Args:
        signal: u [B, H, L].
        kernel: K [H, L], of what has been.
        backward: of what is to come [H, L]; both have the present at 0.

    Returns:
        y_t = sum_j K_j u_(t-j), plus sum_j backward_j u_(t+j) [B, H, L].
    """
    length = signal.shape[-1]
    spectrum = torch.fft.rfft(kernel, n=2 * length)
    if backward is not None:  # the conjugate is the spectrum of the kernel turned round
        spectrum = spectrum + torch.fft.rfft(backward, n=2 * length).conj()
    waves = torch.fft.rfft(signal.float(), n=2 * length)
    return torch.fft.irfft(waves * spectrum, n=2 * length)[..., :length].to(signal.dtype)


class StateSpaceLayer(nn.Module):
    """A state space convolution for each feature, a skip, GELU, and a gated mixing of features.

    Keys are those of the public s4d.py: `kernel.*`, `D`, `output_linear.0.*`.

    Args:
        kernel: gives [H, L], or [2, H, L] for both directions.
        width: features H.
        dropout_prob: after the activation.
    """

    def __init__(self, kernel: nn.Module, width: int, dropout_prob: float = 0.0) -> None:
        super().__init__()
        self.kernel = kernel
        self.D = nn.Parameter(torch.randn(width))
        self.activation = nn.GELU()
        self.dropout = nn.Dropout(dropout_prob)
        self.output_linear = nn.Sequential(nn.Conv1d(width, 2 * width, 1), nn.GLU(dim=-2))

    def forward(self, states: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """States [B, L, H] to states.

        Args:
            states: [B, L, H].
            attention_mask: True where there is an entry, False at padding [B, L]; None: everywhere.
        """
        if attention_mask is not None:
            states = states.masked_fill(~attention_mask[..., None], 0.0)
        signal = states.transpose(1, 2)  # [B, H, L]
        kernel = self.kernel(signal.shape[-1])
        both = kernel.unbind(0) if kernel.ndim == 3 else (kernel, None)
        mixed = convolve(signal, *both) + signal * self.D[:, None]
        return self.output_linear(self.dropout(self.activation(mixed))).transpose(1, 2)
