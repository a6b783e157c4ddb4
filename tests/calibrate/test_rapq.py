"""RAPQ: powers of two in training and after it, gradients of the exponents, and the norm."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import pytest
import torch

from intsim.calibrate import Settings, quantize_graph
from intsim.calibrate.choices import choice_of, soft
from intsim.calibrate.options import parse_options
from intsim.calibrate.power_of_two import PowerOfTwoActivation, PowerOfTwoWeight
from intsim.calibrate.rapq import RapqOptions, norm_of
from intsim.dtypes import IntType
from intsim.errors import CalibrationError
from intsim.frontend.capture import capture
from intsim.frontend.mirror import Mirror
from intsim.ir.file import Model
from intsim.ir.quantized import QuantizedGraph
from intsim.ir.types import Grid, Scale
from intsim.lower import lower
from intsim.verbs import prove, verify
from tests.calibrate.networks import Network

U4, S2, S4 = IntType(False, 4), IntType(True, 2), IntType(True, 4)


class Residual(torch.nn.Module):
    """Stem, a residual block, an average and a classifier; BatchNorm where wanted."""

    def __init__(self, batch_norm: bool):
        super().__init__()
        self.stem, self.first, self.second = (self.layer(channels, batch_norm) for channels in (3, 6, 6))
        self.last = torch.nn.Linear(6, 4)

    @staticmethod
    def layer(channels: int, batch_norm: bool) -> torch.nn.Sequential:
        norm = torch.nn.BatchNorm2d(6) if batch_norm else torch.nn.Identity()
        return torch.nn.Sequential(torch.nn.Conv2d(channels, 6, 3, padding=1), norm)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x))
        x = torch.relu(x + self.second(torch.relu(self.first(x))))
        result: torch.Tensor = self.last(x.mean((2, 3)))
        return result


def small(batch_norm: bool = True, **options: object) -> QuantizedGraph:
    torch.manual_seed(0)
    network = Residual(batch_norm).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.weight, 0.5, 2.0)
    few = {"phase": 8, "iterations": 12, "network": 4, "batch": 8, **options}
    settings = Settings(method="rapq", weight_bits=2, act_bits=4, scales="pow2", weight_grid="asymmetric",
                        options={name: str(value) for name, value in few.items()})  # fmt: skip
    return quantize_graph(capture(network, torch.zeros(1, 3, 8, 8)), torch.randn(16, 3, 8, 8), settings)


def weight_quantizer(real: bool = True) -> PowerOfTwoWeight:
    random = np.random.default_rng(0)
    scale = np.array([0.3, 0.11, 0.77]) if real else np.array([0.25, 0.125, 1.0])
    grid = Grid(S2, Scale.of(scale, not real), (-1, 0, 1), axis=0)
    return PowerOfTwoWeight(
        (random.normal(size=(3, 4, 3, 3)) * scale.reshape(3, 1, 1, 1)).astype(np.float32), grid, 0.01
    )


@pytest.mark.parametrize(("zero", "element"), [(0, U4), (5, U4), (0, S4)])
def test_gradient_of_an_activations_exponent_is_tqts(zero: int, element: IntType) -> None:
    module = PowerOfTwoActivation(Grid(element, Scale((-2,), True), (zero,)), trained=True)
    with torch.no_grad():
        module.log_scale.fill_(-2.3)
    x = torch.linspace(-8, 8, 1001)
    upstream = torch.randn(1001, generator=torch.Generator().manual_seed(1))
    module(x).backward(upstream)
    s, low, high = 0.25, element.min - zero, element.max - zero
    rounded = torch.round(x / s)
    expected = torch.where(rounded < low, low, torch.where(rounded > high, high, rounded - x / s)) * s * math.log(2)
    assert module.log_scale.grad is not None
    assert module.log_scale.grad.item() == pytest.approx((upstream * expected).sum().item(), rel=1e-4)


def test_an_activations_scale_is_a_power_of_two_all_along() -> None:
    module = PowerOfTwoActivation(Grid(U4, Scale((-3,), True), (6,)), trained=True)
    for t in np.linspace(-9, 3, 200):
        with torch.no_grad():
            module.log_scale.fill_(float(t))
        assert math.frexp(module.scale.item())[0] == 0.5
        grid = module.final()
        assert grid.scale == Scale((round(module.log_scale.item()),), True)
        assert grid.zero_point == (min(round(6 * 2.0 ** (-3 - grid.scale.values[0])), 15),)
        x = torch.randn(100)
        codes = torch.clamp(torch.round(x / grid.scale.array[0]) + grid.zero_point[0], 0, 15)
        torch.testing.assert_close(module(x).detach(), (codes - grid.zero_point[0]) * float(grid.scale.array[0]))


def test_exponents_of_weights_begin_at_the_real_scale_and_end_at_a_neighbour() -> None:
    module = weight_quantizer()
    torch.testing.assert_close(module.scale.ravel(), torch.tensor([0.3, 0.11, 0.77]))
    module.harden()
    assert module.scale.ravel().tolist() == [0.25, 0.125, 1.0]
    ratio = module.weight / module.scale
    torch.testing.assert_close(soft(module.choice), ratio - torch.floor(ratio), atol=1e-5, rtol=0)
    assert not module.hard
    module.harden()
    assert module.hard
    value = module.final()
    assert value.type.integer.scale == Scale((-2, -3, 0), True)
    assert all(S2.min <= z <= S2.max for z in value.type.integer.zero_point)
    torch.testing.assert_close(torch.from_numpy(value.reals).float(), module().detach())


def test_fixed_exponents_are_settled_from_the_start() -> None:
    module = weight_quantizer(real=False)
    assert bool(module.settled)
    assert module.scale.ravel().tolist() == [0.25, 0.125, 1.0]


def test_gradient_of_weights_exponents() -> None:
    module = weight_quantizer()
    upstream = torch.randn(3, 4, 3, 3, generator=torch.Generator().manual_seed(2))
    module().backward(upstream)
    assert module.exponent_choice.grad is not None
    s = module.scale.detach()
    low, high = (bound.detach() for bound in module.bounds(s))
    rounded = torch.round(module.weight / s)
    level = torch.clamp(rounded, low, high)
    by_scale = torch.where(level == rounded, rounded - module.weight / s, level)
    # Where it clips, the level also moves with the zero point: low = min - z, z = z0 * s0 / s, so s dlow/ds = z.
    zero = S2.min - low
    inside = (zero > S2.min) & (zero < S2.max) | (zero == torch.tensor([-1.0, 0, 1]).reshape(3, 1, 1, 1))
    by_scale = by_scale + torch.where((level != rounded) & inside, zero, 0)
    by_exponent = (upstream * by_scale * s).sum((1, 2, 3)) * math.log(2)
    share = torch.sigmoid(module.exponent_choice.detach().ravel())
    expected = by_exponent * 1.2 * share * (1 - share)
    torch.testing.assert_close(module.exponent_choice.grad.ravel(), expected, rtol=1e-4, atol=1e-6)


def test_gradient_of_roundings_is_the_finite_difference() -> None:
    module = weight_quantizer()
    module.harden()
    upstream = torch.randn(3, 4, 3, 3, generator=torch.Generator().manual_seed(3)).double()
    module.double()
    (module() * upstream).sum().backward()
    gradient, step = module.choice.grad, 1e-5
    assert gradient is not None
    for index in [(0, 0, 0, 0), (1, 2, 1, 0), (2, 3, 2, 2)]:
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                module.choice[index] += sign * step
                values.append((module() * upstream).sum().item())
                module.choice[index] -= sign * step
        assert gradient[index].item() == pytest.approx((values[0] - values[1]) / (2 * step), rel=1e-4, abs=1e-8)


def test_choice_of_a_share_is_the_inverse_of_the_soft_rounding() -> None:
    share = torch.linspace(0, 1, 101)
    torch.testing.assert_close(soft(choice_of(share)), share, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("mean", "norm_range", "p"), [(0.0, 0.9, 1.4), (0.3, 0.9, 1.5), (2.0, 0.9, 1.8), (1.0, 0.1, 1.1)]
)
def test_norm_is_one_and_a_share_that_grows_with_gamma(mean: float, norm_range: float, p: float) -> None:
    assert norm_of(np.full(1000, mean + 1e-3), norm_range) == p
    assert norm_of(np.full(1000, mean + 1e-3), norm_range) == round(1 + norm_range / (1 + math.exp(-mean)), 1)


def test_gamma_survives_folding() -> None:
    network = Residual(batch_norm=True).eval()
    batch_norm = network.second[1]
    assert isinstance(batch_norm, torch.nn.BatchNorm2d)
    torch.nn.init.uniform_(batch_norm.weight, 0.5, 2.0)
    graph = capture(network, torch.zeros(1, 3, 8, 8))
    gammas = [node.arrays["gamma"] for node in graph.weighted if node.op == "conv2d"]
    np.testing.assert_array_equal(gammas[-1], batch_norm.weight.detach().numpy())
    assert all("gamma" not in node.arrays for node in graph.nodes if node.op == "affine")


@pytest.mark.parametrize("start", ["mse", "least_squares"])
@pytest.mark.parametrize("exponents", ["learned", "fixed"])
def test_every_scale_is_a_power_of_two(exponents: Literal["learned", "fixed"], start: str) -> None:
    quantized = small(exponents=exponents, start=start)
    grids = [quantizer.grid for quantizer in quantized.quantizers.values()]
    grids += [record.weight.type.integer for record in quantized.weights.values()]
    assert all(grid.scale.power_of_two for grid in grids)
    assert all(grid.element.min <= z <= grid.element.max for grid in grids for z in grid.zero_point)
    Mirror(quantized).run(torch.randn(2, 3, 8, 8))


def test_a_layer_that_nobody_reads_is_settled_too() -> None:
    net = Network(x=(2, 4, 4))
    read = net.conv("first", "x", 3)
    net.conv("unread", read, 3)
    graph = net.graph(net.conv("last", read, 2))
    options = {"phase": "2", "iterations": "2", "network": "1"}
    quantized = quantize_graph(graph, torch.randn(8, 2, 4, 4), Settings("rapq", 2, 4, "pow2", options=options))
    assert quantized.weights["unread"].weight.type.integer.scale.power_of_two


def test_integers_equal_plain_fake_quantization_without_a_flip() -> None:
    quantized = small()
    model = Model(lower(quantized), quantized)
    images = np.random.default_rng(0).normal(size=(16, 3, 8, 8)).astype(np.float32)
    report = verify(model, (images, np.zeros(16, np.int64)), sample=4)
    assert report.bit_exact
    assert report.fake_quant is not None and report.fake_quant.mismatches == 0
    assert prove(model).proved


def test_says_where_the_norms_come_from() -> None:
    sources = [note for name, note in small().metadata.items() if name.startswith("norm.")]
    assert sum("gamma" in source for source in sources) == 2 and sources[-1].startswith("2.0")
    assert any("no BatchNorm" in note for name, note in small(batch_norm=False).metadata.items() if name[:5] == "norm.")


def test_the_same_seed_gives_the_same_codes() -> None:
    first, second = small(), small()
    for name, record in first.weights.items():
        np.testing.assert_array_equal(record.weight.codes, second.weights[name].weight.codes)


def test_other_scales_are_refused() -> None:
    graph = capture(Residual(False).eval(), torch.zeros(1, 3, 8, 8))
    with pytest.raises(CalibrationError, match="expected scales 'pow2', got 'multiplier'"):
        quantize_graph(graph, torch.randn(4, 3, 8, 8), Settings(method="rapq"))


@pytest.mark.parametrize(("name", "value"), [("phase", 0), ("network", -1), ("drop", 1.5), ("norm_range", -0.1)])
def test_options_that_make_no_sense_are_refused(name: str, value: float) -> None:
    with pytest.raises(CalibrationError, match=f"options of rapq: {name}: expected"):
        parse_options(RapqOptions, {name: str(value)}, "rapq")
