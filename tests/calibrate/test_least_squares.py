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
from intsim.calibrate import Settings, mse
from intsim.calibrate.decided import DecidedNetwork
from intsim.calibrate.least_squares import Fit, descend, fit
from intsim.calibrate.method import METHODS
from intsim.calibrate.moments import RIDGES, ReadMoments, moments_of
from intsim.calibrate.nearest import Rows, decide_nearest, rounding_to
from intsim.calibrate.options import parse_options
from intsim.calibrate.values import Values
from intsim.dtypes import IntType
from intsim.frontend.capture import capture
from intsim.frontend.execute import run_node
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


def moments_on(layer: nn.Conv2d, images: Tensor) -> tuple[ReadMoments, Tensor]:
    """What the method sees of a layer, which is the only one of its network, and what that reads: codes of 3 bits."""
    settings = Settings(weight_bits=4, act_bits=3, first_last_bits=3)
    problem = problem_on(capture(nn.Sequential(layer), images[:2]), settings, images)
    quantizers = decide_nearest(problem, mse.activation_grid, mse.weight_rows).quantizers
    (found,) = moments_of(problem.placed.open_layers, problem, quantizers).values()
    grid = quantizers[problem.placed.open_layers[0].inputs[0]].grid
    scale, zero = float(grid.scale.array[0]), grid.zero_point[0]
    return found, torch.fake_quantize_per_tensor_affine(images, scale, zero, grid.element.min, grid.element.max)


@pytest.mark.parametrize(
    "how",
    [
        {"kernel_size": 1},
        {"kernel_size": 3, "padding": 1},
        {"kernel_size": 3, "stride": 2, "padding": (0, 2), "groups": 2},
        {"kernel_size": (2, 3), "dilation": 2, "groups": 4},
    ],
)
def test_the_moments_say_what_a_convolution_of_codes_loses(how: Any) -> None:
    torch.manual_seed(0)
    layer, images = nn.Conv2d(4, 8, **how), torch.rand(6, 4, 9, 10) - 0.3
    read, rounded = moments_on(layer, images)
    assert (rounded != images).any()

    def results(x: Tensor, weight: Tensor) -> Tensor:
        return layer._conv_forward(x.double(), weight.double(), None).movedim(1, 0).flatten(1)

    def rows(weight: Tensor) -> Any:
        return weight.detach().double().numpy().reshape(read.shape[0], -1, read.shape[1])

    layer.double()
    real = results(images, layer.weight)
    wanted = read.whole.wanted(rows(layer.weight), ridge=0.0)
    nearest = torch.from_numpy(wanted).reshape(layer.weight.shape)
    least = (real - results(rounded, nearest)).var(1, correction=0)
    for change in (0.0, 0.1, 0.3):
        weight = layer.weight + change * torch.randn_like(layer.weight)
        lost = real - results(rounded, weight)
        error = wanted - rows(weight)
        found = np.einsum("grk,gkl,grl->gr", error, read.whole.covariance(ridge=0.0), error).ravel()
        np.testing.assert_allclose(found, (lost.var(1, correction=0) - least).detach(), rtol=1e-5, atol=1e-9)
        bias = read.bias(rows(layer.weight), rows(weight)).ravel()
        np.testing.assert_allclose(bias, lost.mean(1).detach(), rtol=1e-5, atol=1e-9)


def test_codes_that_say_all_there_is_are_wanted_as_they_are() -> None:
    read, random = ReadMoments(), np.random.default_rng(0)
    rows, weights = random.normal(size=(2, 50, 4)), random.normal(size=(2, 3, 4))
    read.add(rows, rows)
    np.testing.assert_allclose(read.whole.wanted(weights, ridge=0.1), weights)


@pytest.mark.parametrize(("images", "ridge"), [(400, 0.01), (4, 1.0)])
def test_few_images_are_not_believed(images: int, ridge: float) -> None:
    """Inputs that arrive with much noise: what to make of it takes more positions than inputs to know."""
    read, random = ReadMoments(), np.random.default_rng(0)
    for _ in range(images):
        reals = random.normal(size=(1, 10, 30)) * np.geomspace(0.1, 3, 30)
        read.add(reals, reals + random.normal(size=reals.shape))
    weights = random.normal(size=(1, 8, 30))
    assert read.ridge(weights) == ridge
    fresh, (one, _) = ReadMoments(), read.halves
    fresh.add(
        reals := random.normal(size=(1, 9999, 30)) * np.geomspace(0.1, 3, 30), reals + random.normal(size=reals.shape)
    )
    errors = [fresh.whole.error(weights, one.wanted(weights, value)) for value in (0.01, 1.0)]
    assert errors[0] < errors[1] if ridge == 0.01 else errors[1] < errors[0]


class Narrowing(nn.Module):
    """A stream of which a layer reads fewer bits, and another behind a pool."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(6)
        self.first, self.second, self.third = (nn.Conv2d(2, 2, 1) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        result: Tensor = self.third(nn.functional.max_pool2d(x + self.second(x), 2))
        return result


def test_what_layers_read_is_rounded_as_often_as_their_codes_are() -> None:
    network, images = Narrowing().eval(), torch.rand(8, 2, 6, 6)
    settings = Settings(weight_bits=4, act_bits=2, residual_bits=3, first_last_bits=2)
    problem = problem_on(capture(network, images[:2]), settings, images)
    quantizers = decide_nearest(problem, mse.activation_grid, mse.weight_rows).quantizers

    def rounded(x: Tensor, *names: str) -> Tensor:
        for name in names:
            grid = quantizers[name].grid
            scale, zero = float(grid.scale.array[0]), grid.zero_point[0]
            x = torch.fake_quantize_per_tensor_affine(x, scale, zero, grid.element.min, grid.element.max)
        return x

    with torch.no_grad():
        stream = network.first(images)
        pooled = nn.functional.max_pool2d(rounded(stream + network.second(stream), "add.u2"), 2)
    found = moments_of(problem.placed.open_layers, problem, quantizers)
    for name, reads in (("second", rounded(stream, "first.u3", "first.u2")), ("third", pooled)):
        np.testing.assert_allclose(found[name].whole.rounded[0], reads.double().sum((0, 2, 3)), rtol=1e-6)


@pytest.mark.parametrize(("power_of_two", "symmetric"), [(False, False), (True, False), (False, True), (True, True)])
def test_grids_are_fitted_with_the_codes(power_of_two: bool, symmetric: bool) -> None:
    random = np.random.default_rng(1)
    weight, read = random.normal(size=(12, 2, 3, 3)), ReadMoments()
    rows = random.normal(size=(2, 400, 18)) @ (random.normal(size=(2, 18, 18)) + 2)
    read.add(rows, rows)
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
        error_of(weight.reshape(2, 6, 18), value.reals.reshape(2, 6, 18), read.whole.covariance(RIDGES[0]))
        for value in (start, found)
    )
    assert (after <= before * (1 + 1e-9)).all() and after.sum() < 0.4 * before.sum()


def test_one_grid_for_all_outputs_stays() -> None:
    random = np.random.default_rng(2)
    weight, read = random.normal(size=(4, 6)), ReadMoments()
    rows = random.normal(size=(1, 100, 6)) @ (random.normal(size=(6, 6)) + 2)
    read.add(rows, rows)
    grid = Grid(IntType(True, 3), Scale.of(0.5), (1,), axis=0)
    start = Value(TensorType(grid, weight.shape), np.clip(np.rint(weight / 0.5) + 1, -4, 3).astype(np.int8))
    found = fit(weight, start, read, Settings())
    assert found.type == start.type and (found.codes != start.codes).any()


def test_channels_that_never_differ_keep_their_nearest_codes() -> None:
    weight, read = np.array([[0.4, -0.9]]), ReadMoments()
    rows = np.zeros((1, 10, 2))
    read.add(rows, rows)
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


def mean_errors(mode: str) -> Any:
    """Of every result of the decided network, less its mean in the float one, on images that are looked at whole."""
    images, network = torch.rand(20, 3, 8, 8), Smooth().eval()
    settings = Settings("least_squares", 3, 2, first_last_bits=4, options={"mode": mode})
    problem = problem_on(capture(network, images[:2]), settings, images)
    method = METHODS["least_squares"]
    decided = DecidedNetwork(problem, method.decide(problem, parse_options(method.options, settings.options, "")))
    graph = problem.placed.graph
    values, floats = Values(graph, [images], decided.evaluate), Values(graph, [images], run_node)
    errors = []
    for node in graph.weighted:
        (found,), (wanted,) = values.get([node.name]), floats.get([node.name])
        axes = (0, 2, 3)[: found.ndim - 1] if found.ndim == 4 else (0,)
        errors.append(float((found.mean(axes) - wanted.mean(axes)).abs().max() / wanted.std()))
    return errors


def test_in_sequence_every_layer_answers_to_those_before_it() -> None:
    first, *later = mean_errors("sequential")
    assert first < 1e-5 and max(later) < 1e-5  # biases know what arrives
    first, *later = mean_errors("parallel")
    assert first < 1e-5 and max(later) > 1e-3


@pytest.mark.parametrize("scales", ["multiplier", "pow2", "threshold"])
def test_a_network_comes_closer_without_training(scales: Any) -> None:
    network = Smooth().eval()
    coarse = torch.rand(60, 3, 3, 3, generator=torch.Generator().manual_seed(5))
    images = nn.functional.interpolate(coarse, (8, 8), mode="bilinear")
    labels = torch.zeros(60, dtype=torch.long)
    with torch.no_grad():
        wanted = network(images).numpy()
    errors = {}
    for method, options in (("mse", {}), ("least_squares", {"mode": "parallel"}), ("least_squares", {})):
        model = quantize(
            network,
            (images, labels),
            method=method,
            weight_bits=2,
            act_bits=6,
            scales=scales,
            weight_grid="asymmetric",
            options=options,
        )
        assert verify(model, (images.numpy(),), sample=4).bit_exact
        assert prove(model).proved
        (output,) = model.graph.outputs
        found = load_backend("native", model.graph).run(images.numpy(), wanted=(output,))[output].reals
        errors[method, *options.values()] = np.square(found - wanted).mean()
    rounded, in_parallel, in_sequence = errors.values()
    assert in_sequence < in_parallel < 0.5 * rounded
