"""N2UQ: nonuniform thresholds before, uniform levels behind (Liu et al. 2022, arXiv 2111.14826), as PyTorch modules.

They train in anyone's loop; `convert` puts them into a network, and capture turns what was learned into integers. The
real-valued results are codes times one scale, so multiplications stay uniform; only the comparisons are learned.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from intsim.calibrate.steps import best_step
from intsim.frontend.quantizers import odd_quantize, threshold_quantize


class ThresholdQuantizer(nn.Module):
    """Activations (N, ...) to codes 0..L, L = 2**bits - 1, times one scale; one set of thresholds for the layer.

    Exact: k * output_scale * 2 / L, k = #{i : input_scale * x > T_i}, T of `start` and `intervals` as
           threshold_quantize has them. Fresh: start 0, intervals 2 / L, scales 1, the uniform quantizer of [0, 2].
    """

    def __init__(self, bits: int):
        super().__init__()
        self.levels = 2**bits - 1
        self.start = nn.Parameter(torch.zeros(()))
        self.intervals = nn.Parameter(torch.full((self.levels,), 2 / self.levels))
        self.input_scale = nn.Parameter(torch.ones(()))
        self.output_scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        step = self.output_scale * (2 / self.levels)
        return threshold_quantize(x * self.input_scale, self.start, self.intervals, step)

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """Scale the range to the values at hand: the uniform quantizer with the least squared error."""
        step = best_step(x, 0, self.levels)
        self.output_scale.copy_(step * (self.levels / 2))
        self.input_scale.copy_(1 / self.output_scale)


class EntropyWeight(nn.Module):
    """Weights (O, ...) to the odd grid, each channel scaled so that its levels are about equally frequent.

    A parametrization: register_parametrization(conv, "weight", EntropyWeight(2)).
    Exact: odd_quantize(w, reach, bits), reach = (2**bits - 1) / 2**(bits - 1) * mean|w| of the channel, a constant to
           the gradient
    """

    def __init__(self, bits: int):
        super().__init__()
        self.bits = bits

    def forward(self, weight: Tensor) -> Tensor:
        mean = weight.detach().abs().flatten(1).mean(1)
        reach = mean.clamp_min(torch.finfo(mean.dtype).tiny) * ((2**self.bits - 1) / 2 ** (self.bits - 1))
        return odd_quantize(weight, reach, self.bits)


class RPReLU(nn.Module):
    """(N, C, H, W) moved, PReLU, moved again, all per channel: the paper's nonlinearity before each quantizer.

    Slopes below 0 count as 0: a nonlinearity that falls and rises has no thresholds on integers.
    """

    def __init__(self, channels: int, slope: float = 0.25):
        super().__init__()
        self.before = nn.Parameter(torch.zeros(channels, 1, 1))
        self.slope = nn.Parameter(torch.full((channels,), slope))
        self.after = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.prelu(x + self.before, self.slope.clamp_min(0)) + self.after
