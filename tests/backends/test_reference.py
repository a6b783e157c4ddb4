"""The reference backend: a graph node by node, whatever the batch, and one line where it cannot run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from intsim.arithmetic.accumulate import Accumulator
from intsim.arithmetic.rounding import Rounding
from intsim.backends import load_backend
from intsim.backends.node_by_node import ELEMENTS_AT_ONCE
from intsim.backends.reference import ReferenceBackend
from intsim.dtypes import IntType
from intsim.errors import BackendError, InputError
from intsim.ir import ops
from intsim.ir.graph import Graph, Node
from intsim.ir.types import Grid, Scale, TensorType, Value, plain
from tests.ir.sample import constant, every_operator

pytestmark = pytest.mark.torchless

U8 = Grid(IntType(False, 8), Scale((-2,), True))


def images(count: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 2, (count, 4, 6, 6)).astype(np.float32)


def test_every_value_is_what_its_operator_says_of_its_operands() -> None:
    graph, x = every_operator(), images(3)
    values = ReferenceBackend(graph).run(x, wanted=[node.name for node in graph.nodes])
    known = {"x": Value(graph.inputs["x"], x), **graph.constants, **values}
    for node in graph.nodes:
        known[node.name].check(node.name)
        again = node.op.evaluate(*(known[name] for name in node.inputs))
        np.testing.assert_array_equal(known[node.name].codes, again)


def test_a_batch_is_its_images_one_by_one() -> None:
    graph, x = every_operator(), images(33)
    together = ReferenceBackend(graph, threads=2).run(x)
    for i in (0, 7, 8, 32):
        alone = ReferenceBackend(graph, threads=1).run(x[i : i + 1])
        for name in graph.outputs:
            np.testing.assert_array_equal(together[name].codes[i : i + 1], alone[name].codes)


def test_large_images_go_one_at_a_time() -> None:
    extent = int(ELEMENTS_AT_ONCE**0.5)
    graph = Graph({"x": TensorType(U8, (None, 1, extent, extent))}, {}, (Node("y", ops.Clamp(9), ("x",)),), ("y",))
    codes = np.zeros((3, 1, extent, extent), np.uint8)
    codes[:, 0, 0, 0] = 1, 10, 100
    assert ReferenceBackend(graph).run(codes)["y"].codes[:, 0, 0, 0].tolist() == [9, 10, 100]


def test_a_graph_without_a_batch_runs_as_a_whole() -> None:
    graph = Graph({"x": TensorType(U8, (20, 2))}, {}, (Node("y", ops.Permute((1, 0)), ("x",)),), ("y",))
    codes = np.arange(40).reshape(20, 2)
    np.testing.assert_array_equal(ReferenceBackend(graph).run(codes)["y"].codes, codes.T)


def test_an_accumulator_that_overflows_is_named() -> None:
    weight = Value(TensorType(plain(IntType(True, 8)), (1, 2)), np.full((1, 2), 127, np.int8))
    op = ops.Linear(Accumulator(16))
    graph = Graph({"x": TensorType(U8, (None, 2))}, {"w": weight}, (Node("fc", op, ("x", "w")),), ("fc",))
    assert ReferenceBackend(graph).run(np.array([[1, 2]]))["fc"].codes.item() == 381
    with pytest.raises(BackendError, match=r"linear 'fc': accumulators 64770..64770 overflow s16"):
        ReferenceBackend(graph).run(np.array([[255, 255]]))


def test_codes_may_be_the_input() -> None:
    constants = {"shift": constant([1])}
    node = Node("y", ops.RequantizeShift(U8, Rounding.HALF_UP), ("x", "shift"))
    graph = Graph({"x": TensorType(U8, (None, 2))}, constants, (node,), ("y",))
    assert ReferenceBackend(graph).run(np.array([[5, 6]]))["y"].codes.tolist() == [[3, 3]]
    with pytest.raises(BackendError, match=r"input 'x': codes 0..256 leave u8"):
        ReferenceBackend(graph).run(np.array([[0, 256]]))
    with pytest.raises(BackendError, match="input 'x': expected u8 codes, got float64"):
        ReferenceBackend(graph).run(np.array([[0.0, 1.0]]))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([], "the graph takes 1 inputs, got 0"),
        ([images(2)[:, :3]], r"input 'x': expected shape \(N, 4, 6, 6\) with N at least 1, got \(2, 3, 6, 6\)"),
        ([images(0)], r"with N at least 1, got \(0, 4, 6, 6\)"),
        ([images(2).astype(np.int64)], "input 'x': expected float32, got int64"),
        ([np.where(images(2) > 3, np.nan, images(2))], "input 'x': .* of 288 elements are NaN or infinite"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(inputs: list[Any], message: str) -> None:
    with pytest.raises(BackendError, match=message):
        ReferenceBackend(every_operator()).run(*inputs)


def test_a_value_that_does_not_exist_is_refused() -> None:
    with pytest.raises(BackendError, match="the graph has no value 'nowhere'"):
        ReferenceBackend(every_operator()).run(images(1), wanted=["nowhere"])


def test_a_backend_that_does_not_exist_is_refused() -> None:
    with pytest.raises(InputError, match="backend 'gpu': expected native or numba or reference"):
        load_backend("gpu", every_operator())
