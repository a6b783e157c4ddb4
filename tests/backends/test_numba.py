"""The numba backend equals the reference, bit for bit, on every operator, width, rounding and order."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from intsim.arithmetic.accumulate import Accumulator
from intsim.arithmetic.requantize import EngineRule
from intsim.arithmetic.rounding import Rounding
from intsim.backends.numba import NumbaBackend, prepare
from intsim.backends.reference import ReferenceBackend
from intsim.dtypes import S32, S64, IntType
from intsim.errors import BackendError
from intsim.ir import ops
from intsim.ir.graph import Graph, Node
from intsim.ir.types import Grid, Scale, TensorType, Value, plain
from tests.ir.sample import constant, every_operator

pytestmark = pytest.mark.torchless

few = settings(max_examples=30)
seeds = st.integers(0, 1 << 32)
ROUNDINGS = st.sampled_from(list(Rounding))
CODES, S20, U1 = Grid(IntType(False, 8), Scale((0.5,)), (3,)), Grid(IntType(True, 20), Scale((0.5,))), IntType(False, 1)


def random_codes(grid: Grid, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[Any]:
    element = grid.element
    codes = rng.integers(element.min, element.max, shape, endpoint=True, dtype=element.storage)
    codes.flat[0], codes.flat[-1] = element.min, element.max
    return codes


def constant_of(grid: Grid, shape: tuple[int, ...], rng: np.random.Generator) -> Value:
    return Value(TensorType(grid, shape), random_codes(grid, shape, rng))


def single(op: Any, inputs: dict[str, TensorType], constants: dict[str, Value] | None = None) -> Graph:
    """The graph of one operator."""
    constants = constants or {}
    return Graph(inputs, constants, (Node("y", op, (*inputs, *constants)),), ("y",))


def agree(graph: Graph, *codes: NDArray[Any], compiled: bool = True) -> None:
    """Both backends give the same codes; `compiled` says whether a loop of numba's does it."""
    assert (prepare(graph, graph.nodes[-1]) is not None) == compiled
    expected = ReferenceBackend(graph, threads=1).run(*codes)["y"]
    actual = NumbaBackend(graph, threads=1).run(*codes)["y"]
    actual.check("y")
    np.testing.assert_array_equal(actual.codes, expected.codes)


@st.composite
def grids(draw: st.DrawFn, channels: int = 1, axis: int = 1) -> Grid:
    element = draw(st.builds(IntType, st.booleans(), st.integers(2, 8)))
    zeros = draw(st.lists(st.integers(-9, 9), min_size=1, max_size=1) if channels == 1 else st.just([1] * channels))
    return Grid(element, Scale((0.5,)), tuple(zeros), draw(st.sampled_from([1, 1, 2])), axis)


def test_every_operator_in_one_graph() -> None:
    graph = every_operator()
    x = np.random.default_rng(1).normal(0, 2, (19, 4, 6, 6)).astype(np.float32)
    names = [node.name for node in graph.nodes]
    expected = ReferenceBackend(graph).run(x, wanted=names)
    for threads in (1, 2, 3):
        actual = NumbaBackend(graph, threads).run(x, wanted=names)
        for name in names:
            actual[name].check(name)
            np.testing.assert_array_equal(actual[name].codes, expected[name].codes, err_msg=name)


@st.composite
def accumulators(draw: st.DrawFn) -> Accumulator:
    overflow, order = draw(st.sampled_from(["exact", "wrap", "saturate"])), draw(st.sampled_from(["channel", "pixel"]))
    bits = draw(st.sampled_from([32, 40, 64]) if overflow == "exact" else st.integers(1, 64))
    return Accumulator.parse(f"s{bits} {overflow} {order}_major")


@few
@given(accumulators(), grids(), st.sampled_from([(1, 4, 5), (2, 4, 6), (4, 4, 4), (2, 2, 2)]), st.data())
def test_conv2d(accumulator: Accumulator, x: Grid, channels: tuple[int, int, int], data: st.DataObject) -> None:
    groups, inputs, outputs = channels
    outputs = outputs // groups * groups
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    kernel, stride, dilation = (data.draw(pair, label=what) for what in ("kernel", "stride", "dilation"))
    padding = data.draw(st.tuples(*[st.integers(0, 2)] * 4), label="padding")
    rng = np.random.default_rng(data.draw(seeds))
    pad_code = int(rng.integers(x.element.min, x.element.max, endpoint=True))
    op = ops.Conv2d(stride, padding, dilation, groups, pad_code, accumulator)
    constants = {
        "w": constant_of(data.draw(grids(outputs, axis=0)), (outputs, inputs // groups, *kernel), rng),
        "b": constant_of(plain(IntType(True, 14)), (outputs,), rng),
    }
    graph = single(op, {"x": TensorType(x, (None, inputs, 9, 8))}, constants)
    agree(graph, random_codes(x, (3, inputs, 9, 8), rng))


@pytest.mark.parametrize("act_bits", range(2, 9))
def test_every_pair_of_widths_at_the_corner_of_the_range(act_bits: int) -> None:
    """Every activation at its maximum, the weights of a channel all at their minimum: the largest accumulators."""
    for weight_bits, signed in product(range(2, 9), (False, True)):
        x, w = Grid(IntType(signed, act_bits), Scale((1.0,))), plain(IntType(True, weight_bits))
        weight = np.full((3, 5, 3, 3), w.element.min, np.int8)
        weight[1] = w.element.max
        graph = single(
            ops.Conv2d(padding=(1, 1, 1, 1)),
            {"x": TensorType(x, (None, 5, 4, 3))},
            {"w": Value(TensorType(w, weight.shape), weight)},
        )
        agree(graph, np.full((2, 5, 4, 3), x.element.max))


@pytest.mark.parametrize("batch", [1, 33])
@pytest.mark.parametrize(
    ("image", "weight", "op"),
    [
        ((7, 1, 1), (5, 7, 1, 1), ops.Conv2d()),
        ((3, 2, 1), (4, 3, 5, 5), ops.Conv2d(padding=(2, 2, 2, 2))),
        ((3, 9, 9), (70, 3, 3, 3), ops.Conv2d(stride=(2, 2), padding=(0, 1, 0, 1))),
        ((9, 8, 8), (9, 1, 3, 3), ops.Conv2d(padding=(1, 1, 1, 1), groups=9)),
    ],
    ids=["one pixel", "kernel larger than the image", "asymmetric", "depthwise"],
)
def test_hard_shapes(image: tuple[int, ...], weight: tuple[int, ...], op: ops.Conv2d, batch: int) -> None:
    rng = np.random.default_rng(0)
    constants = {"w": constant_of(plain(IntType(True, 8)), weight, rng)}
    agree(single(op, {"x": TensorType(CODES, (None, *image))}, constants), random_codes(CODES, (batch, *image), rng))


@few
@given(accumulators(), grids(), grids(3, axis=0), st.sampled_from([(5,), (4, 5), (2, 3, 5)]), seeds)
def test_linear(accumulator: Accumulator, x: Grid, weight: Grid, shape: tuple[int, ...], seed: int) -> None:
    rng = np.random.default_rng(seed)
    constants = {"w": constant_of(weight, (3, 5), rng), "b": constant_of(plain(IntType(True, 10)), (3,), rng)}
    graph = single(ops.Linear(accumulator), {"x": TensorType(x, (None, *shape))}, constants)
    agree(graph, random_codes(x, (3, *shape), rng))


@few
@given(accumulators(), grids(), grids(), st.sampled_from([(), (2,), (2, 3)]), seeds)
def test_matmul(accumulator: Accumulator, a: Grid, b: Grid, batch: tuple[int, ...], seed: int) -> None:
    rng = np.random.default_rng(seed)
    inputs = {"a": TensorType(a, (None, *batch, 3, 5)), "b": TensorType(b, (None, *batch, 5, 4))}
    graph = single(ops.Matmul(accumulator), inputs)
    agree(graph, random_codes(a, (2, *batch, 3, 5), rng), random_codes(b, (2, *batch, 5, 4), rng))


@pytest.mark.parametrize("overflow", ["exact", "wrap", "saturate"])
@pytest.mark.parametrize(("bits", "compiled"), [(20, True), (31, True), (50, False), (64, False)])
def test_wide_activations(bits: int, overflow: str, compiled: bool) -> None:
    """Products of codes of 20 and 31 bits need int64 loops; those of 50 and 64 bits are the reference's to refuse."""
    grid, rng = plain(IntType(True, bits)), np.random.default_rng(bits)
    inputs = {"a": TensorType(grid, (None, 2, 3)), "b": TensorType(grid, (None, 3, 2))}
    graph = single(ops.Matmul(Accumulator.parse(f"s64 {overflow}")), inputs)
    codes = random_codes(grid, (1, 2, 3), rng), random_codes(grid, (1, 3, 2), rng)
    if compiled:
        return agree(graph, *codes)
    agree(graph, *(c >> (bits - 25) for c in codes), compiled=False)
    with pytest.raises(BackendError, match="matmul 'y'"):
        NumbaBackend(graph).run(*codes)


@pytest.mark.parametrize("overflow", ["wrap", "saturate"])
def test_a_register_of_64_bits_at_its_ends(overflow: str) -> None:
    weight = Value(TensorType(plain(S32), (1, 4)), np.full((1, 4), S32.min, np.int32))
    bias = Value(TensorType(plain(S64), (1,)), np.array([S64.max - 5]))
    graph = single(ops.Linear(Accumulator.parse(f"s64 {overflow}")), {"x": TensorType(plain(S32), (None, 4))},
                   {"w": weight, "b": bias})  # fmt: skip
    agree(graph, np.array([[S32.min] * 4, [S32.max] * 4, [S32.min, S32.max] * 2, [S32.max, S32.min] * 2]))


def test_an_overflow_is_the_same_error() -> None:
    weight = Value(TensorType(plain(IntType(True, 8)), (1, 2)), np.full((1, 2), 127, np.int8))
    inputs = {"x": TensorType(Grid(IntType(False, 8), Scale((1.0,))), (None, 2))}
    graph = single(ops.Linear(Accumulator(16)), inputs, {"w": weight})
    agree(graph, np.array([[1, 2]]))
    with pytest.raises(BackendError, match=r"linear 'y': accumulators 64770..64770 overflow s16"):
        NumbaBackend(graph).run(np.array([[255, 255]]))


@st.composite
def parameters(draw: st.DrawFn, axis: int, low: int, high: int) -> Value:
    count = draw(st.sampled_from([1, 3 + axis]))
    return constant(draw(st.lists(st.integers(low, high), min_size=count, max_size=count)))


axes = st.sampled_from([1, 2])
outs = st.builds(
    lambda element, zero: Grid(element, Scale((0.5,)), (zero,)),
    st.builds(IntType, st.booleans(), st.integers(1, 33)),
    st.integers(-20, 20),
)


def inputs_of(axis: int, count: int, seed: int) -> tuple[list[TensorType], list[NDArray[Any]]]:
    """Tensors (N, 4, 5) with channels along the axis: accumulators, then codes, of which some are on an odd grid."""
    rng = np.random.default_rng(seed)
    all_grids = [
        Grid(IntType(True, 24), Scale((0.5,)), axis=axis),
        Grid(IntType(False, 4), Scale((0.5,)), (-3,), 2, axis),
        Grid(IntType(True, 8), Scale((0.5,)), tuple(range(3 + axis)), axis=axis),
    ][:count]
    codes = [random_codes(grid, (3, 4, 5), rng) for grid in all_grids]
    codes[0].flat[3:13] = range(-5, 5)
    return [TensorType(grid, (None, 4, 5)) for grid in all_grids], codes


@given(axes, outs, ROUNDINGS, st.booleans(), seeds, st.data())
def test_requantize_shift(
    axis: int, out: Grid, rounding: Rounding, first: bool, seed: int, data: st.DataObject
) -> None:
    types, codes = inputs_of(axis, 1, seed)
    constants = {"shift": data.draw(parameters(axis, -31, 31), label="shift")}
    agree(single(ops.RequantizeShift(out, rounding, first, low=0), {"x": types[0]}, constants), *codes)


@given(axes, outs, ROUNDINGS, st.booleans(), seeds, st.data())
def test_requantize_multiplier(
    axis: int, out: Grid, rounding: Rounding, first: bool, seed: int, data: st.DataObject
) -> None:
    types, codes = inputs_of(axis, 1, seed)
    constants = {
        "multiplier": data.draw(parameters(axis, S32.min, S32.max), label="multiplier"),
        "shift": data.draw(parameters(axis, 0, 62), label="shift"),
    }
    agree(single(ops.RequantizeMultiplier(out, rounding, first, high=0), {"x": types[0]}, constants), *codes)


@given(axes, outs, ROUNDINGS, st.integers(1, 3), seeds, st.data())
def test_add(axis: int, out: Grid, rounding: Rounding, count: int, seed: int, data: st.DataObject) -> None:
    types, codes = inputs_of(axis, count, seed)
    constants = {f"m{i}": data.draw(parameters(axis, -(1 << 30), 1 << 30)) for i in range(count)}
    constants["shift"] = data.draw(parameters(axis, 0, 62))
    agree(single(ops.Add(out, rounding), {f"x{i}": t for i, t in enumerate(types)}, constants), *codes)


@given(axes, seeds, st.data())
def test_threshold(axis: int, seed: int, data: st.DataObject) -> None:
    types, codes = inputs_of(axis, 1, seed)
    channels = data.draw(st.sampled_from([1, 3 + axis]), label="channels")
    length = data.draw(st.integers(1, 6), label="length")
    value = st.integers(-6, 6) | st.sampled_from([S64.min, S64.max])
    row = st.lists(value, min_size=length, max_size=length).map(sorted)
    rows = data.draw(st.lists(row, min_size=channels, max_size=channels), label="thresholds")
    flags = st.lists(st.integers(0, 1), min_size=channels, max_size=channels)
    constants = {
        "t": constant(np.array(rows, np.int64).reshape(channels, length), S64),
        "base": constant([1]),
        "strict": constant(data.draw(flags, label="strict"), U1),
        "descending": constant(data.draw(flags, label="descending"), U1),
    }
    agree(single(ops.Threshold(Grid(IntType(False, 3), Scale((0.5,)))), {"x": types[0]}, constants), *codes)


def test_codes_that_thresholds_take_out_of_their_type_are_the_same_error() -> None:
    flag, types = constant([0], U1), {"x": TensorType(S20, (None, 1))}
    constants = {"t": constant([[1, 2, 3]]), "base": constant([0]), "strict": flag, "descending": flag}
    graph = single(ops.Threshold(Grid(IntType(False, 1), Scale((0.5,)))), types, constants)
    for backend in (ReferenceBackend, NumbaBackend):
        with pytest.raises(BackendError, match=r"threshold 'y': thresholds give codes 2..2, outside u1"):
            backend(graph).run(np.array([[2]]))


@given(grids(), outs, ROUNDINGS, st.booleans(), st.integers(-(1 << 30), 1 << 30), st.integers(-8, 32), seeds)
def test_average_pools(
    x: Grid, out: Grid, rounding: Rounding, include: bool, multiplier: int, shift: int, seed: int
) -> None:
    codes = random_codes(x, (3, 2, 6, 5), np.random.default_rng(seed))
    inputs = {"x": TensorType(x, (None, 2, 6, 5))}
    windows = (3, 2), (2, 1), (1, 2, 0, 1)
    agree(single(ops.AveragePool(out, rounding, *windows, include, multiplier, shift), inputs), codes)
    agree(single(ops.AdaptiveAveragePool(out, rounding, (4, 3), multiplier, shift), inputs), codes)


@pytest.mark.parametrize(
    ("op", "constants"),
    [
        (ops.RequantizeMultiplier(CODES, EngineRule.GEMMLOWP_DOUBLE), {"m": constant([1 << 30]), "s": constant([40])}),
        (ops.RequantizeFloat32(CODES, (0.01,)), {}),
        (ops.Clamp(-9, 9), {}),
        (ops.PRelu(3, Accumulator(40)), {"slope": constant([-5])}),
    ],
    ids=lambda value: getattr(value, "mnemonic", ""),
)
def test_other_operators_keep_the_reference_meaning(op: Any, constants: dict[str, Value]) -> None:
    codes = random_codes(S20, (3, 4), np.random.default_rng(0))
    agree(single(op, {"x": TensorType(S20, (None, 4))}, constants), codes, compiled=False)


def test_sums_beyond_the_loops_keep_the_reference_meaning() -> None:
    wide = Grid(IntType(True, 40), Scale((0.5,)))
    constants = {"m": constant([S32.max]), "s": constant([40])}
    graph = single(ops.RequantizeMultiplier(CODES, Rounding.HALF_EVEN), {"x": TensorType(wide, (None, 2))}, constants)
    agree(graph, np.array([[1 << 20, -5]]), compiled=False)
    with pytest.raises(BackendError, match="leaves int64"):
        NumbaBackend(graph).run(np.array([[wide.element.min, 0]]))
