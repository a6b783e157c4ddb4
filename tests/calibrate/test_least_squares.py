"""Integer least squares against brute force, and its moments against convolutions that PyTorch computes."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from intsim.backends import load_backend
from intsim.calibrate import Settings, least_squares
from intsim.calibrate.least_squares import Fit, Reads, descend, fit
from intsim.calibrate.nearest import Rows, rounding_to
from intsim.dtypes import IntType
from intsim.frontend.capture import capture
from intsim.ir.types import Grid, Scale, TensorType, Value
from intsim.verbs import quantize
from intsim.verification import prove, verify
from tests.calibrate.networks import problem_on


def covariance_of(random: np.random.Generator, groups: int, size: int) -> Any:
    """Of inputs that are much alike, as neighbouring pixels are."""
    mixing = random.normal(size=(groups, size, size)) + 3
    return mixing @ mixing.swapaxes(1, 2) / size + 0.01 * np.eye(size)


def error_of(x: Any, reals: Any, covariance: Any) -> Any:
    return np.einsum("grk,gkl,grl->gr", x - reals, covariance, x - reals)


@given(st.integers(0, 1 << 30), st.integers(2, 5), st.integers(1, 9), st.integers(1, 3))
def test_no_other_code_of_one_weight_is_better(seed: int, bits: int, size: int, groups: int) -> None:
    random = np.random.default_rng(seed)
    element, covariance = IntType(True, bits), covariance_of(random, groups, size)
    x = random.normal(size=(groups, 3, size))
    zeros = random.integers(element.min, element.max + 1, (groups, 3))
    rows = Rows(random.uniform(0.1, 1, (groups, 3)), zeros)
    found = descend(x, rows, element, covariance, sweeps=100)
    assert ((found.codes >= element.min) & (found.codes <= element.max) & (found.codes % 1 == 0)).all()
    np.testing.assert_allclose(found.error, error_of(x, rows.reals(found.codes), covariance), rtol=1e-9, atol=1e-12)
    nearest = error_of(x, rows.reals(rows.codes(x, element)), covariance)
    assert (found.error <= nearest * (1 + 1e-9)).all()
    for k, code in product(range(size), range(element.min, element.max + 1)):
        codes = found.codes.copy()
        codes[..., k] = code
        assert (error_of(x, rows.reals(codes), covariance) >= found.error * (1 - 1e-9) - 1e-12).all()


@given(st.integers(0, 1 << 30))
def test_between_brute_force_and_rounding(seed: int) -> None:
    random = np.random.default_rng(seed)
    element, covariance = IntType(True, 2), covariance_of(random, 1, 5)
    x, rows = random.normal(size=(1, 1, 5)), Rows(np.array([[0.6]]), np.array([[0]]))
    every = np.array(list(product(range(-2, 2), repeat=5)), np.float64)[None]
    best = error_of(x, every * 0.6, covariance).min()
    found = descend(x, rows, element, covariance).error[0, 0]
    assert best * (1 - 1e-9) <= found <= error_of(x, rows.reals(rows.codes(x, element)), covariance)[0, 0] * (1 + 1e-9)


def test_inputs_that_have_nothing_in_common_are_rounded_to_nearest() -> None:
    random = np.random.default_rng(0)
    x, rows = random.normal(size=(2, 4, 70)), Rows(np.full((2, 4), 0.3), np.zeros((2, 4), np.int64))
    covariance = np.stack([np.diag(random.uniform(0.1, 2, 70)) for _ in range(2)])
    found = descend(x, rows, IntType(True, 4), covariance)
    np.testing.assert_array_equal(found.codes, rows.codes(x, IntType(True, 4)))


def test_a_better_row_takes_the_place_of_a_worse_one() -> None:
    one, two = (
        Fit(Rows(np.array([[s, s]]), np.array([[z, z]])), np.full((1, 2, 3), c), np.array([e]))
        for s, z, c, e in ((1.0, 0, 5.0, (1.0, 2.0)), (2.0, 1, 7.0, (2.0, 1.0)))
    )
    best = one.or_better(two)
    assert best.rows.scales.tolist() == [[1, 2]] and best.rows.zero_points.tolist() == [[0, 1]]
    assert best.codes[0, :, 0].tolist() == [5, 7] and best.error.tolist() == [[1, 1]]


def reads_of(layer: nn.Conv2d, images: Tensor) -> Reads:
    """What the method sees of a layer, which is the only one of its network."""
    settings = Settings(weight_bits=4, act_bits=8, first_last_bits=4)
    problem = problem_on(capture(nn.Sequential(layer), images[:2]), settings, images)
    (read,) = least_squares.watch_layers(problem).values()
    return read


@pytest.mark.parametrize(
    "how",
    [
        {"kernel_size": 1},
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": 3, "stride": 2, "padding": (0, 2), "groups": 2},
        {"kernel_size": (2, 3), "dilation": 2, "groups": 4},
    ],
)
def test_the_covariance_says_what_a_convolution_loses(how: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    layer, images = nn.Conv2d(4, 8, **how).double(), torch.rand(6, 4, 9, 10)
    monkeypatch.setattr(least_squares, "RIDGE", 0.0)
    read = reads_of(layer.float(), images)
    change = 0.1 * torch.randn_like(layer.weight)
    with torch.no_grad():
        lost = layer.double()._conv_forward(images.double(), change.double(), None).movedim(1, 0).flatten(1)
    rows = change.double().numpy().reshape(read.means.shape[0], -1, read.means.shape[1])
    found = np.einsum("grk,gkl,grl->gr", rows, read.covariance, rows).ravel()
    np.testing.assert_allclose(found, lost.var(1, correction=0).numpy(), rtol=1e-6)
    means = np.einsum("grk,gk->gr", rows, read.means).ravel()
    np.testing.assert_allclose(means, lost.mean(1).numpy(), rtol=1e-6)


@pytest.mark.parametrize(("power_of_two", "symmetric"), [(False, False), (True, False), (False, True), (True, True)])
def test_grids_are_fitted_with_the_codes(power_of_two: bool, symmetric: bool) -> None:
    random = np.random.default_rng(1)
    weight, read = random.normal(size=(12, 2, 3, 3)), Reads()
    read.add(random.normal(size=(2, 400, 18)) @ (random.normal(size=(2, 18, 18)) + 2))
    scales = np.full(12, 0.5) if power_of_two else np.full(12, 0.45)
    grid = Grid(IntType(True, 3), Scale.of(scales, power_of_two), axis=0)
    start = Value(TensorType(grid, weight.shape), np.clip(np.rint(weight / scales[0]), -4, 3).astype(np.int8))
    settings = Settings(
        scales="pow2" if power_of_two else "multiplier", weight_grid="symmetric" if symmetric else "asymmetric"
    )
    found = fit(weight, start, read, settings)
    found.check("fitted")
    assert found.type.integer.scale.power_of_two == power_of_two
    assert any(found.type.integer.zero_point) != symmetric
    before, after = (
        error_of(weight.reshape(2, 6, 18), value.reals.reshape(2, 6, 18), read.covariance) for value in (start, found)
    )
    assert (after <= before * (1 + 1e-9)).all() and after.sum() < 0.4 * before.sum()


def test_one_grid_for_all_outputs_stays() -> None:
    random = np.random.default_rng(2)
    weight, read = random.normal(size=(4, 6)), Reads()
    read.add(random.normal(size=(1, 100, 6)) @ (random.normal(size=(6, 6)) + 2))
    grid = Grid(IntType(True, 3), Scale.of(0.5), (1,), axis=0)
    start = Value(TensorType(grid, weight.shape), np.clip(np.rint(weight / 0.5) + 1, -4, 3).astype(np.int8))
    found = fit(weight, start, read, Settings())
    assert found.type == start.type and (found.codes != start.codes).any()


def test_channels_that_never_differ_keep_their_nearest_codes() -> None:
    weight, read = np.array([[0.4, -0.9]]), Reads()
    read.add(np.zeros((1, 10, 2)))
    grid = Grid(IntType(True, 3), Scale.of(np.array([0.3])), axis=0)
    start = Value(TensorType(grid, weight.shape), np.array([[1, -3]], np.int8))
    np.testing.assert_array_equal(fit(weight, start, read, Settings()).codes, start.codes)


def test_training_may_begin_from_any_codes() -> None:
    random = np.random.default_rng(3)
    weight = random.normal(size=(5, 7)).astype(np.float32)
    grid = Grid(IntType(True, 3), Scale.of(random.uniform(0.1, 0.4, 5)), (0, 1, -1, 2, -4), axis=0)
    scales, zeros = grid.scale.array[:, None], np.array(grid.zero_point)[:, None]
    nearest = np.clip(np.rint(weight / scales) + zeros, -4, 3).astype(np.int8)
    other = np.clip(nearest + random.integers(-2, 3, nearest.shape), -4, 3).astype(np.int8)
    kind = TensorType(grid, weight.shape)
    np.testing.assert_array_equal(rounding_to(Value(kind, nearest), weight), weight)
    moved = rounding_to(Value(kind, other), weight)
    np.testing.assert_array_equal(np.clip(np.rint(moved / scales) + zeros, -4, 3), other)
    same = other == nearest
    np.testing.assert_array_equal(moved[same], weight[same])


class Smooth(nn.Module):
    """Depthwise and dense layers on images whose neighbouring pixels are alike."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(4)
        self.layers = nn.Sequential(
            nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, padding=1, groups=8, bias=False),
            nn.Conv2d(16, 6, 1), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 64, 5), nn.Linear(5, 4),
        )  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layers(x)
        return result


@pytest.mark.parametrize("scales", ["multiplier", "pow2", "threshold"])
def test_a_network_comes_closer_without_training(scales: Any) -> None:
    network = Smooth().eval()
    coarse = torch.rand(60, 3, 3, 3, generator=torch.Generator().manual_seed(5))
    images = nn.functional.interpolate(coarse, (8, 8), mode="bilinear")
    labels = torch.zeros(60, dtype=torch.long)
    with torch.no_grad():
        wanted = network(images).numpy()
    errors = {}
    for method in ("mse", "least_squares"):
        model = quantize(
            network, (images, labels), method=method, weight_bits=2, act_bits=6, scales=scales, weight_grid="asymmetric"
        )
        assert verify(model, (images.numpy(),), sample=4).bit_exact
        assert prove(model).proved
        (output,) = model.graph.outputs
        found = load_backend("native", model.graph).run(images.numpy(), wanted=(output,))[output].reals
        errors[method] = np.square(found - wanted).mean()
    assert errors["least_squares"] < 0.5 * errors["mse"]
