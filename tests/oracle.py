"""What operators and float chains mean, in exact fractions and one Python float at a time: slow, and nobody's code.

Shared with the project are only the dataclasses, and what a sigmoid is.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from types import SimpleNamespace
from typing import Any

import numpy as np

from intsim.ir.functions import evaluate_function
from tests.arithmetic.rational import RATIONAL


def bits(*values: int) -> int:
    """Width of a signed register for these values."""
    return 1 + max((v if v >= 0 else ~v).bit_length() for v in map(int, values))


def pick(values: Any, channel: int) -> Any:
    """The entry, or the row, of a channel among one for each, or the only one."""
    values = np.atleast_1d(values)
    return values[channel if len(values) > 1 else 0].tolist()


def levels(value: Any) -> Any:
    """step * code - zero point of a constant, int64."""
    grid = value.type.grid
    return grid.step * value.codes.astype(np.int64) - np.reshape(grid.zero_point, (-1, *[1] * (value.codes.ndim - 1)))


def to_code(value: float | Fraction, rule: Any, zero_point: int, low: int, high: int) -> int:
    """Rounds by rule.rounding and clamps, the zero point added before or after as rule.zero_point_first says."""
    before, after = (zero_point, 0) if getattr(rule, "zero_point_first", False) else (0, zero_point)
    return min(max(RATIONAL[rule.rounding](Fraction(value + before)) + after, low), high)


def float_code(chain: Any, channel: int, level: int, divisor: float | None = None) -> int:
    """The code that a chain of one source gives a level; `divisor` stands for a map of divisors, one for each pixel."""
    value: Any = float(level)
    for step in chain.steps:
        match type(step).__name__:
            case "Terms":
                value = pick(step.coefficients[0], channel) * value
            case "Multiply":
                value = value * pick(step.factor, channel)
            case "Divide":
                value = value / (pick(step.divisor, channel) if divisor is None else divisor)
            case "Offset":
                value = value + pick(step.offset, channel)
            case "Clamp":
                value = min(max(value, step.low), step.high)
            case "PRelu":
                value = value if value >= 0 else value * pick(step.slope, channel)
            case "Function":
                value = float(evaluate_function(step.name, np.asarray(value)))
            case "ToCodes":
                value = to_code(value, step, step.zero_point, step.low, step.high)
            case "CountThresholds":
                value = step.low + sum(value > t if step.strict else value >= t for t in step.thresholds.tolist())
    return int(value)


def integer_code(op: Any, parameters: list[Any], channel: int, level: int, place: int = 0, count: int = 1) -> int:
    """The code that a rescaling operator gives a level, the `place`th of its type, or a sum that is divided by `count`.

    parameters  levels of the operator's constants
    """
    if op.mnemonic == "table":
        return int(parameters[0][place])
    if op.mnemonic == "threshold":
        row, base, strict, falls = (pick(parameter, channel) for parameter in parameters)
        reached = [
            (level < t if strict else level <= t) if falls else (level > t if strict else level >= t) for t in row
        ]
        return int(base + sum(reached))
    *multiplier, shift = parameters or (op.multiplier, op.shift)
    value = Fraction(level * (pick(multiplier[0], channel) if multiplier else 1), count) / Fraction(2) ** pick(
        shift, channel
    )
    code = to_code(value, op, op.out.zero_point[0], op.out.element.min, op.out.element.max)
    low, high = bounds(op)
    return min(max(code, low), high)


def bounds(op: Any) -> tuple[int, int]:
    """Least and greatest code that a rescaling operator emits."""
    low, high = getattr(op, "low", None), getattr(op, "high", None)
    return op.out.element.min if low is None else low, op.out.element.max if high is None else high


def convolve(op: Any, image: Any, weight: Any) -> Any:
    """Sums of products (O, H', W') of a padded image (C, H, W) and weights (O, C / groups, KH, KW)."""
    (rows, columns), (down, right), groups = op.dilation, op.stride, op.groups
    extent = (weight.shape[2] - 1) * rows + 1, (weight.shape[3] - 1) * columns + 1
    view = np.lib.stride_tricks.sliding_window_view(image, extent, (1, 2))[:, ::down, ::right, ::rows, ::columns]
    view, weight = (a.reshape(groups, len(a) // groups, *a.shape[1:]) for a in (view, weight))
    return np.einsum("gchwij,gocij->gohw", view, weight).reshape(-1, *view.shape[2:4])


def extremes(op: Any, x: Any, ends: Any, weight: Any, bias: Any) -> list[Any]:
    """Least and greatest accumulator of every output pixel, and of any sum of some of its terms: four of (O, H', W').

    x, ends  type of the input; its least and greatest level in each channel
    bias     levels (O,)
    """
    low, high = (end[:, None, None] for end in ends)
    assert np.abs([*low.flat, *high.flat]).max() * np.abs(weight).max() * weight[0].size < 1 << 62
    if op.mnemonic == "conv2d":
        pad = 0 if op.pad_code is None else x.grid.step * op.pad_code - np.reshape(x.grid.zero_point, (-1, 1, 1))
        inside = np.pad(np.ones(x.shape[2:], bool), (op.padding[:2], op.padding[2:]))
        low, high = np.where(inside, low, pad), np.where(inside, high, pad)
    else:
        op, weight = SimpleNamespace(stride=(1, 1), dilation=(1, 1), groups=1), weight[..., None, None]
        low, high = low[:1].repeat(weight.shape[1], 0), high[:1].repeat(weight.shape[1], 0)
    up, down, start = np.maximum(weight, 0), np.minimum(weight, 0), bias[:, None, None]
    negative, positive = np.minimum(low, 0), np.maximum(high, 0)
    return [
        convolve(op, low, up) + convolve(op, high, down) + start,
        convolve(op, high, up) + convolve(op, low, down) + start,
        convolve(op, negative, up) + convolve(op, positive, down) + np.minimum(start, 0),
        convolve(op, positive, up) + convolve(op, negative, down) + np.maximum(start, 0),
    ]


def window_kinds(op: Any, x: Any, chain: Any) -> set[tuple[int, int, float]]:
    """(cells inside the image, count that divides, what the chain divides by) of every window of an average pool."""
    rows, columns = op.windows(x)
    windows = [((b - a) * (d - c), m * n) for (a, b, m), (c, d, n) in product(rows, columns)]
    (divisor,) = (step.divisor for step in chain.steps if type(step).__name__ == "Divide")
    divisors = np.broadcast_to(divisor, (len(rows), len(columns))).ravel().tolist()
    return {(inside, count, by) for (inside, count), by in zip(windows, divisors, strict=True)}
