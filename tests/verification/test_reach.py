"""The interval of an accumulator is what trying every input finds, and its witness reaches it."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intsim.arithmetic.rounding import Rounding
from intsim.dtypes import IntType
from intsim.ir.graph import Graph, Node
from intsim.ir.ops import AveragePool, Conv2d, Linear, Matmul
from intsim.ir.types import Grid, Scale, TensorType, Value, plain
from intsim.verification.reach import Reach, average_reach, contraction_reach, weighted_reach

pytestmark = pytest.mark.torchless


def contraction(op: Conv2d | Linear, x: TensorType, weight: np.ndarray, bias: np.ndarray) -> Graph:
    s8, s32 = IntType(True, 8), IntType(True, 32)
    constants = {
        "w": Value(TensorType(plain(s8), weight.shape), weight.astype(np.int8)),
        "b": Value(TensorType(plain(s32), bias.shape), bias.astype(np.int32)),
    }
    return Graph({"x": x}, constants, (Node("acc", op, ("x", "w", "b")),), ("acc",))


def run(graph: Graph, codes: np.ndarray) -> np.ndarray:
    (node,) = graph.nodes
    x = Value(graph.inputs["x"], codes.astype(graph.inputs["x"].integer.element.storage))
    return node.op.evaluate(x, *graph.constants.values()).astype(np.int64)


def every_input(shape: tuple[int, ...], codes: range) -> np.ndarray:
    return np.array(list(product(codes, repeat=int(np.prod(shape))))).reshape(-1, *shape)


def witnessed(graph: Graph, end: str) -> int:
    """The accumulator that a witness's input gives at its pixel and channel."""
    (node,) = graph.nodes
    witness = contraction_reach(graph, node)[2][end]
    x, weight = graph.inputs["x"], graph.constants["w"].levels
    codes = np.full((1, *(int(e or 0) for e in x.shape[1:])), witness["code_otherwise"])
    row = weight[witness["channel"]]
    if isinstance(node.op, Linear):
        codes[0][row > 0] = witness["code_if_positive"]
        return int(run(graph, codes)[0, witness["channel"]])
    assert isinstance(node.op, Conv2d)
    op, (y, z) = node.op, witness["pixel"]
    depth, outputs = weight.shape[1], len(weight)
    first = witness["channel"] // (outputs // op.groups) * depth
    for c, i, j in zip(*np.nonzero(row > 0), strict=True):
        at = (
            y * op.stride[0] - op.padding[0] + i * op.dilation[0],
            z * op.stride[1] - op.padding[2] + j * op.dilation[1],
        )
        if 0 <= at[0] < x.shape[2] and 0 <= at[1] < x.shape[3]:
            codes[0, first + c, at[0], at[1]] = witness["code_if_positive"]
    return int(run(graph, codes)[0, witness["channel"], y, z])


CONVOLUTIONS = st.sampled_from(
    [
        # channels, image, weight, operator: small enough that every input can be tried
        (1, (1, 1), (2, 1, 3, 3), Conv2d(padding=(1, 1, 1, 1))),  # a kernel larger than the image
        (1, (2, 2), (2, 1, 3, 3), Conv2d(padding=(1, 1, 1, 1))),
        (1, (2, 3), (1, 1, 2, 2), Conv2d(padding=(0, 1, 0, 1), stride=(2, 2))),
        (2, (1, 2), (4, 1, 1, 2), Conv2d(groups=2)),
        (1, (3, 2), (1, 1, 2, 1), Conv2d(dilation=(2, 1), padding=(2, 0, 1, 0))),
        (3, (1, 1), (2, 3, 1, 1), Conv2d()),
    ]
)


@settings(max_examples=30)
@given(CONVOLUTIONS, st.integers(0, 10**6), st.sampled_from([0, 1, 3, -2]), st.booleans(), st.booleans())
def test_the_interval_of_a_convolution_is_that_of_all_inputs(
    shape: tuple[int, tuple[int, int], tuple[int, ...], Conv2d], seed: int, zero: int, signed: bool, padded: bool
) -> None:
    channels, image, weight_shape, op = shape
    rng = np.random.default_rng(seed)
    element = IntType(signed, 2)
    on_grid = element.min <= zero <= element.max
    if padded or not on_grid:
        op = Conv2d(op.stride, op.padding, op.dilation, op.groups, int(rng.integers(element.min, element.max + 1)))
    x = TensorType(Grid(element, Scale((0,), True), (zero,)), (None, channels, *image))
    graph = contraction(op, x, rng.integers(-8, 8, weight_shape), rng.integers(-20, 20, weight_shape[0]))
    found = run(graph, every_input((channels, *image), range(element.min, element.max + 1)))
    reach, partial, _ = contraction_reach(graph, graph.nodes[0])
    np.testing.assert_array_equal(reach.low, found.min(axis=(0, 2, 3)))
    np.testing.assert_array_equal(reach.high, found.max(axis=(0, 2, 3)))
    assert witnessed(graph, "min") == min(reach.low)
    assert witnessed(graph, "max") == max(reach.high)
    assert all(p <= v for p, v in zip(partial.low, reach.low, strict=True))


@given(st.integers(0, 10**6), st.sampled_from([0, 2, 5, -3]))
def test_partial_sums_of_a_linear_layer_are_those_of_all_subsets(seed: int, zero: int) -> None:
    rng = np.random.default_rng(seed)
    element, depth = IntType(False, 2), 4
    x = TensorType(Grid(element, Scale((0,), True), (zero,)), (None, depth))
    graph = contraction(Linear(), x, rng.integers(-8, 8, (2, depth)), rng.integers(-20, 20, 2))
    levels = every_input((depth,), range(4)) - zero
    weight, bias = graph.constants["w"].levels, graph.constants["b"].levels
    reach, partial, _ = contraction_reach(graph, graph.nodes[0])
    for channel in range(2):
        terms = np.concatenate([levels * weight[channel], np.full((len(levels), 1), bias[channel])], axis=1)
        sums = [terms @ np.array(subset) for subset in product((0, 1), repeat=depth + 1)]
        assert partial.at(channel) == (min(s.min() for s in sums), max(s.max() for s in sums))
        assert reach.at(channel) == (terms.sum(axis=1).min(), terms.sum(axis=1).max())
    assert witnessed(graph, "min") == min(reach.low)
    assert witnessed(graph, "max") == max(reach.high)


def test_zero_points_for_each_channel_count() -> None:
    element = IntType(False, 2)
    x = TensorType(Grid(element, Scale((0,), True), (0, 3)), (None, 2, 1, 1))
    graph = contraction(Conv2d(), x, np.array([[[[2]], [[-5]]]]), np.array([7]))
    found = run(graph, every_input((2, 1, 1), range(4)))
    reach, _, _ = contraction_reach(graph, graph.nodes[0])
    assert reach.at(0) == (found.min(), found.max())


def test_a_product_of_activations() -> None:
    a = TensorType(Grid(IntType(False, 2), Scale((0,), True), (1,)), (None, 1, 2))
    b = TensorType(Grid(IntType(True, 2), Scale((0,), True)), (None, 2, 1))
    graph = Graph({"a": a, "b": b}, {}, (Node("acc", Matmul(), ("a", "b")),), ("acc",))
    left, right = every_input((1, 2), range(4)).astype(np.uint8), every_input((2, 1), range(-2, 2)).astype(np.int8)
    found = [Matmul().evaluate(Value(a, left[[i]]), Value(b, right[[j]])).item() for i in range(16) for j in range(16)]
    reach, partial, witness = contraction_reach(graph, graph.nodes[0])
    assert reach.at(0) == (min(found), max(found)) and partial.at(0) == reach.at(0)
    for end, value in (("min", min(found)), ("max", max(found))):
        of_a, of_b = witness[end]["codes"]
        assert 2 * (of_a - 1) * of_b == value


@given(st.lists(st.tuples(st.integers(-9, 9), st.integers(0, 9), st.integers(-4, 4)), min_size=1, max_size=3))
def test_a_weighted_sum_is_reached_at_the_ends_of_its_terms(terms: list[tuple[int, int, int]]) -> None:
    reach = weighted_reach([Reach([low], [low + width]) for low, width, _ in terms], [[m] for _, _, m in terms])
    sums = [sum(m * v for (*_, m), v in zip(terms, values, strict=True))
            for values in product(*[(low, low + width) for low, width, _ in terms])]  # fmt: skip
    assert reach.at(0) == (min(sums), max(sums))


@pytest.mark.parametrize("zero", [0, 2, 5])
def test_sums_of_an_average_pool(zero: int) -> None:
    x = TensorType(Grid(IntType(False, 2), Scale((0,), True), (zero,)), (None, 1, 2, 2))
    op = AveragePool(Grid(IntType(False, 8), Scale((0,), True)), Rounding.HALF_EVEN, (2, 2), (1, 1), (1, 0, 1, 0))
    sums = op.sums(Value(x, every_input((1, 2, 2), range(4)).astype(np.uint8)))
    assert average_reach(op, x).at(0) == (sums.min(), sums.max())
