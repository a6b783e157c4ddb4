"""Quantizers as torch custom operators: capture keeps each as one node, training passes a gradient through them.

Activations go through `fake_quantize` (uniform) or `threshold_quantize` (learned thresholds), weights through
`fake_quantize` or `odd_quantize` (the grid without zero). All of them return real values, codes times a scale.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

SMALLEST_INTERVAL = 1e-3
"""Learned intervals are not narrower, so thresholds ascend and slopes stay finite."""
AT_ONCE = 1 << 18
"""Elements that a backward pass works on at a time: few enough for the cache, 2 times faster than all of them."""

# --- uniform --------------------------------------------------------------------------------------------------------


@torch.library.custom_op("intsim::fake_quantize", mutates_args=())
def fake_quantize(x: Tensor, scale: Tensor, zero_point: int, low: int, high: int) -> Tensor:
    """Round a tensor to a grid and back.

    x           float (N, ...)
    scale       float (), positive; or (N,), one for each entry of the first axis, such as a weight's output channels
    zero_point  the code of real zero
    low, high   smallest and largest code
    Exact:      (clip(round(x / scale) + zero_point, low, high) - zero_point) * scale, ties to even
    Gradient:   straight through between the bounds; for the scale that of LSQ (Esser et al. 2020), without its factor
    """
    step = _rows(scale, x)
    return torch.round(x / step).clamp_(low - zero_point, high - zero_point).mul_(step)


@fake_quantize.register_fake
def _shape(x: Tensor, scale: Tensor, zero_point: int, low: int, high: int) -> Tensor:
    return torch.empty_like(x)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, scale, zero_point, low, high = inputs
    ctx.low, ctx.high = low - zero_point, high - zero_point
    ctx.save_for_backward(x, scale)


def _backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
    x, scale = ctx.saved_tensors
    level = x / _rows(scale, x)
    rounded = torch.round(level)
    clipped = rounded.clamp(ctx.low, ctx.high)
    inside = torch.eq(rounded, clipped, out=rounded)  # as numbers: comparing and casting in one pass
    by_scale = clipped.sub_(level.mul_(inside)).mul_(gradient)
    by_scale = by_scale.sum() if scale.numel() == 1 else by_scale.flatten(1).sum(1)
    return gradient * inside, by_scale.reshape(scale.shape), None, None, None


fake_quantize.register_autograd(_backward, setup_context=_remember)


def _rows(scale: Tensor, x: Tensor) -> Tensor:
    """A scale, shaped to broadcast along the first axis of x where it has more than one entry."""
    return scale.reshape(()) if scale.numel() == 1 else scale.reshape(-1, *[1] * (x.ndim - 1))


# --- learned thresholds ---------------------------------------------------------------------------------------------


def borders_of(start: Tensor, intervals: Tensor) -> Tensor:
    """Ends of the segments, (L + 1,): d_0 = start, d_i = d_(i-1) + a_i, a_i no less than SMALLEST_INTERVAL."""
    return start + F.pad(intervals.clamp_min(SMALLEST_INTERVAL).cumsum(0), (1, 0))


def thresholds_of(start: Tensor, intervals: Tensor) -> Tensor:
    """Midpoints of the segments, (L,) ascending: T_i = d_(i-1) + a_i / 2."""
    return borders_of(start, intervals)[:-1] + intervals.clamp_min(SMALLEST_INTERVAL) / 2


@torch.library.custom_op("intsim::threshold_quantize", mutates_args=())
def threshold_quantize(x: Tensor, start: Tensor, intervals: Tensor, step: Tensor, zero_point: int = 0) -> Tensor:
    """Count the learned thresholds that each value exceeds.

    x          float (N, ...)
    start      float (), where the first segment begins
    intervals  float (L,), widths of the segments, in the middle of which the thresholds lie
    step       float (), positive: what one more threshold adds to the result
    zero_point the count that stands for real zero
    Exact:     step * (#{i : x > T_i} - zero_point), T = thresholds_of(start, intervals)
    Gradient:  G-STE, that of the expectation of stochastic rounding: step * (i - 1 + (x - d_(i-1)) / a_i) in segment
               i, but for what is constant, and constant outside; for `step` that of the counted value. An interval at
               its least width learns to grow, though not to shrink.
    Source:    Liu et al. 2022 (N2UQ), arXiv 2111.14826, section 3.2
    """
    count, exceeds = torch.zeros_like(x), torch.empty_like(x)
    for threshold in thresholds_of(start, intervals):
        count += torch.gt(x, threshold, out=exceeds)
    return count.sub_(zero_point).mul_(step)


@threshold_quantize.register_fake
def _threshold_shape(x: Tensor, start: Tensor, intervals: Tensor, step: Tensor, zero_point: int = 0) -> Tensor:
    return torch.empty_like(x)


def _threshold_remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    *tensors, _ = inputs
    ctx.save_for_backward(*tensors, output)


def _threshold_backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, None]:
    x, start, intervals, step, result = ctx.saved_tensors
    widths, borders = intervals.clamp_min(SMALLEST_INTERVAL), borders_of(start, intervals)
    slopes = step / widths
    rises = torch.diff(F.pad(slopes, (1, 1)))  # how much the slope changes at each border
    by_x = torch.empty_like(x)
    # Sums of the gradient and of gradient times x over all that lies beyond each border.
    beyond, beyond_x = torch.zeros_like(borders), torch.zeros_like(borders)
    by_step = torch.zeros_like(step)
    for xs, gs, by_xs, results in zip(*(_flat(t, x).split(AT_ONCE) for t in (x, gradient, by_x, result)), strict=True):
        gx, exceeds, slope = gs * xs, torch.empty_like(xs), torch.zeros_like(xs)
        for i, border in enumerate(borders):
            torch.gt(xs, border, out=exceeds)
            beyond[i] += exceeds.dot(gs)
            beyond_x[i] += exceeds.dot(gx)
            slope.addcmul_(exceeds, rises[i])
        torch.mul(slope, gs, out=by_xs)
        by_step += results.dot(gs) / step
    inside = beyond[:-1] - beyond[1:]
    offsets = beyond_x[:-1] - beyond_x[1:] - borders[:-1] * inside  # sums of gradient * (x - d_(i-1)) in each segment
    shifted = slopes * inside
    later = shifted.flip(0).cumsum(0).flip(0) - shifted  # of all the segments that a wider interval moves
    by_intervals = -(slopes * offsets / widths + later)
    stuck = (intervals <= SMALLEST_INTERVAL) & (by_intervals > 0)
    return by_x, -shifted.sum().reshape(start.shape), by_intervals.masked_fill(stuck, 0.0), by_step, None


threshold_quantize.register_autograd(_threshold_backward, setup_context=_threshold_remember)


def _flat(tensor: Tensor, like: Tensor) -> Tensor:
    """All elements in the order in which `like` has them in memory; without a copy where `tensor` has that order."""
    if like.ndim == 4 and like.is_contiguous(memory_format=torch.channels_last):
        return tensor.permute(0, 2, 3, 1).reshape(-1)
    return tensor.reshape(-1)


# --- weights without zero -------------------------------------------------------------------------------------------


@torch.library.custom_op("intsim::odd_quantize", mutates_args=())
def odd_quantize(weight: Tensor, reach: Tensor, bits: int) -> Tensor:
    """Round weights to the odd multiples of a scale, per output channel: 2 bits have the levels -3, -1, 1, 3.

    weight    float (O, ...)
    reach     float (O,), positive: the largest value of each channel's grid
    Exact:    reach * (2 * m / N - 1), m = round((clip(weight / reach, -1, 1) + 1) * N / 2), N = 2**bits - 1
    Gradient: straight through, beyond the reach too, so that clipped weights can come back; none for the reach
    Source:   Liu et al. 2022 (N2UQ), section 3.3
    """
    largest = 2**bits - 1
    reach = _rows(reach, weight)
    steps = torch.round(((weight / reach).clamp_(-1, 1) + 1) * (largest / 2))
    return steps.mul_(2 / largest).sub_(1).mul_(reach)


@odd_quantize.register_fake
def _odd_shape(weight: Tensor, reach: Tensor, bits: int) -> Tensor:
    return torch.empty_like(weight)


def _odd_backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
    return gradient, None, None


odd_quantize.register_autograd(_odd_backward)
