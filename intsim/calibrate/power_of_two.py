"""Quantizers whose scales are powers of two with exponents that training chooses.

Weights begin with real exponents, which a regulariser drives towards one of their two neighbours; then the exponents
are settled there and the weights' roundings are trained. Activations have their exponent rounded all along.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from intsim.calibrate.choices import choice_of, harden_surest, indecision, soft
from intsim.calibrate.trainable import ActivationQuantizer, FakeQuantize, WeightQuantizer, round_through
from intsim.frontend.execute import as_tensor
from intsim.ir.types import Grid, Scale, TensorType, Value


class PowerOfTwoActivation(ActivationQuantizer):
    """One scale 2**round(t) for the tensor, t trained, with the zero point that keeps the least value where it is.

    Exact:     x^ = s * clip(round(x / s), low, high), s = 2**round(t), low = min - z, high = max - z,
               z = round(z_start * s_start / s)
    Gradient:  t: s ln(2) (round(x / s) - x / s) inside, s ln(2) low or high where clipped; x: 1 inside
    Source:    TQT (Jain et al. 2019), as RAPQ means it: methods.md 2.3, with z in low and high
    """

    rates = {"log_scale": "act_exponent", "zero_point": "act_zero_point"}

    def __init__(self, grid: Grid, trained: bool):
        super().__init__(grid, trained)
        with torch.no_grad():
            self.log_scale.fill_(math.log2(self.start))

    @classmethod
    def trains(cls, grid: Grid) -> bool:
        return True

    @property
    def exponent(self) -> int:
        return round(self.log_scale.item())

    @exponent.setter
    def exponent(self, exponent: int) -> None:
        with torch.no_grad():
            self.log_scale.fill_(exponent)

    @property
    def scale(self) -> Tensor:
        # round(t) + t - t, not t + round(t) - t: the sum is round(t) itself, and the scale a power of two.
        return torch.exp2(torch.round(self.log_scale) + (self.log_scale - self.log_scale.detach()))

    @property
    def zero(self) -> Tensor:
        element = self.grid.element
        return torch.clamp(self.zero_point * (self.start / self.scale.detach()), element.min, element.max)

    def harden(self) -> None:
        self.exponent = self.exponent

    def final(self) -> Grid:
        return Grid(self.grid.element, Scale((self.exponent,), True), (round(self.zero.item()),), axis=self.grid.axis)


class PowerOfTwoWeight(WeightQuantizer):
    """The weights of a layer with a power of two for each channel: first their exponents are trained, then roundings.

    weight       float32 (O, ...)
    grid         the best grid with real scales; with powers of two its exponents are settled from the start
    regulariser  of the roundings; that of the exponents is ten times as strong
    Exact:       exponents: w^ = s * clip(round(w / s), low, high), s = 2**(floor(log2(s_start)) + h(u))
                 settled: s = 2**(floor(log2(s_start)) + [u >= 0]),  w^ = s * clip(floor(w / s) + h(v), low, high)
                 h(v) = clip(1.2 sigmoid(v) - 0.1, 0, 1)
                 low = min - z, high = max - z, z = round(z_start * s_start / s)
                 h(u) = frac(log2(s_start)) at the start, and h(v) = frac(w / s) when the exponents are settled
    Regulariser: weight * indecision
    Source:      RAPQ (Yao et al. 2022), corrected as methods.md 2.7 says. Ours: while scales move, weights are rounded
                 to nearest with LSQ's gradient, because v belongs to one scale; and z is that of signed codes, so that
                 the middle of the grid stays where it is, not its least value: half of the error at 4 bits.
    """

    rates = {"exponent_choice": "weight_exponent", "choice": "rounding"}

    def __init__(self, weight: NDArray[np.float32], grid: Grid, regulariser: float):
        super().__init__(weight, grid)
        del self.log_scale  # exponents take its place
        self.regulariser = regulariser
        self.register_buffer("weight", as_tensor(weight), persistent=False)
        exponent = torch.log2(self.start)
        self.register_buffer("exponent", torch.floor(exponent))
        self.register_buffer("settled", torch.zeros((), dtype=torch.bool))
        self.exponent_choice = nn.Parameter(choice_of(exponent - self.exponent))
        self.choice = nn.Parameter(torch.zeros_like(self.weight))
        if grid.scale.power_of_two:
            self.harden()

    weight: Tensor
    exponent: Tensor
    settled: Tensor

    @property
    def hard(self) -> bool:
        """Whether every weight has its code."""
        return bool(self.choice.isinf().all())

    @property
    def scale(self) -> Tensor:
        return torch.exp2(self.exponent if self.settled else self.exponent + soft(self.exponent_choice))

    def bounds(self, scale: Tensor) -> tuple[Tensor, Tensor]:
        """Levels of the least and the greatest code."""
        element = self.grid.element
        zero = (element.min - self.low) * (self.start / scale)
        zero = round_through(torch.clamp(zero, element.min, element.max))
        return element.min - zero, element.max - zero

    def forward(self) -> Tensor:
        scale = self.scale
        low, high = self.bounds(scale)
        if not self.settled:
            result: Tensor = FakeQuantize.apply(self.weight, scale, low, high)
            return result
        return torch.clamp(torch.floor(self.weight / scale) + soft(self.choice), low, high) * scale

    def penalty(self, progress: float) -> Tensor | None:
        weight, choice = (1, self.choice) if self.settled else (10, self.exponent_choice)
        push = indecision(choice, progress)
        return None if push is None else weight * self.regulariser * push

    def advance(self, progress: float) -> None:
        if self.settled:
            harden_surest(self.choice, progress)

    def harden(self) -> None:
        """Settle the exponents, or, if they are, the roundings."""
        if self.settled:
            harden_surest(self.choice, 1)
            return
        with torch.no_grad():
            self.exponent += self.exponent_choice >= 0
            self.settled.fill_(True)
            ratio = self.weight / self.scale
            self.choice.copy_(choice_of(ratio - torch.floor(ratio)))

    def levels(self) -> Tensor:
        low, high = self.bounds(self.scale)
        return torch.clamp(torch.floor(self.weight / self.scale) + (self.choice >= 0), low, high).detach()

    def final(self) -> Value:
        element, levels = self.grid.element, self.levels().double().numpy()
        low, _ = self.bounds(self.scale)
        zeros = element.min - low.double().numpy()
        scale = Scale(tuple(int(e) for e in self.exponent.ravel()), True)
        grid = Grid(element, scale, tuple(int(z) for z in zeros.ravel()) if zeros.any() else (0,), axis=0)
        return Value(TensorType(grid, levels.shape), (levels + zeros).astype(element.storage))
