"""Trainable quantizers: gradients against closed forms and against autograd, hardening, and what becomes of them."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from intsim.calibrate.choices import HARD_AT, harden_surest
from intsim.calibrate.trainable import ActivationQuantizer, Bias, FakeQuantize, FreeWeight, SoftRounding, round_through
from intsim.dtypes import IntType
from intsim.ir.types import Grid, Scale

U4, S3 = IntType(False, 4), IntType(True, 3)


def plain_fake_quantize(x: torch.Tensor, s: torch.Tensor, low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
    """The same formula operation by operation, with straight-through rounding, for autograd to differentiate."""
    return torch.maximum(torch.minimum(round_through(x / s), high), low) * s


@given(st.integers(0, 10_000), st.sampled_from([(), (5, 1)]))
def test_gradients_are_those_of_the_formula(seed: int, shape: tuple[int, ...]) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(5, 40, generator=generator)
    s = torch.rand(shape, generator=generator) * 0.4 + 0.05
    low, high = torch.full(shape, -3.0), torch.full(shape, 4.0)
    weights = torch.randn(5, 40, generator=generator)
    results = []
    for function in (FakeQuantize.apply, plain_fake_quantize):
        leaves = [t.clone().requires_grad_() for t in (x, s, low, high)]
        y = function(*leaves)
        gradients = torch.autograd.grad((y * weights).sum(), leaves)
        results.append((y, *gradients))
    ours, theirs = results
    # At a bound, torch.maximum halves the gradient between its operands; the level itself is not clipped there.
    inside = ((x / s).round() > low) & ((x / s).round() < high)
    torch.testing.assert_close(ours[0], theirs[0])
    torch.testing.assert_close(ours[1] * inside, theirs[1] * inside)
    ratio = x / s
    clipped = ratio.round().clamp(-3, 4)
    passes = clipped == ratio.round()
    by_scale = weights * torch.where(passes, clipped - ratio, clipped)
    torch.testing.assert_close(ours[2], by_scale.sum_to_size(shape), rtol=1e-4, atol=1e-4)
    by_low = weights * s * (~passes & (clipped == -3))
    torch.testing.assert_close(ours[3], by_low.sum_to_size(shape), rtol=1e-4, atol=1e-4)


def test_the_scale_has_the_slope_of_the_error_where_everything_clips() -> None:
    """Beyond the bounds no rounding depends on the scale, so finite differences say the same."""
    quantizer = ActivationQuantizer(Grid(U4, Scale((0.1,))), trained=True)
    x = torch.tensor([2.0, 3.0, 7.0])

    def error() -> torch.Tensor:
        return (quantizer(x) - x).square().sum()

    error().backward()
    found, step = quantizer.log_scale.grad, 1e-3
    assert found is not None
    with torch.no_grad():
        quantizer.log_scale += step
        above = error()
        quantizer.log_scale -= 2 * step
        below = error()
    assert float(found) == pytest.approx(float((above - below) / (2 * step)), rel=1e-3)


def test_a_zero_point_moves_only_where_zero_is_inside_the_codes() -> None:
    anchored = ActivationQuantizer(Grid(U4, Scale((0.1,))), trained=True)
    moving = ActivationQuantizer(Grid(U4, Scale((0.1,)), (6,)), trained=True)
    assert [kind for kind, _ in anchored.grouped()] == ["act_scale"]
    assert [kind for kind, _ in moving.grouped()] == ["act_scale", "act_zero_point"]
    moving(torch.tensor([-5.0])).sum().backward()
    assert moving.zero_point.grad == pytest.approx(-0.1)  # a zero point more reaches one step lower
    with torch.no_grad():
        moving.zero_point.fill_(20.4)
    assert moving.final().zero_point == (15,)


@pytest.mark.parametrize("kind", [FreeWeight, lambda w, g: SoftRounding(w, g, 0.01)])
def test_codes_stand_for_the_weights_that_training_saw(kind) -> None:  # type: ignore[no-untyped-def]
    weight = np.random.default_rng(0).normal(size=(6, 4, 3, 3)).astype(np.float32)
    grid = Grid(S3, Scale.of(np.linspace(0.2, 0.5, 6)), (0, 1, -1, 0, 2, -2), axis=0)
    quantizer = kind(weight, grid)
    with torch.no_grad():
        quantizer.log_scale += torch.linspace(-0.2, 0.2, 6).reshape(-1, 1, 1, 1)
    quantizer.harden()
    value = quantizer.final()
    value.check("weight")
    np.testing.assert_allclose(value.reals, quantizer().detach().numpy(), rtol=1e-5, atol=1e-7)


def test_soft_rounding_starts_at_the_float_weights_and_ends_at_a_neighbour() -> None:
    weight = np.random.default_rng(1).uniform(-0.9, 0.9, (4, 30)).astype(np.float32)
    quantizer = SoftRounding(weight, Grid(IntType(True, 4), Scale.of(np.full(4, 0.2)), axis=0), 0.01)
    np.testing.assert_allclose(quantizer().detach().numpy(), weight, atol=1e-5)
    quantizer.harden()
    hard = quantizer().detach().numpy()
    np.testing.assert_allclose(hard, 0.2 * np.rint(weight / np.float32(0.2)), atol=1e-5)
    gradient = torch.autograd.grad(quantizer().sum(), quantizer.choice)[0]
    assert not gradient.any()  # hard choices stay


def test_the_surest_choices_become_hard_first_and_all_in_time() -> None:
    torch.manual_seed(0)
    choice = torch.randn(20, 5)
    start = choice.clone()
    harden_surest(choice, HARD_AT / 4)
    hard = choice.isinf()
    assert hard.sum() == 50  # sqrt(1/4) of all
    assert start[hard].abs().min() >= start[~hard].abs().max()
    torch.testing.assert_close(choice[~hard], start[~hard])
    harden_surest(choice, HARD_AT)
    assert choice.isinf().all()
    assert ((choice > 0) == (start >= 0)).all()


def test_the_regulariser_pushes_choices_apart() -> None:
    quantizer = SoftRounding(np.array([[0.06, 0.14]], np.float32), Grid(S3, Scale((0.2,)), axis=0), 1.0)
    assert quantizer.penalty(0.1) is None
    penalty = quantizer.penalty(0.9)
    assert penalty is not None
    penalty.backward()
    gradient = quantizer.choice.grad
    assert gradient is not None and gradient[0, 0] > 0 > gradient[0, 1]


def test_a_bias_lies_on_the_accumulator_grid() -> None:
    bias, weight = Bias(np.array([0.33, -1.27], np.float32), 3), torch.ones(2, 3)
    steps = bias(torch.tensor([0.1, 0.25]), weight) / torch.tensor([0.1, 0.25])
    torch.testing.assert_close(steps, torch.tensor([3.0, -5.0]))
    np.testing.assert_allclose(bias.final(weight), [0.33, -1.27], rtol=1e-6)


def test_a_bias_begins_anew_where_it_is_told_to() -> None:
    start, weight = np.array([0.5, -1.5], np.float32), torch.ones(2, 3)
    bias = Bias(start, 3)
    with torch.no_grad():
        bias.steps += 1
    bias.begin(torch.tensor([0.25, 0.0]), torch.tensor([2.0, 0.0]), weight, torch.ones(2, 3))
    np.testing.assert_allclose(bias.final(weight), [1.75, -0.5])
    with torch.no_grad():
        bias.steps += 1
    # A step is at least a thousandth of the largest.
    np.testing.assert_allclose(bias.final(weight), [3.75, -0.498], rtol=1e-6)
    np.testing.assert_array_equal(start, np.array([0.5, -1.5], np.float32))


@pytest.mark.parametrize(("groups", "shape"), [(1, (4, 6, 3, 3)), (2, (4, 3, 1, 1)), (6, (6, 1, 3, 3))])
def test_weights_that_move_leave_the_mean_result(groups: int, shape: tuple[int, ...]) -> None:
    random = torch.Generator().manual_seed(0)
    x, weight = torch.rand(8, 6, 9, 9, generator=random) + 2, torch.randn(shape, generator=random)
    moved = weight + 0.3 * torch.randn(shape, generator=random)
    means = x.mean((0, 2, 3)).reshape(groups, -1).repeat_interleave(shape[0] // groups, 0)
    bias = Bias(np.zeros(shape[0], np.float32), shape[1])
    bias.begin(torch.zeros(shape[0]), torch.ones(shape[0]), weight, means)

    def mean(w: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.conv2d(x, w, b, groups=groups).mean((0, 2, 3))

    fine = torch.full((shape[0],), 1e-5)  # the accumulator's step
    with torch.no_grad():
        before, after, still = mean(weight, bias(fine, weight)), mean(moved, bias(fine, moved)), mean(moved, bias.start)
    assert float((still - before).abs().max()) > 1
    torch.testing.assert_close(after, before, rtol=0, atol=0.05)
