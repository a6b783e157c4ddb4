"""The loop of reconstruction: it lowers the error, ends in the integers it trained, stops and resumes as it should."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from intsim.calibrate import METHODS, quantize_graph, reconstruct, uwc
from intsim.calibrate.options import parse_options
from intsim.calibrate.reconstruct import Trained, random_mix
from intsim.calibrate.settings import Settings
from intsim.calibrate.uwc import UwcOptions
from intsim.calibrate.values import Values
from intsim.errors import CalibrationError
from intsim.frontend.capture import capture
from intsim.frontend.execute import run_float, run_node
from intsim.frontend.mirror import Mirror
from intsim.ir.file import Model
from intsim.ir.float_graph import FloatGraph, FloatNode
from intsim.ir.quantized import QuantizedGraph
from intsim.lower import lower
from intsim.verbs import prove, verify
from tests.conftest import shared


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.a, self.b, self.c = (nn.Conv2d(8, 8, 3, padding=1) for _ in range(3))
        self.fc = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x))
        x = torch.relu(self.c(torch.relu(self.b(torch.relu(self.a(x))))) + x)
        return self.fc(x.mean(dim=(2, 3)))


torch.manual_seed(0)
IMAGES = torch.randn(48, 3, 8, 8)
QUICK = {"iterations": "40"}


@pytest.fixture(name="graph", scope="module")
def small_graph() -> FloatGraph:
    torch.manual_seed(1)
    return capture(Residual(), IMAGES[:2])


def calibrated(
    graph: FloatGraph, method: str, options: Mapping[str, str] = QUICK, resume: Path | None = None, **settings: object
) -> QuantizedGraph:
    widths = {"weight_bits": 3, "act_bits": 4, "weight_grid": "asymmetric"} | settings
    return quantize_graph(graph, IMAGES, Settings(method, options=options, **widths), resume=resume)  # type: ignore[arg-type]


def error(graph: FloatGraph, quantized: QuantizedGraph) -> float:
    """Mean squared error of the integers' outputs."""
    (name,) = graph.outputs
    levels = Mirror(quantized).run(IMAGES)[name].double().numpy()
    node = quantized.graph.by_name[name]
    grid = quantized.grid_of(node.inputs[0])
    assert grid is not None
    scale = grid.scale.array * quantized.weights[name].weight.type.integer.scale.array
    return float(np.square(levels * scale - run_float(graph, IMAGES)[name].detach().numpy()).mean())


def codes(quantized: QuantizedGraph) -> bytes:
    return b"".join(w.weight.codes.tobytes() + (b"" if w.bias is None else w.bias.tobytes())
                    for w in quantized.weights.values()) + repr(quantized.quantizers.items()).encode()  # fmt: skip


@pytest.mark.parametrize("method", ["adaquant", "uwc", "adaround", "brecq", "qdrop"])
def test_a_method_is_better_than_rounding_and_ends_in_exact_integers(graph: FloatGraph, method: str) -> None:
    options = QUICK | ({"network": "60"} if method == "uwc" else {})
    quantized = calibrated(graph, method, options)
    assert error(graph, quantized) < 0.9 * error(graph, calibrated(graph, "mse", {}))
    model = Model(lower(quantized), quantized)
    assert verify(model, (IMAGES[:16].numpy(), None)).bit_exact
    assert prove(model).proved


@pytest.mark.parametrize(
    "options",
    [
        {"units": "pairs"},
        {"units": "network", "weight_rate": "1e-3"},
        {"rounding": "adaround"},
        {"drop": "0.5"},
        {"network": "0"},
    ],
)
def test_variants_of_uwc_train(graph: FloatGraph, options: Mapping[str, str]) -> None:
    quantized = calibrated(graph, "uwc", QUICK | {"network": "20"} | options)
    assert error(graph, quantized) < error(graph, calibrated(graph, "mse", {}))


@pytest.mark.parametrize(("name", "value"), [("iterations", 0), ("drop", 1.5), ("network", -1), ("bias_rate", -1.0)])
def test_options_of_uwc_that_make_no_sense_are_refused(name: str, value: float) -> None:
    with pytest.raises(CalibrationError, match=f"options of uwc: {name}: expected"):
        parse_options(UwcOptions, {name: str(value)}, "uwc")


RATES = ("weight_rate", "weight_scale_rate", "bias_rate", "act_scale_rate", "act_zero_point_rate")
STILL = {"iterations": "1", **dict.fromkeys(RATES, "0")}


@pytest.mark.parametrize("start", ["mse", "least_squares"])
@pytest.mark.parametrize(
    ("method", "scales", "options"),
    [
        ("adaquant", "multiplier", STILL),
        ("uwc", "multiplier", {**STILL, "rounding": "adaround", "rounding_rate": "0"}),
        ("adaround", "multiplier", {"iterations": "1", "rounding_rate": "0"}),
        ("rapq", "pow2", {"iterations": "1", "network": "0", "exponents": "fixed", "rounding_rate": "0"}),
    ],
)
def test_training_begins_with_the_codes_of_its_start(
    graph: FloatGraph, method: str, scales: str, options: Mapping[str, str], start: str
) -> None:
    wanted = calibrated(graph, start, {}, scales=scales).weights
    found = calibrated(graph, method, {**options, "start": start}, scales=scales).weights
    for name, layer in wanted.items():
        grid, own = layer.weight.type.integer, found[name].weight.type.integer
        np.testing.assert_array_equal(found[name].weight.codes, layer.weight.codes, err_msg=name)
        np.testing.assert_allclose(own.scale.array, grid.scale.array, rtol=1e-6)
        assert own.zero_point == grid.zero_point


def test_adaquant_in_parallel_reads_what_the_float_network_gives(graph: FloatGraph) -> None:
    parallel = calibrated(graph, "adaquant", QUICK | {"mode": "parallel"})
    assert codes(parallel) != codes(calibrated(graph, "adaquant"))
    assert error(graph, parallel) < error(graph, calibrated(graph, "mse", {}))


def test_powers_of_two_stay_powers_of_two(graph: FloatGraph) -> None:
    quantized = calibrated(graph, "adaquant", scales="pow2")
    assert all(w.weight.type.integer.scale.power_of_two for w in quantized.weights.values())
    assert error(graph, quantized) < error(graph, calibrated(graph, "mse", {}, scales="pow2"))


def test_training_begins_at_the_mean_results_of_the_float_network(graph: FloatGraph) -> None:
    still = {f"{kind}_rate": "0" for kind in METHODS["uwc"].options().rates}
    centered, rounded = (
        calibrated(graph, method, options, weight_bits=2)
        for method, options in (("uwc", {"iterations": "1", **still}), ("mse", {}))
    )
    wanted: dict[str, Tensor] = {}
    run_float(graph, IMAGES, visit=lambda name, x: wanted.update({name: x}))

    def offset(quantized: QuantizedGraph, node: FloatNode) -> float:
        """The largest distance of a channel's means, in deviations of the layer."""
        grid = quantized.grid_of(quantized.graph.by_name[node.name].inputs[0])
        axes = (0, 2, 3)[: wanted[node.name].ndim - 1]
        assert grid is not None
        scale = torch.tensor(grid.scale.array * quantized.weights[node.name].weight.type.integer.scale.array)
        means = Mirror(quantized).run(IMAGES, wanted=[node.name])[node.name].double().mean(axes) * scale
        return float((means - wanted[node.name].mean(axes)).abs().max() / wanted[node.name].std())

    for node in graph.weighted[1:]:  # the first has 8 bits, and next to no error
        assert offset(centered, node) < 0.25 * offset(rounded, node)


def test_the_cross_term_of_a_unit_is_noted(graph: FloatGraph) -> None:
    metadata = calibrated(graph, "uwc", QUICK | {"network": "0"}).metadata
    (noted,) = (metadata[key] for key in metadata if key.startswith("cross_term."))
    term, total = map(float, noted.split(" of "))
    assert np.isfinite(term) and total > 0


def test_a_units_error_is_that_of_all_images_at_once(graph: FloatGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs: list[tuple[float, float]] = []

    def note(trained: Trained) -> Mapping[str, str]:
        with torch.no_grad():
            results = trained.simulation.run([x[:50] for x in trained.inputs])
        whole = sum(float((y - t[:50]).abs().pow(1.5).mean()) for y, t in zip(results, trained.targets, strict=True))
        pairs.append((trained.error(50, 1.5), whole))
        return {}

    monkeypatch.setattr(reconstruct, "POSITIONS", 1000)  # some images of this network
    monkeypatch.setattr(uwc, "cross_term", note)
    calibrated(graph, "uwc", QUICK)
    assert pairs and all(parts == pytest.approx(whole, rel=1e-5) for parts, whole in pairs)


def test_the_integers_are_what_was_simulated(graph: FloatGraph, monkeypatch: pytest.MonkeyPatch) -> None:
    """Codes of every quantizer from the simulation at the end of training, against the mirror's: ties aside."""
    from intsim.calibrate.simulation import Simulation

    simulations: list[Simulation] = []
    decide = Simulation.decide
    monkeypatch.setattr(Simulation, "decide", lambda s, notes: simulations.append(s) or decide(s, notes))  # type: ignore[func-returns-value]
    quantized = calibrated(graph, "uwc", QUICK | {"network": "20"})
    names = tuple(quantized.quantizers)
    simulated = Values(simulations[0].graph, (IMAGES,), simulations[0].evaluate).get(names)
    exact = Mirror(quantized).run(IMAGES)
    for name, value in zip(names, simulated, strict=True):
        grid = quantized.quantizers[name].grid
        level = exact[name] - grid.zero_point[0]
        differs = (value / float(grid.scale.array[0])).round().long() != level
        assert differs.float().mean() < 2e-3, name


def test_the_seed_decides(graph: FloatGraph) -> None:
    first, again, other = (
        calibrated(graph, "uwc", QUICK | {"drop": "0.3", "network": "20"}, seed=seed) for seed in (0, 0, 1)
    )
    assert codes(first) == codes(again) != codes(other)


class StoppedError(Exception):
    pass


def test_a_stopped_calibration_resumes_to_the_same_result(graph: FloatGraph, tmp_path: Path) -> None:
    settings = Settings("uwc", 3, 4, options=QUICK | {"network": "20"}, weight_grid="asymmetric")
    whole = quantize_graph(graph, IMAGES, settings)

    def stop(what: str, done: int, total: int) -> None:
        if what == "uwc" and done > 70:
            raise StoppedError

    with pytest.raises(StoppedError):
        quantize_graph(graph, IMAGES, settings, stop, tmp_path)
    seen: list[int] = []
    resumed = quantize_graph(
        graph, IMAGES, settings, lambda what, done, _: seen.append(done) if what == "uwc" else None, tmp_path
    )
    assert min(seen) >= 40  # the first unit was not trained again
    assert codes(resumed) == codes(whole) and resumed.metadata == whole.metadata


def test_tuning_begins_where_the_method_ended(graph: FloatGraph, tmp_path: Path) -> None:
    calibrated(graph, "adaquant", resume=tmp_path)
    state = (tmp_path / "state.safetensors").read_bytes()
    tuned = calibrated(graph, "adaquant", resume=tmp_path, tune="batchnorm")
    assert (tmp_path / "state.safetensors").read_bytes() == state
    assert codes(tuned) == codes(calibrated(graph, "adaquant", tune="batchnorm"))


def test_options_in_another_order_are_the_same_calibration(graph: FloatGraph, tmp_path: Path) -> None:
    options = QUICK | {"batch": "16", "bias_rate": "2e-2"}
    first = calibrated(graph, "adaquant", options, resume=tmp_path)
    again = calibrated(graph, "adaquant", dict(reversed(options.items())), resume=tmp_path)
    assert codes(first) == codes(again)


def test_a_folder_of_another_calibration_is_refused(graph: FloatGraph, tmp_path: Path) -> None:
    calibrated(graph, "adaquant", resume=tmp_path)
    with pytest.raises(CalibrationError, match="made with another network, other data or settings"):
        calibrated(graph, "adaquant", resume=tmp_path, seed=1)
    (tmp_path / "state.safetensors").write_bytes(b"damaged")
    with pytest.raises(CalibrationError, match="no state to resume from"):
        calibrated(graph, "adaquant", resume=tmp_path)


def test_a_diverging_loss_stops_and_keeps_the_last_good_state(graph: FloatGraph, tmp_path: Path) -> None:
    options = {"iterations": "300", "bias_rate": "1e6"}
    with pytest.raises(
        CalibrationError, match=r"unit 'stem': the loss was .* after \d+ iterations; .* last good state"
    ):
        calibrated(graph, "adaquant", options, resume=tmp_path)
    assert (tmp_path / "stopped.safetensors").exists()
    assert not (tmp_path / "state.safetensors").exists()


@pytest.mark.parametrize("iterations", [5, 20])
def test_a_loss_that_diverges_within_a_short_training_is_found(graph: FloatGraph, iterations: int) -> None:
    options = {"iterations": str(iterations), "weight_rate": "1e6"}
    with pytest.raises(CalibrationError, match=f"after {iterations - 1} iterations; lower the learning rates"):
        calibrated(graph, "adaquant", options)


def test_units_are_checked_before_training(graph: FloatGraph) -> None:
    with pytest.raises(CalibrationError, match="'fc' is in none"):
        calibrated(graph, "uwc", QUICK | {"units": "stem,a+b+c"})


@pytest.mark.parametrize("budget", [0, 1 << 30])
def test_values_are_the_same_in_memory_and_in_files(graph: FloatGraph, budget: int) -> None:
    values = Values(graph, (IMAGES,), lambda node, *operands: run_node(node, *operands), budget)
    names = [node.name for node in graph.nodes]
    (before,) = values.get(names[:1])
    everything = dict(zip(names, values.get(names), strict=True))
    torch.testing.assert_close(everything[graph.outputs[0]], run_float(graph, IMAGES)[graph.outputs[0]])
    assert everything[names[0]] is before
    assert bool(list(Path(values.folder.name).iterdir())) == (budget == 0)
    values.forget_all_but(names[-1:])
    assert set(values.kept) == {*graph.inputs, names[-1]}


def test_no_value_is_computed_twice_on_the_way_through_the_network(graph: FloatGraph) -> None:
    computed: list[str] = []

    def evaluate(node: FloatNode, *operands: Tensor) -> Tensor:
        computed.append(node.name)
        return run_node(node, *operands)

    values = Values(graph, (IMAGES[:1],), evaluate)
    names = [node.name for node in graph.nodes]
    for i, name in enumerate(names, start=1):
        values.get([name])
        values.forget_all_but(names[i:])
    assert computed == names


def test_adaquant_on_resnet20_at_three_bits() -> None:
    """A few images and steps already leave rounding to nearest behind."""
    import sys

    folder = shared("zoo.py").parent
    sys.path.insert(0, str(folder))
    try:
        import zoo
    finally:
        sys.path.remove(str(folder))
    images, _ = zoo.cifar10("train", 64)
    inputs = zoo.normalize_cifar(images)
    graph = capture(zoo.resnet20(), inputs[:2])
    (name,) = graph.outputs
    wanted = run_float(graph, inputs)[name].detach().argmax(1)

    def agreement(method: str, options: Mapping[str, str]) -> float:
        settings = Settings(method, 3, 3, options=options)
        levels = Mirror(quantize_graph(graph, inputs, settings)).run(inputs, wanted=[name])[name]
        return float((levels.argmax(1) == wanted).double().mean())

    assert set(METHODS) >= {"adaquant", "uwc"}
    assert agreement("adaquant", {"iterations": "30"}) > agreement("mse", {}) + 0.15


@pytest.mark.parametrize("drop", [1e-3, 0.25, 0.5, 1.0])
def test_a_share_of_activations_stays_float(drop: float) -> None:
    quantized, real = torch.zeros(7, 3, 61, 59), torch.ones(7, 3, 61, 59)
    mix = random_mix(drop, torch.Generator().manual_seed(0))
    first, second = mix(quantized, real), mix(quantized, real)
    for mixed in (first, second):
        assert set(mixed.unique().tolist()) <= {0.0, 1.0}
        deviation = (drop * (1 - drop) / mixed.numel()) ** 0.5
        assert float(mixed.mean()) == pytest.approx(drop, abs=5 * deviation + 2**-16)
    assert drop == 1 or (first != second).any()
