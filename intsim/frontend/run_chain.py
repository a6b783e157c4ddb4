"""Chains in PyTorch: step by step in float64, each step the operations that its formula in ir/chain.py shows.

Written apart from Chain.evaluate, which lowering and the proof use, so that an error in either shows.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from intsim.arithmetic.rounding import Rounding
from intsim.frontend.execute import FUNCTIONS, along, as_tensor
from intsim.ir import chain as steps
from intsim.ir.chain import Chain, Step


def run_chain(chain: Chain, levels: list[Tensor]) -> Tensor:
    """Codes, as float64, for float64 levels of the chain's sources."""
    value = levels[0]
    for step in chain.steps:
        value = _step(step, value, levels, chain.axis)
    return value


def _step(step: Step, value: Tensor, levels: list[Tensor], axis: int) -> Tensor:
    def parameter(array: np.ndarray) -> Tensor:
        tensor = as_tensor(np.asarray(array, np.float64))
        return tensor if tensor.ndim > 1 else along(tensor, value, axis)

    if isinstance(step, steps.Terms):
        products = [parameter(c) * level for c, level in zip(step.coefficients, levels, strict=True)]
        total = products[0]
        for product in products[1:]:
            total = total + product
        return total
    if isinstance(step, steps.Multiply):
        return value * parameter(step.factor)
    if isinstance(step, steps.Divide):
        return value / parameter(step.divisor)
    if isinstance(step, steps.Offset):
        return value + parameter(step.offset)
    if isinstance(step, steps.Clamp):
        return value.clamp(step.low, step.high)
    if isinstance(step, steps.PRelu):
        return torch.where(value < 0, value * parameter(step.slope), value)
    if isinstance(step, steps.Function):
        return FUNCTIONS[step.name](value)
    if isinstance(step, steps.CountThresholds):
        return step.low + torch.bucketize(value, as_tensor(step.thresholds), right=not step.strict).double()
    if step.zero_point_first:
        return _round(value + step.zero_point, step.rounding).clamp(step.low, step.high)
    return (_round(value, step.rounding) + step.zero_point).clamp(step.low, step.high)


def _round(x: Tensor, rounding: Rounding) -> Tensor:
    if rounding is Rounding.HALF_EVEN:
        return torch.round(x)
    whole = x.trunc()
    rest = (x - whole).abs()  # exact, unlike x - floor(x), and smaller than 1
    up, tie, more, away = x > 0, rest == 0.5, rest > 0.5, rest > 0
    match rounding:
        case Rounding.HALF_UP:
            outward = more | (tie & up)
        case Rounding.HALF_DOWN:
            outward = more | (tie & ~up)
        case Rounding.HALF_AWAY:
            outward = more | tie
        case Rounding.HALF_TO_ZERO:
            outward = more
        case Rounding.FLOOR:
            outward = away & ~up
        case Rounding.CEIL:
            outward = away & up
        case Rounding.TOWARD_ZERO:
            return whole
        case Rounding.AWAY_FROM_ZERO:
            outward = away
    return whole + x.sign() * outward
