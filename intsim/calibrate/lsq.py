"""LSQ: uniform quantizers with learned steps (Esser et al. 2020), the baseline that N2UQ is compared with."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from intsim.calibrate.steps import best_step
from intsim.dtypes import IntType
from intsim.frontend.quantizers import fake_quantize


class StepQuantizer(nn.Module):
    """Activations (N, ...) to codes 0..2**bits - 1, or two's complement where they can be negative, times one step.

    Exact: clip(round(x / |step|), low, high) * |step|; the step's gradient times 1 / sqrt(elements * high)
    """

    def __init__(self, bits: int, signed: bool = False):
        super().__init__()
        element = IntType(signed, bits)
        self.low, self.high = element.min, element.max
        self.step = nn.Parameter(torch.ones(()))

    def extra_repr(self) -> str:
        return f"low={self.low}, high={self.high}"

    def forward(self, x: Tensor) -> Tensor:
        step = self.step.abs()  # a small one may be taken past 0
        if self.training:  # a captured network knows no batch
            step = _with_gradient_times(step, (x.numel() * self.high) ** -0.5)
        return fake_quantize(x, step, 0, self.low, self.high)

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """The step with the least squared error for the values at hand."""
        self.step.copy_(best_step(x, self.low, self.high))


class StepWeight(nn.Module):
    """Weights (O, ...) to two's complement of `bits`, one learned step for each output channel; a parametrization.

    weight  what the steps are fitted to, least squared error first
    """

    def __init__(self, bits: int, weight: Tensor):
        super().__init__()
        element = IntType(True, bits)
        self.low, self.high = element.min, element.max
        self.step = nn.Parameter(torch.stack([best_step(row, self.low, self.high) for row in weight]))

    def forward(self, weight: Tensor) -> Tensor:
        share = (weight[0].numel() * self.high) ** -0.5
        return fake_quantize(weight, _with_gradient_times(self.step.abs(), share), 0, self.low, self.high)

    def extra_repr(self) -> str:
        return f"low={self.low}, high={self.high}"


def _with_gradient_times(parameter: Tensor, factor: float) -> Tensor:
    """The same number, whose gradient arrives multiplied by `factor`."""
    return parameter.detach() + (parameter - parameter.detach()) * factor
