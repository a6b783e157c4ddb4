"""Faults of lowering, each as a change of a well-formed integer graph into another well-formed one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from intsim.arithmetic.accumulate import Accumulator
from intsim.arithmetic.rounding import Rounding
from intsim.dtypes import IntType
from intsim.ir.graph import Graph, Node
from intsim.ir.types import Grid, TensorType, Value, plain

Mutation = Callable[[Graph], Graph]


@dataclass(frozen=True)
class Fault:
    """What goes wrong, in which form of the small network, and at which layer it has to be found."""

    what: str
    form: str
    layer: str
    mutate: Mutation

    def __str__(self) -> str:
        return f"{self.layer}: {self.what}"


def with_op(layer: str, **attributes: Any) -> Mutation:
    """Other attributes of a layer's operator."""

    def mutate(graph: Graph) -> Graph:
        node = graph.by_name[layer]
        return with_node(graph, replace(node, op=replace(node.op, **attributes)))  # type: ignore[type-var]

    return mutate


def with_inputs(layer: str, change: Callable[[tuple[str, ...]], tuple[str, ...]]) -> Mutation:
    def mutate(graph: Graph) -> Graph:
        node = graph.by_name[layer]
        return with_node(graph, replace(node, inputs=change(node.inputs)))

    return mutate


def with_constant(name: str, change: Callable[[np.ndarray], np.ndarray], channels: int | None = None) -> Mutation:
    """Other codes of a constant; with `channels` one row is first spread to so many."""

    def mutate(graph: Graph) -> Graph:
        value = graph.constants[name]
        codes = value.codes.astype(np.int64)
        if channels and len(codes) == 1:
            codes = codes.repeat(channels, axis=0)
        codes = change(codes.copy())
        grid = value.type.integer
        if codes.min() < grid.element.min or codes.max() > grid.element.max:
            grid = plain(IntType(True, 40))
        constant = Value(TensorType(grid, codes.shape), codes.astype(grid.element.storage))
        return replace(graph, constants={**graph.constants, name: constant})

    return mutate


def with_node(graph: Graph, node: Node) -> Graph:
    return replace(graph, nodes=tuple(node if n.name == node.name else n for n in graph.nodes))


def with_grid(layer: str, **changes: Any) -> Mutation:
    """Another grid of a layer's result."""

    def mutate(graph: Graph) -> Graph:
        out = graph.types[layer].integer
        return with_op(layer, out=Grid(**{**vars(out), **changes}))(graph)

    return mutate


def plus(amount: int, at: Any = ...) -> Callable[[np.ndarray], np.ndarray]:
    def change(codes: np.ndarray) -> np.ndarray:
        codes[at] += amount
        return codes

    return change


def swapped(a: int, b: int) -> Callable[[np.ndarray], np.ndarray]:
    """Two rows exchanged."""

    def change(codes: np.ndarray) -> np.ndarray:
        codes[[a, b]] = codes[[b, a]]
        return codes

    return change


def turned_around(codes: np.ndarray) -> np.ndarray:
    return 1 - codes


def first_for_all(codes: np.ndarray) -> np.ndarray:
    return codes[:1].repeat(len(codes), axis=0)


def swap_operands(inputs: tuple[str, ...]) -> tuple[str, ...]:
    return (inputs[1], inputs[0], *inputs[2:])


def stale_multiplier(graph: Graph) -> Graph:
    value = graph.constants["relu6.u8.multiplier"]
    return with_constant("relu1.u4.multiplier", lambda codes: value.codes.astype(np.int64))(graph)


FAULTS = (
    # requantization by shifts
    Fault("a shift one too far", "shift", "relu1.u4", with_constant("relu1.u4.shift", plus(1))),
    Fault("a shift one too short", "shift", "relu6.u8", with_constant("relu6.u8.shift", plus(-1))),
    Fault("one channel's shift off by one", "shift", "relu1.u4", with_constant("relu1.u4.shift", plus(1, 2), 4)),
    Fault("one shift for all channels", "shift", "relu1.u4", with_constant("relu1.u4.shift", first_for_all)),
    Fault("ties upward", "shift", "relu1.u4", with_op("relu1.u4", rounding=Rounding.HALF_UP)),
    Fault("rounding down", "shift", "relu6.u4", with_op("relu6.u4", rounding=Rounding.FLOOR)),
    Fault("zero point before rounding", "shift", "relu6.u8", with_op("relu6.u8", zero_point_first=True)),
    Fault("a ReLU lost", "shift", "relu6.u8", with_op("relu6.u8", low=None)),
    Fault("a bound one too low", "shift", "relu6.u8", with_op("relu6.u8", high=50)),
    Fault("a bound lost", "shift", "relu6.u8", with_op("relu6.u8", high=None)),
    Fault("a zero point lost", "shift", "relu6.u8", with_grid("relu6.u8", zero_point=(0,))),
    # by multipliers
    Fault("a multiplier off by a little", "multiplier", "relu6.u8", with_constant("relu6.u8.multiplier", plus(999, 0))),
    Fault("another layer's multipliers", "multiplier", "relu1.u4", stale_multiplier),
    Fault("channels of multipliers swapped", "multiplier", "relu1.u4",
          with_constant("relu1.u4.multiplier", swapped(0, 3))),
    # by thresholds
    Fault("thresholds one too high", "threshold", "relu6.u8", with_constant("relu6.u8.thresholds", plus(1))),
    Fault("one threshold one too low", "threshold", "relu1.u4",
          with_constant("relu1.u4.thresholds", plus(-1, (0, 0)))),
    Fault("the side of the comparison", "threshold", "relu1.u4", with_constant("relu1.u4.strict", plus(1))),
    Fault("the direction of a channel", "threshold", "relu1.u4",
          with_constant("relu1.u4.descending", turned_around, 4)),
    Fault("a base one too low", "threshold", "relu6.u8", with_constant("relu6.u8.base", plus(-1))),
    # convolutions
    Fault("a bias lost", "multiplier", "conv1", with_inputs("conv1", lambda inputs: inputs[:2])),
    Fault("one channel's bias off by one", "multiplier", "depthwise", with_constant("depthwise.bias", plus(1, 2))),
    Fault("channels of biases swapped", "multiplier", "conv2", with_constant("conv2.bias", swapped(1, 2))),
    Fault("output channels swapped", "multiplier", "conv1", with_constant("conv1.weight", swapped(0, 1))),
    Fault("a weight off by one", "multiplier", "linear", with_constant("linear.weight", lambda w: w - (w == w.max()))),
    Fault("the wrong pad code", "multiplier", "conv1", with_op("conv1", pad_code=0)),
    Fault("padding on the other side", "multiplier", "depthwise", with_op("depthwise", padding=(1, 0, 1, 0))),
    Fault("the wrong stride", "multiplier", "depthwise", with_op("depthwise", stride=(1, 1), dilation=(2, 2))),
    Fault("a narrow accumulator", "multiplier", "conv1", with_op("conv1", accumulator=Accumulator(12, "wrap"))),
    Fault("an accumulator that saturates", "multiplier", "linear",
          with_op("linear", accumulator=Accumulator(15, "saturate"))),
    # additions
    Fault("operands swapped", "multiplier", "relu2.u8", with_inputs("relu2.u8", swap_operands)),
    Fault("the wrong operand", "multiplier", "relu2.u8",
          with_inputs("relu2.u8", lambda inputs: ("conv2", "conv2", *inputs[2:]))),
    Fault("a multiplier off", "multiplier", "relu2.u8", with_constant("relu2.u8.multiplier0", plus(150000))),
    Fault("the common shift off by one", "multiplier", "relu2.u8", with_constant("relu2.u8.shift", plus(1))),
    Fault("ties upward in an addition", "shift", "relu2.u8", with_op("relu2.u8", rounding=Rounding.HALF_UP)),
    # tables, averages, movement, the input
    Fault("a table entry off by one", "shift", "gate.u8", with_constant("gate.u8.table", plus(1, 0))),
    Fault("an average of other cells", "multiplier", "average.u8", with_op("average.u8", count_include_pad=True)),
    Fault("an average rounded down", "multiplier", "average.u8", with_op("average.u8", rounding=Rounding.FLOOR)),
    Fault("a stale scale of an average", "multiplier", "average.u8", with_op("average.u8", shift=10)),
    Fault("the wrong axes", "multiplier", "turned", with_op("turned", order=(0, 3, 2, 1))),
    Fault("operands of a concatenation swapped", "multiplier", "both",
          with_inputs("both", lambda inputs: inputs[::-1])),
    Fault("the wrong half of a split", "multiplier", "part",
          with_op("part", starts=(0, 0, 0, 0), stops=(1, 2, 3, 3))),
    Fault("a window of one cell", "multiplier", "pool1", with_op("pool1", kernel=(1, 1))),
    Fault("the input's zero point off by one", "multiplier", "x.u8", with_grid("x.u8", zero_point=(118,))),
)  # fmt: skip
