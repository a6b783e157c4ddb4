"""N2UQ: nonuniform thresholds before, uniform levels behind (Liu et al. 2022, arXiv 2111.14826), as PyTorch modules.

They train in anyone's loop; `convert` puts them into a network, and capture turns what was learned into integers. The
real-valued results are codes times one scale, so multiplications stay uniform; only the comparisons are learned.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from intsim.calibrate.nearest import FINEST, SMALLEST_SHARE
from intsim.calibrate.steps import best_step
from intsim.errors import CalibrationError
from intsim.frontend.quantizers import odd_quantize, threshold_quantize


class ThresholdQuantizer(nn.Module):
    """Activations (N, ...) to codes 0..L, L = 2**bits - 1, times one scale; one set of thresholds for the layer.

    signed  where they can be negative: the middle code z = 2**(bits - 1) stands for zero, else z = 0
    Exact:  (k - z) * |output_scale| * 2 / L, k = #{i : input_scale * x > T_i}, T of `start` and `intervals` as
            threshold_quantize has them. Fresh: start -z * 2 / L, intervals 2 / L, scales 1, the uniform quantizer of
            [0, 2], or of what lies z steps lower.
    """

    def __init__(self, bits: int, signed: bool = False):
        super().__init__()
        self.levels, self.zero_point = 2**bits - 1, 2 ** (bits - 1) if signed else 0
        self.start = nn.Parameter(torch.tensor(-self.zero_point * 2 / self.levels))
        self.intervals = nn.Parameter(torch.full((self.levels,), 2 / self.levels))
        self.input_scale = nn.Parameter(torch.ones(()))
        self.output_scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        step = self.output_scale.abs() * (2 / self.levels)  # a small one may be taken past 0
        return threshold_quantize(x * self.input_scale, self.start, self.intervals, step, self.zero_point)

    def extra_repr(self) -> str:
        return f"levels={self.levels}, zero_point={self.zero_point}"

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """Scale the range to the values at hand: the uniform quantizer with the least squared error."""
        step = best_step(x, -self.zero_point, self.levels - self.zero_point)
        self.output_scale.copy_(step * (self.levels / 2))
        self.input_scale.copy_(1 / self.output_scale)


class EntropyWeight(nn.Module):
    """Weights (O, ...) to the odd grid, each channel scaled so that its levels are about equally frequent.

    A parametrization: register_parametrization(conv, "weight", EntropyWeight(2)).
    Exact: odd_quantize(w, reach, bits), reach = (2**bits - 1) / 2**(bits - 1) * mean|w| of the channel, a constant to
           the gradient. This grid has no zero: channels of zeros get 1/4096 of the largest channel's reach.
    """

    def __init__(self, bits: int):
        super().__init__()
        self.bits = bits

    def forward(self, weight: Tensor) -> Tensor:
        mean = weight.detach().abs().flatten(1).mean(1)
        least = (mean.amax() * SMALLEST_SHARE).clamp_min(FINEST)
        reach = torch.maximum(mean, least) * ((2**self.bits - 1) / 2 ** (self.bits - 1))
        return odd_quantize(weight, reach, self.bits)

    def extra_repr(self) -> str:
        return f"bits={self.bits}"


class RPReLU(nn.Module):
    """(N, C, ...) moved, PReLU, moved again, all per channel: the paper's nonlinearity before each quantizer.

    Slopes below 0 count as 0: a nonlinearity that falls and rises has no thresholds on integers. Such a slope learns
    to grow, though not to fall further.
    raises  CalibrationError for another number of channels
    """

    def __init__(self, channels: int, slope: float = 0.25):
        super().__init__()
        self.before = nn.Parameter(torch.zeros(channels))
        self.slope = nn.Parameter(torch.full((channels,), slope))
        self.after = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        channels = len(self.slope)
        if x.shape[1] != channels:
            raise CalibrationError(f"RPReLU: expected {channels} channels on axis 1, got {tuple(x.shape)}")
        slope = _NotNegative.apply(self.slope) if torch.is_grad_enabled() else self.slope.clamp_min(0)
        before, after = (move.reshape(channels, *[1] * (x.ndim - 2)) for move in (self.before, self.after))
        return torch.prelu(x + before, slope) + after


class _NotNegative(torch.autograd.Function):
    """max(x, 0), whose gradient below 0 is what makes x larger."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp_min(0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradient.masked_fill((x <= 0) & (gradient > 0), 0.0)
