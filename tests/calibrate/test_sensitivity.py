"""Measured sensitivities: what is measured, what is kept, and that the program finds what brute force finds."""

from __future__ import annotations

import itertools
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from intsim.calibrate import METHODS, Settings, quantize_graph
from intsim.calibrate.allocation import Measurement, allocatable
from intsim.calibrate.method import Decision, Problem
from intsim.calibrate.sensitivity import Loss, Measurements, Variants, measure_sensitivities, rank_allocations
from intsim.calibrate.settings import LayerWidths
from intsim.costing import Pair, allocate, layers_of, menu_of
from intsim.costing.budget import Budget
from intsim.errors import CalibrationError, InputError
from intsim.frontend.execute import run_float
from intsim.frontend.mirror import Mirror
from intsim.ir.float_graph import FloatGraph
from intsim.ir.quantized import QuantizedGraph
from intsim.ir.types import Grid
from intsim.lower import lower
from tests.calibrate.networks import Network

PAIRS = [Pair(*pair) for pair in itertools.product((2, 4, 8), repeat=2)]
LAYERS = [f"conv{i}" for i in range(6)]


def network() -> FloatGraph:
    """Six layers with a choice between a first and a last, two additions among them."""
    net = Network(x=(3, 4, 4))
    stream = net.relu("stem.relu", net.conv("stem", "x", 4))
    for i in range(0, 6, 2):
        inner = net.relu(f"relu{i}", net.conv(f"conv{i}", stream, 4))
        stream = net.relu(f"out{i}", net.add(f"add{i}", net.conv(f"conv{i + 1}", inner, 4), stream))
    return net.graph(net.linear("head", net.mean("mean", stream), 5))


class Counting(Loss):
    """A loss that counts how often it is asked for."""

    def __init__(self, loss: Loss):
        vars(self).update(vars(loss))
        self.calls = 0

    def __call__(self, quantized: QuantizedGraph) -> float:
        self.calls += 1
        return super().__call__(quantized)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    torch.manual_seed(0)
    return torch.randn(60, 3, 4, 4)


@pytest.fixture(scope="module")
def variants(images: torch.Tensor) -> Variants:
    return Variants(network(), (images,), Settings())


@pytest.fixture(scope="module")
def loss(images: torch.Tensor) -> Loss:
    return Loss(network(), (images,), None, "kl")


@pytest.fixture(scope="module")
def table(variants: Variants, loss: Loss) -> dict[str, dict[tuple[int, int], float]]:
    return measure_sensitivities(variants, loss, LAYERS, PAIRS)


@pytest.mark.parametrize("scales", ["pow2", "multiplier"])
def test_a_variant_is_what_a_calibration_at_its_widths_makes(images: torch.Tensor, scales: str) -> None:
    """For a method that looks at one tensor at a time."""
    settings = Settings(method="minmax", scales=scales)  # type: ignore[arg-type]
    variants = Variants(network(), (images,), settings)
    widths = {"conv0": LayerWidths(2, 4), "conv3": LayerWidths(4, 2), "conv4": LayerWidths(8, 2)}
    ours = variants.quantized(widths)
    theirs = quantize_graph(network(), images, Settings(method="minmax", scales=scales, widths=widths))  # type: ignore[arg-type]
    ours_out, theirs_out = (Mirror(q).run(images) for q in (ours, theirs))
    assert ours_out.keys() == theirs_out.keys()
    assert all((ours_out[name] == theirs_out[name]).all() for name in ours_out)


TRAINED = {"iterations": "20", "mode": "sequential"}
TWO = {"weight_bits": 2, "act_bits": 2}


def grids(quantized: QuantizedGraph) -> dict[str, Grid]:
    return {name: quantizer.grid for name, quantizer in quantized.quantizers.items()}


@pytest.mark.parametrize("fewer", [{"residual_bits": 6}, {"first_last_bits": 6}])
def test_a_network_has_the_grids_that_were_trained_at_its_widths(images: torch.Tensor, fewer: dict[str, int]) -> None:
    """Whatever else was measured before: a stream of 6 bits has one name at all widths, and a grid for each."""
    settings = Settings(method="adaquant", options=TRAINED, **fewer)  # type: ignore[arg-type]
    variants = Variants(network(), (images,), settings)
    mixed, eight = (variants.quantized(widths) for widths in ({"conv0": LayerWidths(2, 2)}, {}))
    two, own = (grids(quantize_graph(network(), images, replace(settings, **at))) for at in (TWO, {}))  # type: ignore[arg-type]
    assert any(two[name] != own[name] for name in two.keys() & own.keys())
    assert grids(eight) == own
    assert grids(mixed) == own | {"stem.relu.u2": two["stem.relu.u2"]}


def test_losses_are_those_of_pytorch(images: torch.Tensor, variants: Variants) -> None:
    labels = torch.randint(0, 5, (60,), generator=torch.Generator().manual_seed(0))
    quantized = variants.quantized({"conv2": LayerWidths(2, 2)})
    (output,) = quantized.graph.outputs
    scale = lower(quantized).types[output].integer.scale.array
    logits = Mirror(quantized).run(images)[output].double() * torch.from_numpy(scale)
    (wanted,) = run_float(network(), images).values()
    kl = F.kl_div(logits.log_softmax(1), wanted.double().log_softmax(1), reduction="batchmean", log_target=True)
    assert Loss(network(), (images,), None, "kl")(quantized) == pytest.approx(float(kl), rel=1e-5)
    found = Loss(network(), (images,), labels.numpy(), "cross_entropy")(quantized)
    assert found == pytest.approx(float(F.cross_entropy(logits, labels)), rel=1e-6)


def test_fewer_bits_lose_more(table: dict[str, dict[tuple[int, int], float]]) -> None:
    for losses in table.values():
        assert losses[8, 8] == 0
        assert losses[2, 2] > losses[4, 4] >= 0


def test_a_stopped_measurement_goes_on(variants: Variants, loss: Loss, tmp_path: Path) -> None:
    full = measure_sensitivities(variants, loss, LAYERS[:2], PAIRS, tmp_path)
    (file,) = tmp_path.iterdir()
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:5]) + lines[5][:7])  # stopped while it wrote
    counting = Counting(loss)
    assert measure_sensitivities(variants, counting, LAYERS[:2], PAIRS, tmp_path) == full
    assert counting.calls == len(lines) - 5


@pytest.fixture
def calibrated(monkeypatch: pytest.MonkeyPatch) -> list[Problem]:
    """The problems that adaquant is given."""
    problems: list[Problem] = []
    real = METHODS["adaquant"]

    def decide(problem: Problem, options: object) -> Decision:
        problems.append(problem)
        return real.decide(problem, options)

    monkeypatch.setitem(METHODS, "adaquant", replace(real, decide=decide))
    return problems


def test_what_is_kept_needs_no_calibration(calibrated: list[Problem], images: torch.Tensor, tmp_path: Path) -> None:
    """Neither the table nor the ranking; and each width that is needed is calibrated once."""
    settings = Settings(method="adaquant", options=TRAINED)
    pairs = [Pair(8, 8), Pair(4, 8), Pair(8, 4)]
    measurement = Measurement("kl", folder=tmp_path, ranked=5)
    first = allocatable(network(), (images,), pairs, settings, measurement)
    assert [problem.settings.weight_bits for problem in calibrated] == [8, 4]
    calibrated.clear()
    second = allocatable(network(), (images,), pairs, settings, measurement)
    assert not calibrated
    assert (second.sensitivities, second.ranking) == (first.sensitivities, first.ranking)


def test_a_stopped_calibration_goes_on(calibrated: list[Problem], images: torch.Tensor, tmp_path: Path) -> None:
    """Each width's from a folder of its own, that of other settings from another."""
    everywhere = {layer: LayerWidths(4, 4) for layer in LAYERS}
    for seed in (0, 1):
        settings = Settings(method="adaquant", options=TRAINED, seed=seed)
        full, again = (Variants(network(), (images,), settings, resume=tmp_path).quantized(everywhere) for _ in "ab")
        assert grids(full) == grids(again)
    folders = {problem.resume for problem in calibrated}
    assert len(calibrated) == 8
    assert folders == {state.parent for state in tmp_path.glob("*/state.safetensors")}
    assert len(folders) == 4


def test_another_measure_or_method_has_a_file_of_its_own(images: torch.Tensor, loss: Loss, tmp_path: Path) -> None:
    first = Variants(network(), (images,), Settings())
    second = Variants(network(), (images,), Settings(method="minmax"))
    labelled = Loss(network(), (images,), np.zeros(60, np.int64), "cross_entropy")
    paths = {Measurements(tmp_path, v, measure).path for v in (first, second) for measure in (loss, labelled)}
    assert len(paths) == 4


@pytest.mark.parametrize("shares", [{"size": 0.45}, {"bops": 0.3}, {"size": 0.6, "bops": 0.2}])
def test_the_program_finds_what_brute_force_finds(
    variants: Variants, table: dict[str, dict[tuple[int, int], float]], shares: dict[str, float]
) -> None:
    """Of 9**6 allocations; the dual too: the smallest that loses no more than the best found is no larger."""
    menu = menu_of(layers_of(lower(variants.quantized({}))), table, "systolic_ws")
    limits = {name: menu.uniform[name] * Fraction(share) for name, share in shares.items()}
    found = allocate(menu, [Budget(name, limit) for name, limit in limits.items()])  # type: ignore[arg-type]
    amounts = {name: np.zeros(1) for name in ("loss", *limits)}
    for unit in menu.units:
        for name, sums in amounts.items():
            amounts[name] = np.add.outer(sums, [float(o.amounts[name]) for o in unit.options]).ravel()  # type: ignore[index]
    kept = np.logical_and.reduce([amounts[name] <= float(limit) for name, limit in limits.items()])
    assert found.predicted_loss == pytest.approx(amounts["loss"][kept].min(), rel=1e-12)
    name, *others = limits
    dual = allocate(menu, [Budget("loss", found.amounts["loss"])], name)  # type: ignore[arg-type]
    least = amounts[name][amounts["loss"] <= found.predicted_loss * (1 + 1e-12)].min()
    assert float(dual.amounts[name]) == pytest.approx(least)  # type: ignore[index]


def test_the_loss_ranks_random_allocations(
    variants: Variants, loss: Loss, table: dict[str, dict[tuple[int, int], float]]
) -> None:
    found = rank_allocations(variants, loss, table, 40)
    assert found.allocations == 40
    assert found.tau > 0.5 and found.p < 1e-4
    assert found == rank_allocations(variants, loss, table, 40)


@pytest.mark.parametrize("sign", [1, -1])
def test_tau_is_that_of_the_orders(table: dict[str, dict[tuple[int, int], float]], sign: int) -> None:
    class Sums:
        """Networks whose loss is what the table predicts, or the opposite."""

        def quantized(self, widths: dict[str, LayerWidths]) -> float:
            return sum(table[layer][w.weight_bits, w.act_bits] for layer, w in widths.items())  # type: ignore[index]

    assert rank_allocations(Sums(), lambda loss: sign * loss, table, 10).tau == pytest.approx(sign)  # type: ignore[arg-type]


def test_what_cannot_be_measured_is_one_line(images: torch.Tensor) -> None:
    with pytest.raises(CalibrationError, match="cross_entropy compares with labels"):
        Loss(network(), (images,), None, "cross_entropy")
    with pytest.raises(InputError, match=r"labels: 5 at \[59\], expected 0..4: the network has 5 outputs"):
        Loss(network(), (images,), np.arange(60) // 59 * 5, "cross_entropy")
    net = Network(x=(2, 4, 4))
    with pytest.raises(CalibrationError, match="one output"):
        Loss(net.graph(net.conv("conv", "x", 3)), (torch.randn(4, 2, 4, 4),), None, "kl")
    with pytest.raises(CalibrationError, match="did you mean 'mse'"):
        Variants(network(), (images,), Settings(method="mes"))


def test_methods_take_layers_in_parallel_unless_options_say_otherwise(images: torch.Tensor) -> None:
    for given, mode in (({}, "parallel"), ({"mode": "sequential"}, "sequential")):
        assert Variants(network(), (images,), Settings(method="adaquant", options=given)).options.mode == mode
    assert Variants(network(), (images,), Settings(method="mse")).settings.options == {}
