"""Quantizers with parameters: straight through roundings, while clamps have their ordinary gradient.

Parameters are in units of the grid that they start from: weights and biases in quantization steps, scales as factors
2.72**parameter. So one learning rate fits all layers and widths.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from intsim.calibrate.choices import choice_of, harden_surest, indecision, soft
from intsim.frontend.execute import as_tensor
from intsim.ir.types import Grid, Scale, TensorType, Value

AT_ONCE = 1 << 17
"""Elements that are worked on at a time: few enough for the cache, 2 to 3 times faster than all of them."""


class FakeQuantize(torch.autograd.Function):
    """Round to a grid and back: s * clip(round(x / s), low, high), with levels low..high.

    x          float32, any shape
    scale      float32 (), or shaped to broadcast over x
    low, high  float, or float32 shaped like the scale
    Gradient:  x: 1 inside, 0 where clipped;  s: round(x / s) - x / s inside, low or high where clipped;
               low and high: s where it clips
    Source:    LSQ (Esser et al. 2020); its factor is left to the learning rate
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor, low: Tensor, high: Tensor) -> Tensor:
        x = x.contiguous()
        ctx.save_for_backward(x, scale, low, high)
        result = torch.empty_like(x)
        for to, part in _blocks(scale, result, x):
            torch.div(part, scale, out=to).round_().clamp_(low, high).mul_(scale)
        return result

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, scale, low, high = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        passed = torch.empty_like(x)
        by_scale, by_low, by_high = (torch.zeros_like(like) for like in (scale, low, high))
        for to, part, above in _blocks(scale, passed, x, gradient):
            ratio = part / scale
            rounded = torch.round(ratio)
            level = torch.clamp(rounded, low, high)
            inside = torch.eq(rounded, level, out=rounded)  # as numbers: comparing and casting in one pass
            torch.mul(above, inside, out=to)
            if ctx.needs_input_grad[1]:
                by_scale += _dot_to(above, level, scale) - _dot_to(to, ratio, scale)
            if ctx.needs_input_grad[2]:
                clipped = torch.sub(above, to, out=ratio)
                by_low += _dot_to(clipped, torch.eq(level, low, out=rounded), scale)
                by_high += _dot_to(clipped, torch.eq(level, high, out=rounded), scale)
        return passed, by_scale, by_low * scale, by_high * scale


def _blocks(scale: Tensor, *tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Contiguous tensors of one shape, some elements at a time; whole where the scale differs among elements."""
    if scale.numel() > 1:
        return iter([tensors])
    flat = (*scale.shape[:-1], -1)  # with the scale's axes, all of one: a result has the shape of `to`
    return zip(*(tensor.view(flat).split(AT_ONCE, dim=-1) for tensor in tensors), strict=True)


def _dot_to(a: Tensor, b: Tensor, like: Tensor) -> Tensor:
    """The sum of a * b over every axis along which `like` broadcasts."""
    if like.numel() == 1:
        return torch.dot(a.reshape(-1), b.reshape(-1)).reshape(like.shape)
    return (a * b).sum_to_size(like.shape)


def round_through(x: Tensor) -> Tensor:
    """round(x), ties to even, with the gradient of x."""
    return x + (torch.round(x) - x).detach()


class Trainable(nn.Module):
    """A quantizer that training adjusts.

    rates  for every parameter the kind of learning rate that it wants: weight, weight_scale, bias, act_scale, ..
    """

    rates: dict[str, str]

    @property
    def hard(self) -> bool:
        """Whether nothing soft is left that `harden` has to make final."""
        return True

    def grouped(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Its trainable parameters with their kinds."""
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                yield self.rates[name], parameter

    def penalty(self, progress: float) -> Tensor | None:
        """What the loss gets added at `progress` (0..1) through the unit's iterations."""
        return None

    def advance(self, progress: float) -> None:
        """What changes by itself at `progress` (0..1) through the unit's iterations."""

    def harden(self) -> None:
        """Make final what is soft, once no later unit trains it."""


class ActivationQuantizer(Trainable):
    """One scale for the tensor, and an integer zero point that is trained where the grid is not anchored at 0.

    A grid whose scale is a power of two stays as it is.
    """

    rates = {"log_scale": "act_scale", "zero_point": "act_zero_point"}

    def __init__(self, grid: Grid, trained: bool):
        super().__init__()
        trained = trained and self.trains(grid)
        self.grid = grid
        self.start = float(grid.scale.array[0])
        moves = trained and grid.zero_point[0] != grid.element.min and not grid.element.signed
        self.log_scale = nn.Parameter(torch.zeros(()), requires_grad=trained)
        self.zero_point = nn.Parameter(torch.tensor(float(grid.zero_point[0])), requires_grad=moves)

    @classmethod
    def trains(cls, grid: Grid) -> bool:
        """Whether it can adjust this grid."""
        return not grid.scale.power_of_two

    @property
    def trained(self) -> bool:
        return self.log_scale.requires_grad

    @property
    def scale(self) -> Tensor:
        return self.start * torch.exp(self.log_scale)

    @property
    def zero(self) -> Tensor:
        """The zero point, not rounded yet."""
        return torch.clamp(self.zero_point, self.grid.element.min, self.grid.element.max)

    def forward(self, x: Tensor) -> Tensor:
        element = self.grid.element
        zero = round_through(self.zero)
        result: Tensor = FakeQuantize.apply(x, self.scale, element.min - zero, element.max - zero)
        return result

    def final(self) -> Grid:
        """The grid as it is now."""
        if not self.trained:
            return self.grid
        zero = round(self.zero.item())
        return Grid(self.grid.element, Scale.of(self.scale.item()), (zero,), axis=self.grid.axis)


class WeightQuantizer(Trainable):
    """The weights of a layer: `forward` gives them as reals on the grid, `final` as codes.

    weight  float32 (O, ...), the float network's
    grid    where scales and zero points start; zero points stay
    """

    def __init__(self, weight: NDArray[np.float32], grid: Grid):
        super().__init__()
        self.grid = grid
        shape = (-1, *(1 for _ in weight.shape[1:]))
        self.register_buffer("start", as_tensor(grid.scale.array).float().reshape(shape), persistent=False)
        zero = torch.tensor(grid.zero_point, dtype=torch.float32).reshape(shape)
        self.register_buffer("low", grid.element.min - zero, persistent=False)
        self.register_buffer("high", grid.element.max - zero, persistent=False)
        trained = not grid.scale.power_of_two
        self.log_scale = nn.Parameter(torch.zeros_like(self.start), requires_grad=trained)

    start: Tensor
    low: Tensor
    high: Tensor

    @property
    def scale(self) -> Tensor:
        """float32 (O, 1, ..) or (1, 1, ..)."""
        return self.start * torch.exp(self.log_scale)

    def forward(self) -> Tensor:
        raise NotImplementedError

    def levels(self) -> Tensor:
        """Integers low..high, as the hardened weights have them."""
        raise NotImplementedError

    def final(self) -> Value:
        """The codes as they are now."""
        levels = self.levels().double().numpy().round()
        zeros = self.grid.element.min - self.low.double().numpy()
        scale = self.grid.scale if self.grid.scale.power_of_two else Scale.of(self.scale.detach().numpy().ravel())
        grid = Grid(self.grid.element, scale, self.grid.zero_point, axis=0)
        return Value(TensorType(grid, levels.shape), (levels + zeros).astype(self.grid.element.storage))


class FreeWeight(WeightQuantizer):
    """AdaQuant: the weights themselves move, by any number of steps, and are rounded to nearest.

    Exact:   w^ = s * clip(round((w + v) / s), low, high); the parameter is (w + v) / s_start
    Source:  Hubara et al. 2021 (AdaQuant), methods.md 3.2
    """

    rates = {"steps": "weight", "log_scale": "weight_scale"}

    def __init__(self, weight: NDArray[np.float32], grid: Grid):
        super().__init__(weight, grid)
        self.steps = nn.Parameter(as_tensor(weight) / self.start)

    def forward(self) -> Tensor:
        result: Tensor = FakeQuantize.apply(self.steps, torch.exp(self.log_scale), self.low, self.high)
        return result * self.start

    def harden(self) -> None:
        """Into the middle of the cells: training leaves many weights at an edge, where the next step flips all."""
        with torch.no_grad():
            self.steps.copy_(self.levels() * torch.exp(self.log_scale))

    def levels(self) -> Tensor:
        return torch.clamp(torch.round(self.steps / torch.exp(self.log_scale)), self.low, self.high).detach()


class SoftRounding(WeightQuantizer):
    """AdaRound: every weight goes to one of its two neighbours on the grid; which one is learnt, softly at first.

    Exact:       w^ = s * clip(floor(w / s_start) + h(v), low, high), h(v) = clip(1.2 sigmoid(v) - 0.1, 0, 1),
                 h = frac(w / s_start) at the start; hard: 1 where v >= 0, else 0
    Regulariser: weight * indecision; and the surest choices become hard on the way (harden_surest)
    Source:      Nagel et al. 2020 (AdaRound), as BRECQ has it: methods.md 0.2; that s moves too is ours
    """

    rates = {"choice": "rounding", "log_scale": "weight_scale"}

    def __init__(self, weight: NDArray[np.float32], grid: Grid, regulariser: float):
        super().__init__(weight, grid)
        self.regulariser = regulariser
        ratio = as_tensor(weight) / self.start
        self.register_buffer("floor", torch.floor(ratio), persistent=False)
        self.choice = nn.Parameter(choice_of(ratio - self.floor))

    floor: Tensor

    def forward(self) -> Tensor:
        return torch.clamp(self.floor + soft(self.choice), self.low, self.high) * self.scale

    def penalty(self, progress: float) -> Tensor | None:
        push = indecision(self.choice, progress)
        return None if push is None else self.regulariser * push

    def advance(self, progress: float) -> None:
        harden_surest(self.choice, progress)

    def harden(self) -> None:
        harden_surest(self.choice, 1)

    def levels(self) -> Tensor:
        return torch.clamp(self.floor + (self.choice >= 0), self.low, self.high).detach()


class Bias(Trainable):
    """A bias, in steps of what rounding its layer's inputs and weights does to a result; on the accumulator's grid.

    It moves with the weights, so that they change what a layer makes of its inputs' deviations from their mean, and the
    mean result not at all. Inputs behind a ReLU have means larger than their deviations: there every weight that goes
    to another code would shift a whole channel, faster than a bias trained by itself can follow.

    bias    float32 (O,)
    inputs  that one output reads: channels of its group
    Exact:  b^ = a * round((b + noise * steps - sum_i mean_i (w_i - reference_i)) / a), w_i the sum of an input
            channel's weights, a = s_x * s_w the accumulator's step, which gets no gradient
    """

    rates = {"steps": "bias"}

    def __init__(self, bias: NDArray[np.float32], inputs: int):
        super().__init__()
        self.register_buffer("start", as_tensor(bias).clone())  # the graph keeps its own
        self.register_buffer("noise", torch.ones_like(self.start))
        self.register_buffer("mean", torch.zeros(len(bias), inputs))
        self.register_buffer("reference", torch.zeros(len(bias), inputs))
        self.steps = nn.Parameter(torch.zeros_like(self.start))

    start: Tensor
    noise: Tensor
    mean: Tensor
    reference: Tensor

    def real(self, weight: Tensor) -> Tensor:
        """float32 (O,), where the layer has these weights (O, I, ..)."""
        moved = ((_by_input(weight) - self.reference) * self.mean).sum(1)
        return self.start + self.noise * self.steps - moved

    def begin(self, shift: Tensor, noise: Tensor, weight: Tensor, mean: Tensor) -> None:
        """Train from here: the bias of now and `shift` (O,), in steps of `noise` (O,).

        weight, mean  the layer's weights of now (O, I, ..), and the means of what each output reads (O, I)
        """
        with torch.no_grad():
            self.start.copy_(self.real(weight) + shift)
            self.noise.copy_(noise.clamp(min=float(noise.max()) * 1e-3))
            self.reference.copy_(_by_input(weight))
            self.mean.copy_(mean)
            self.steps.zero_()

    def forward(self, step: Tensor, weight: Tensor) -> Tensor:
        step = step.detach().reshape(-1)
        return round_through(self.real(weight) / step) * step

    def final(self, weight: Tensor) -> NDArray[np.float64]:
        return self.real(weight).detach().double().numpy()


def _by_input(weight: Tensor) -> Tensor:
    """Weights (O, I, ..) added up over the positions of a filter, (O, I)."""
    return weight.reshape(*weight.shape[:2], -1).sum(2)
