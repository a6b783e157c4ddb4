"""Quantizers as operators: their codes by definition, their gradients against autograd of what they stand for."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from intsim.frontend.quantizers import (
    SMALLEST_INTERVAL,
    borders_of,
    fake_quantize,
    odd_quantize,
    threshold_quantize,
    thresholds_of,
)


def double(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64, requires_grad=True)


def expectation(x: Tensor, start: Tensor, intervals: Tensor, step: Tensor) -> Tensor:
    """What rounding to a neighbour at random gives on average (N2UQ, equation 5), for autograd."""
    ends = torch.cat([start.reshape(1), start + intervals.cumsum(0)])
    shares = [((x - low) / width).clamp(0, 1) for low, width in zip(ends, intervals, strict=False)]
    return step * torch.stack(shares).sum(0)


def test_a_code_counts_the_thresholds_that_are_exceeded_and_ties_do_not_count() -> None:
    start, intervals = torch.tensor(-0.5), torch.tensor([1.0, 0.5, 2.0])
    thresholds = thresholds_of(start, intervals)
    assert thresholds.tolist() == [0.0, 0.75, 2.0]  # midpoints of -0.5..0.5..1..3
    just_above = torch.nextafter(thresholds, torch.tensor(torch.inf))
    x = torch.cat([thresholds, just_above, torch.tensor([-9.0, 9.0])])
    codes = threshold_quantize(x, start, intervals, torch.tensor(1.0))
    assert codes.tolist() == [0, 1, 2, 1, 2, 3, 0, 3]
    assert codes.tolist() == [float((v > thresholds).sum()) for v in x]
    around_zero = threshold_quantize(x, start, intervals, torch.tensor(0.5), 2)
    assert around_zero.tolist() == [(code - 2) / 2 for code in codes.tolist()]


@pytest.mark.parametrize("shape", [(5000,), (3, 4, 20, 21)])
@pytest.mark.parametrize(("levels", "zero_point"), [(1, 0), (3, 2), (7, 0)])
def test_gste_is_the_gradient_of_the_expectation(shape: tuple[int, ...], levels: int, zero_point: int) -> None:
    torch.manual_seed(levels)
    x = torch.randn(shape, dtype=torch.float64).requires_grad_()
    weights = torch.randn(shape, dtype=torch.float64)
    start, step = double(-0.7)[0].detach().requires_grad_(), double(0.9)[0].detach().requires_grad_()
    intervals = torch.rand(levels, dtype=torch.float64).add(0.1).requires_grad_()
    result = threshold_quantize(x, start, intervals, step, zero_point)
    got = torch.autograd.grad((result * weights).sum(), (x, start, intervals, step))
    smooth = expectation(x, start, intervals, step)
    expected = torch.autograd.grad((smooth * weights).sum(), (x, start, intervals))
    for mine, theirs in zip(got, expected, strict=False):
        torch.testing.assert_close(mine, theirs)
    torch.testing.assert_close(got[3], (result / step * weights).sum())  # of the step: the counted value's


def test_images_in_memory_channel_by_channel_or_pixel_by_pixel_have_one_gradient() -> None:
    torch.manual_seed(0)
    image, weights = torch.randn(2, 3, 5, 7), torch.randn(2, 3, 5, 7)
    gradients = []
    for layout in (torch.contiguous_format, torch.channels_last):
        x = image.clone(memory_format=layout).requires_grad_()
        intervals = torch.tensor([0.3, 0.9], requires_grad=True)
        result = threshold_quantize(x, torch.tensor(0.0), intervals, torch.tensor(0.5))
        gradients.append(torch.autograd.grad((result * weights).sum(), (x, intervals)))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_an_interval_at_its_floor_may_grow_but_not_shrink() -> None:
    intervals = torch.tensor([0.5, 1e-5, 0.5], requires_grad=True)
    start, step = torch.tensor(0.0), torch.tensor(1.0)
    assert (borders_of(start, intervals).diff() >= SMALLEST_INTERVAL * 0.999).all()
    x = torch.full((4,), 0.8)  # in the third segment: a wider second interval lowers the expectation

    def gradient(sign: float) -> float:
        result = threshold_quantize(x, start, intervals, step)
        return float(torch.autograd.grad(sign * result.sum(), intervals)[0][1])

    assert gradient(1.0) < 0  # descent widens it
    assert gradient(-1.0) == 0.0  # descent would narrow it further


@pytest.mark.parametrize("bits", [1, 2, 3, 4])
def test_odd_weights_are_the_nearest_odd_multiples(bits: int) -> None:
    torch.manual_seed(bits)
    largest = 2**bits - 1
    weight, reach = torch.randn(4, 50, dtype=torch.float64), torch.tensor([0.5, 1.0, 2.0, 4.0], dtype=torch.float64)
    result = odd_quantize(weight, reach, bits)
    scale = (reach / largest)[:, None]
    levels = torch.arange(-largest, largest + 1, 2, dtype=torch.float64)
    nearest = levels[((weight / scale)[..., None] - levels).abs().argmin(-1)] * scale
    torch.testing.assert_close(result, nearest)


def test_odd_weights_pass_the_gradient_straight_through() -> None:
    weight = torch.randn(3, 5, requires_grad=True)
    (got,) = torch.autograd.grad(odd_quantize(weight, torch.full((3,), 0.1), 2).sum(), weight)
    assert (got == 1).all()


@pytest.mark.parametrize("per_row", [False, True])
def test_uniform_gradients_are_those_of_lsq(per_row: bool) -> None:
    """Against autograd of the formula with the rounding replaced by its constant offset."""
    torch.manual_seed(0)
    x = torch.randn(4, 100, dtype=torch.float64).requires_grad_()
    scale = torch.rand(4 if per_row else 1, dtype=torch.float64).add(0.2).requires_grad_()
    weights = torch.randn(4, 100, dtype=torch.float64)
    got = torch.autograd.grad((fake_quantize(x, scale, 1, -2, 3) * weights).sum(), (x, scale))
    level = x / scale[:, None]
    rounded = level + (level.round() - level).detach()
    reference = rounded.clamp(-3, 2) * scale[:, None]
    expected = torch.autograd.grad((reference * weights).sum(), (x, scale))
    # A level that rounds onto the last code counts as inside, as in LSQ's own formula.
    for mine, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_uniform_codes_per_row() -> None:
    x = np.random.default_rng(0).normal(size=(3, 20))
    scale = np.array([0.1, 0.3, 1.0])
    expected = (np.clip(np.rint(x / scale[:, None]) + 1, 0, 7) - 1) * scale[:, None]
    result = fake_quantize(torch.from_numpy(x), torch.from_numpy(scale), 1, 0, 7)
    np.testing.assert_allclose(result.numpy(), expected, rtol=1e-15)
