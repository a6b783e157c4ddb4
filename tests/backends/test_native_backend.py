"""The native backend equals the reference on every value of a graph: all widths, grids, shapes and batches."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from intsim.arithmetic.accumulate import Accumulator
from intsim.arithmetic.engine_rules import EngineRule
from intsim.arithmetic.rounding import Rounding
from intsim.backends import load_backend
from intsim.dtypes import S32, IntType
from intsim.errors import BackendError
from intsim.ir import ops
from intsim.ir.graph import Graph, Node
from intsim.ir.types import Grid, Scale, TensorType, Value, plain
from tests.ir.sample import every_operator

pytestmark = pytest.mark.torchless

ONE = Scale((0,), True)


def constant(values: object, element: IntType = S32) -> Value:
    array = np.asarray(values, element.storage)
    return Value(TensorType(plain(element), array.shape), array)


class Network:
    """A random graph in the making: each method appends a node and returns its name."""

    def __init__(self, channels: int, size: int, weight_bits: int, codes: Grid, style: str, seed: int):
        self.rng = np.random.default_rng(seed)
        self.channels, self.weight_bits, self.codes, self.style = channels, weight_bits, codes, style
        self.inputs = {"x": TensorType(None, (None, channels, size, size))}
        self.constants: dict[str, Value] = {}
        self.nodes: list[Node] = []

    def node(self, name: str, op: object, *inputs: str) -> str:
        self.nodes.append(Node(name, op, inputs))  # type: ignore[arg-type]
        return name

    def constant(self, name: str, values: object, element: IntType = S32) -> str:
        self.constants[name] = constant(values, element)
        return name

    def weight(self, name: str, shape: tuple[int, ...]) -> str:
        """Asymmetric per channel, on the odd grid at 2 bits, with one channel of minima and one of maxima."""
        element, step = IntType(True, self.weight_bits), 2 if self.weight_bits == 2 else 1
        zeros = [-1] * shape[0] if step == 2 else self.rng.integers(-3, 4, shape[0]).tolist()
        codes = self.rng.integers(element.min, element.max + 1, shape).astype(np.int8)
        codes[0], codes[-1] = element.min, element.max
        grid = Grid(element, ONE, tuple(zeros), step, axis=0)
        self.constants[name] = Value(TensorType(grid, shape), codes)
        return name

    def conv(self, name: str, x: str, outputs: int, kernel: int = 3, groups: int = 1, **attributes: object) -> str:
        depth = self.graph((x,)).types[x].shape[1] // groups  # type: ignore[operator]
        weight = self.weight(f"{name}.weight", (outputs, depth, kernel, kernel))
        bias = self.constant(f"{name}.bias", self.rng.integers(-500, 500, outputs))
        return self.node(name, ops.Conv2d(groups=groups, **attributes), x, weight, bias)  # type: ignore[arg-type]

    def requantize(self, name: str, acc: str) -> str:
        channels = int(self.graph((acc,)).types[acc].shape[1] or 0)
        element = self.codes.element
        if self.style == "shift":
            shift = self.constant(f"{name}.shift", self.rng.integers(-1, 9, channels))
            return self.node(name, ops.RequantizeShift(self.codes, Rounding.HALF_EVEN), acc, shift)
        if self.style == "multiplier":
            op = ops.RequantizeMultiplier(self.codes, Rounding.HALF_UP, low=element.min + 1)
            multiplier = self.constant(f"{name}.multiplier", self.rng.integers(1 << 29, 1 << 30, channels))
            return self.node(name, op, acc, multiplier, self.constant(f"{name}.shift", [36]))
        count = min(element.max - element.min, 20)
        thresholds = self.constant(f"{name}.t", np.sort(self.rng.integers(-900, 900, (channels, count)), axis=1))
        base = self.constant(f"{name}.base", np.full(channels, element.min))
        flags = [self.constant(f"{name}.{f}", self.rng.integers(0, 2, channels), IntType(False, 1)) for f in "sd"]
        return self.node(name, ops.Threshold(self.codes), acc, thresholds, base, *flags)

    def graph(self, outputs: tuple[str, ...]) -> Graph:
        return Graph(self.inputs, self.constants, tuple(self.nodes), outputs)


def residual_network(
    weight_bits: int, codes: Grid, style: str, channels: int = 5, size: int = 9, seed: int = 0
) -> Graph:
    """Strided, grouped, depthwise and 1x1 convolutions, a residual, pooling and a linear layer."""
    net = Network(channels, size, weight_bits, codes, style, seed)
    wide = 3 * channels
    x = net.node("in", ops.Quantize(codes), "x")
    stem = net.requantize(
        "stem.q", net.conv("stem", x, wide, stride=(2, 1), padding=(1, 1, 2, 0), pad_code=codes.element.max)
    )
    deep = net.requantize("deep.q", net.conv("deep", stem, wide, groups=wide, padding=(1, 1, 1, 1), pad_code=0))
    acc = net.conv("last", deep, wide, kernel=2, groups=channels, padding=(1, 0, 0, 1), dilation=(1, 1), pad_code=1)
    net.constant("three", [3]), net.constant("one", [1]), net.constant("five", [5])
    total = net.node("sum", ops.Add(codes, Rounding.HALF_AWAY), acc, stem, "one", "three", "five")
    pooled = net.node("max", ops.MaxPool((2, 2), (2, 2), (1, 0, 0, 1)), total)
    net.requantize("acc.q", acc), net.requantize("acc.r", acc)
    mean = net.node("mean", ops.AdaptiveAveragePool(codes, Rounding.HALF_DOWN, (1, 1), 3, 1), pooled)
    flat = net.node("flat", ops.Reshape((None, wide)), mean)
    net.node("fc", ops.Linear(), flat, net.weight("fc.weight", (7, wide)))
    return net.graph(("fc", "acc.q"))


def assert_equal_everywhere(graph: Graph, batch: int, threads: int | None = None) -> dict[str, str]:
    shape = [int(extent or 0) for extent in graph.inputs["x"].shape[1:]]
    x = np.random.default_rng(1).normal(0, 3, (batch, *shape)).astype(np.float32)
    names = [node.name for node in graph.nodes]
    native = load_backend("native", graph, threads=threads)
    expected = load_backend("reference", graph).run(x, wanted=names)
    for name, value in native.run(x, wanted=names).items():
        np.testing.assert_array_equal(value.codes, expected[name].codes, err_msg=name, strict=True)
    for name, value in native.run(x).items():  # with fused epilogues
        np.testing.assert_array_equal(value.codes, expected[name].codes, err_msg=name, strict=True)
    return native.kernels  # type: ignore[attr-defined]


@pytest.mark.parametrize("style", ["shift", "multiplier", "threshold"])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("weight_bits", range(2, 9))
def test_every_pair_of_widths(weight_bits: int, signed: bool, style: str) -> None:
    for act_bits in range(2, 9):
        codes = Grid(IntType(signed, act_bits), ONE, (1,))
        kernels = assert_equal_everywhere(residual_network(weight_bits, codes, style, seed=act_bits), batch=2)
        assert "reference" not in kernels.values()


def requantized(rule: Rounding | EngineRule | str, exponent: int) -> Graph:
    """A convolution and a requantization by a rule, of scales around 2**exponent."""
    net = Network(5, 9, 4, Grid(IntType(True, 8), ONE, (3,)), "", seed=abs(exponent))
    acc = net.conv("conv", net.node("in", ops.Quantize(net.codes), "x"), 19, padding=(1, 1, 1, 1))
    if isinstance(rule, str) and rule.startswith("float32"):
        factors = tuple(np.ldexp(net.rng.uniform(0.5, 1, 19), exponent).tolist())
        net.node("q", ops.RequantizeFloat32(net.codes, factors, rule == "float32_first", low=3), acc)
        return net.graph(("q",))
    bits = 15 if rule is EngineRule.TOSA_SCALE16 else 31
    multiplier = net.constant("m", net.rng.integers(1 << bits - 1, 1 << bits, 19))
    shift = net.constant("s", np.clip(bits - exponent - net.rng.integers(0, 2, 19), -31, 62))
    net.node("q", ops.RequantizeMultiplier(net.codes, rule, low=3), acc, multiplier, shift)  # type: ignore[arg-type]
    return net.graph(("q",))


@pytest.mark.parametrize("rule", [*EngineRule, *Rounding, "float32", "float32_first"])
@pytest.mark.parametrize("exponent", [-20, -9, -6, 0, 4])
def test_every_rule_of_requantization(rule: Rounding | EngineRule | str, exponent: int) -> None:
    kernels = assert_equal_everywhere(requantized(rule, exponent), batch=3)
    assert "reference" not in kernels.values()


def test_a_rule_that_may_overflow_is_left_to_the_reference() -> None:
    """The accumulator times 2**20 leaves the engine's 32 bits for some inputs: only those are refused."""
    graph = requantized(EngineRule.GEMMLOWP_DOUBLE, 20)
    native = load_backend("native", graph)
    assert native.kernels["q"] == "reference"  # type: ignore[attr-defined]
    with pytest.raises(BackendError, match="acc << exponent"):
        native.run(np.full((1, 5, 9, 9), 100, np.float32))


@pytest.mark.parametrize("batch", [1, 33])
@pytest.mark.parametrize("size", [1, 2, 17])
@pytest.mark.parametrize("threads", [1, 2])
def test_batches_and_sizes(batch: int, size: int, threads: int) -> None:
    """Images of 1x1 and kernels larger than the image included."""
    codes = Grid(IntType(False, 4), ONE)
    assert_equal_everywhere(residual_network(4, codes, "shift", channels=7, size=size), batch, threads)


def test_several_chunks() -> None:
    """More images than go through the graph at once."""
    assert_equal_everywhere(residual_network(4, Grid(IntType(False, 4), ONE), "shift", size=3), batch=150)


def test_every_operator_of_the_graph() -> None:
    for seed in range(3):
        assert_equal_everywhere(every_operator(seed), batch=5)


def test_the_portable_path_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTSIM_ISA", "portable")
    kernels = assert_equal_everywhere(residual_network(5, Grid(IntType(True, 6), ONE), "threshold"), batch=3)
    assert {name for name in kernels.values() if "portable" not in name} == set()


def test_movement_of_codes() -> None:
    """Copies in NHWC mean what the operators mean in NCHW; consumers with different paddings share one tensor."""
    codes = Grid(IntType(True, 5), ONE)
    net = Network(6, 8, 3, codes, "shift", 0)
    x = net.node("in", ops.Quantize(codes), "x")
    part = net.node("part", ops.Slice((0, 1, 0, 1), (0, 6, 8, 8), (1, 2, 2, 3)), x)
    padded = net.node("padded", ops.Pad((0, 1, 2, 0), (0, 0, 1, 3), -7), part)
    for axis in (1, 2, 3):
        net.node(f"joined{axis}", ops.Concat(axis), part, part)
    net.node("rows", ops.Upsample((2, 3)), part)
    net.node("columns", ops.Upsample((2,)), part)
    net.node("turned", ops.Permute((0, 3, 1, 2)), part)
    for i, (pad, code) in enumerate((((1, 1, 1, 1), -7), ((0, 2, 0, 0), 3), ((2, 0, 1, 0), -7), ((0, 0, 0, 0), None))):
        net.conv(f"conv{i}", padded, 5, kernel=2, padding=pad, pad_code=code)
        net.conv(f"other{i}", x, 5, kernel=2, padding=pad, pad_code=code)
    net.node("clamped", ops.Clamp(-3, 9), x)
    net.node("looked", ops.Table(codes), x, net.constant("lut", np.arange(32)[::-1] - 16, codes.element))
    assert_equal_everywhere(net.graph(("padded", "conv0")), batch=3)


def test_forms_that_no_kernel_computes_run_by_their_meaning() -> None:
    """Wrapping accumulators, weight levels beyond int16, wide codes, a zero point per channel with padding."""
    net = Network(3, 6, 4, Grid(IntType(False, 4), ONE), "shift", 0)
    x = net.node("in", ops.Quantize(net.codes), "x")
    net.conv("wraps", x, 4, accumulator=Accumulator(9, "wrap"))
    net.conv("saturates", x, 4, accumulator=Accumulator(9, "saturate"))
    net.conv("wide", x, 4, accumulator=Accumulator(40))
    per_channel = Grid(IntType(False, 8), ONE, (1, 2, 3))
    net.inputs["codes"] = TensorType(per_channel, (None, 3, 6, 6))
    net.conv("uneven", "codes", 4, padding=(1, 1, 1, 1))
    net.conv("even", "codes", 4)
    graph = net.graph(("even",))
    rng = np.random.default_rng(0)
    inputs = rng.normal(0, 3, (2, 3, 6, 6)).astype(np.float32), rng.integers(0, 256, (2, 3, 6, 6)).astype(np.uint8)
    names = [node.name for node in graph.nodes]
    native = load_backend("native", graph)
    expected = load_backend("reference", graph).run(*inputs, wanted=names)
    for name, value in native.run(*inputs, wanted=names).items():
        np.testing.assert_array_equal(value.codes, expected[name].codes, err_msg=name, strict=True)
    kernels = native.kernels  # type: ignore[attr-defined]
    assert {name for name, kernel in kernels.items() if kernel == "reference"} == {
        "wraps",
        "saturates",
        "wide",
        "uneven",
    }


def test_several_threads_run_one_backend() -> None:
    graph = residual_network(4, Grid(IntType(False, 4), ONE), "shift")
    native, reference = load_backend("native", graph, threads=2), load_backend("reference", graph)
    batches = [np.random.default_rng(i).normal(0, 3, (1 + i % 3, 5, 9, 9)).astype(np.float32) for i in range(12)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda x: native.run(x)["fc"].codes, batches))
    for x, codes in zip(batches, results, strict=True):
        np.testing.assert_array_equal(codes, reference.run(x)["fc"].codes)


def test_what_a_kernel_refuses_names_the_layer() -> None:
    net = Network(3, 6, 4, Grid(IntType(False, 4), ONE), "shift", 0)
    acc = net.conv("stem", net.node("in", ops.Quantize(net.codes), "x"), 4)
    thresholds, zeros = net.constant("t", [[0, 1, 2]] * 4), net.constant("zeros", [0] * 4)
    flags = net.constant("flags", [0] * 4, IntType(False, 1))
    net.node("q", ops.Threshold(Grid(IntType(False, 1), ONE)), acc, thresholds, zeros, flags, flags)
    with pytest.raises(BackendError, match="conv2d 'stem': code 3 of channel 0 leaves the output type"):
        load_backend("native", net.graph(("q",)))


@pytest.mark.parametrize("axis", [1, 2, 3])
def test_what_a_concatenation_alone_reads_is_made_in_its_place(axis: int) -> None:
    """A join of joins with a padded reader: no operand needs memory of its own."""
    net = Network(4, 6, 4, Grid(IntType(False, 4), ONE), "shift", 0)
    x = net.node("in", ops.Quantize(net.codes), "x")
    parts = [net.requantize(f"q{i}", net.conv(f"c{i}", x, 4, kernel=1)) for i in range(3)]
    inner = net.node("inner", ops.Concat(axis), *parts[:2])
    if axis == 1:
        parts[2] = net.requantize("q3", net.conv("c3", x, 8, kernel=1))
    elif axis == 2:
        parts[2] = net.node("pooled", ops.MaxPool((2, 1), (1, 1), (1, 0, 0, 0)), parts[2])
    joined = net.node("joined", ops.Concat(axis), inner, parts[2])
    net.requantize("last.q", net.conv("last", joined, 3, padding=(1, 1, 1, 1), pad_code=2))
    graph = net.graph(("last.q",))
    assert_equal_everywhere(graph, batch=3)
    backend = load_backend("native", graph)
    source, whole, last = (int(np.prod(graph.types[name].shape[1:])) for name in ("in", "joined", "last.q"))  # type: ignore[arg-type]
    before_pooling = 144 if axis == 2 else 0
    assert backend.live_bytes == max(source + whole + before_pooling, whole + last)  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["table", "pool", "sum", "conv"])
@pytest.mark.parametrize("channels", [(5, 3), (6, 2), (5, 6), (3, 1)])
def test_a_part_of_a_concatenation_is_written_alone(channels: tuple[int, int], kind: str) -> None:
    """The operand's pixels may be as far apart as those of the whole, but hold fewer channels."""
    net = Network(5, 6, 8, Grid(IntType(False, 4), ONE), "shift", 0)
    x = net.node("in", ops.Quantize(net.codes), "x")
    net.constant("one", [1]), net.constant("three", [3])
    first, second = (net.requantize(f"q{i}", net.conv(f"c{i}", x, n, kernel=1)) for i, n in enumerate(channels))
    other = net.node("other", ops.Clamp(2, 12), second)
    match kind:
        case "table":
            first = net.node("part", ops.Clamp(1, 9), first)
        case "pool":
            first = net.node("part", ops.MaxPool((3, 3), (1, 1), (1, 1, 1, 1)), first)
        case "sum":
            first = net.node("part", ops.Add(net.codes, Rounding.HALF_EVEN), first, first, "one", "three", "three")
        case "conv":
            first = net.requantize("part", net.conv("c", first, channels[0], kernel=1))
    net.node("joined", ops.Concat(1), first, other)
    assert_equal_everywhere(net.graph(("joined",)), batch=3)


def test_flattening_keeps_the_order_of_channels_first() -> None:
    net = Network(5, 4, 4, Grid(IntType(False, 4), ONE), "shift", 0)
    x = net.node("in", ops.Quantize(net.codes), "x")
    flat = net.node("flat", ops.Reshape((None, 80)), x)
    net.node("fc", ops.Linear(), flat, net.weight("fc.weight", (7, 80)))
    assert "reference" not in assert_equal_everywhere(net.graph(("fc",)), batch=3).values()


def test_readers_that_take_pixels_apart_read_a_slice_where_it_is() -> None:
    """Every second pixel of some channels, as a residual stream, to a pool, to a table and out."""
    net = Network(8, 9, 4, Grid(IntType(False, 4), ONE), "shift", 0)
    x = net.node("in", ops.Quantize(net.codes), "x")
    part = net.node("part", ops.Slice((0, 2, 1, 0), (0, 8, 9, 9), (1, 1, 2, 3)), x)
    net.constant("one", [1]), net.constant("three", [3])
    acc = net.conv("conv", x, 6, kernel=1)
    strided = net.node("strided", ops.Slice((0, 0, 1, 0), (0, 6, 9, 9), (1, 1, 2, 3)), net.requantize("q", acc))
    net.node("sum", ops.Add(net.codes, Rounding.HALF_EVEN), part, strided, "one", "three", "three")
    net.node("pool", ops.MaxPool((2, 2), (1, 1)), part)
    net.node("clamped", ops.Clamp(1, 9), part)
    assert_equal_everywhere(net.graph(("sum", "pool", "clamped")), batch=3)
