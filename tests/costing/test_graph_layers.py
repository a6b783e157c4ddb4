"""The layers that an integer graph holds, with the widths of what they read and what they store."""

from __future__ import annotations

import numpy as np
import pytest

from intsim.arithmetic.rounding import Rounding
from intsim.costing import Layer, estimate, layers_of
from intsim.dtypes import S32, IntType
from intsim.ir.graph import Graph, Node
from intsim.ir.ops import Permute, Reshape
from intsim.ir.ops.conv2d import Conv2d
from intsim.ir.ops.linear import Linear
from intsim.ir.ops.matmul import Matmul
from intsim.ir.ops.quantize import Quantize
from intsim.ir.ops.requantize_shift import RequantizeShift
from intsim.ir.types import Grid, Scale, Shape, TensorType, Value, plain

pytestmark = pytest.mark.torchless


def grid(name: str, axis: int = 1) -> Grid:
    return Grid(IntType.parse(name), Scale((-4,), True), axis=axis)


def constant(element: str, *shape: int) -> Value:
    kind = grid(element, axis=0)
    return Value(TensorType(kind, shape), np.zeros(shape, kind.element.storage))


def requantize(name: str, source: str, element: str) -> Node:
    return Node(name, RequantizeShift(grid(element), Rounding.HALF_EVEN), (source, "shift"))


@pytest.fixture
def graph() -> Graph:
    """A strided convolution, a depthwise one, one position-wise linear layer and a product of activations."""
    shift = Value(TensorType(plain(S32), (1,)), np.zeros(1, np.int32))
    image: Shape = (None, 3, 17, 9)
    nodes = (
        Node("x.u8", Quantize(grid("u8")), ("x",)),
        Node("conv", Conv2d(stride=(2, 1), padding=(1, 1, 0, 2)), ("x.u8", "conv.weight")),
        requantize("conv.u4", "conv", "u4"),
        Node("depthwise", Conv2d(groups=8, dilation=(2, 2), padding=(2, 2, 2, 2)), ("conv.u4", "depthwise.weight")),
        requantize("depthwise.u5", "depthwise", "u5"),
        Node("tokens", Reshape((None, 8, 81)), ("depthwise.u5",)),
        Node("linear", Linear(), ("tokens", "linear.weight")),
        requantize("linear.s6", "linear", "s6"),
        Node("heads", Reshape((None, 4, 2, 20)), ("linear.s6",)),
        Node("turned", Permute((0, 1, 3, 2)), ("heads",)),
        Node("product", Matmul(), ("heads", "turned")),
    )
    constants = {
        "conv.weight": constant("s3", 8, 3, 3, 3),
        "depthwise.weight": constant("s2", 8, 1, 3, 3),
        "linear.weight": constant("s7", 20, 81),
        "shift": shift,
    }
    return Graph({"x": TensorType(None, image)}, constants, nodes, ("product",))


def test_every_layer_with_its_extents_and_widths(graph: Graph) -> None:
    assert layers_of(graph) == [
        Layer("conv", "conv", 3, 8, 3, 8, 4, 17, 9, 9, 9, (3, 3), (2, 1), from_input=True),
        Layer("depthwise", "conv", 8, 8, 2, 4, 5, 9, 9, 9, 9, (3, 3), (1, 1), (2, 2), groups=8),
        Layer("linear", "linear", 81, 20, 7, 5, 6, in_width=8, out_width=8),
        Layer("product", "matmul", 4 * 20, 4 * 2, 6, 6, 32, in_width=2, out_width=2, groups=4),
    ]
    assert [layer.name for layer in layers_of(graph)] == ["conv", "depthwise", "linear", "product"]


def test_macs_are_those_of_the_graph(graph: Graph) -> None:
    assert {layer.name: layer.macs for layer in layers_of(graph)} == graph.macs()
    assert estimate(layers_of(graph), "bitfusion", batch=2).macs == 2 * sum(graph.macs().values())
