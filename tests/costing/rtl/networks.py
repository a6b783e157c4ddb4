"""Small networks that between them have every kind of layer, width, grid and requantization that the arrays run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from intsim.arithmetic.requantize import EngineRule
from intsim.arithmetic.rounding import Rounding
from intsim.dtypes import S32, IntType
from intsim.ir import ops
from intsim.ir.graph import Graph, Node
from intsim.ir.op import Op
from intsim.ir.types import Grid, Scale, TensorType, Value, plain

ONE = Scale((0,), True)
BIT = IntType(False, 1)


def grid(element: str, zero_point: int | tuple[int, ...] = 0, step: int = 1, axis: int = 1) -> Grid:
    zeros = zero_point if isinstance(zero_point, tuple) else (zero_point,)
    return Grid(IntType.parse(element), ONE, zeros, step, axis)


def constant(values: object, element: IntType = S32) -> Value:
    array = np.atleast_1d(np.asarray(values)).astype(element.storage)
    return Value(TensorType(plain(element), array.shape), array)


@dataclass
class Network:
    """A graph of codes under construction, and a batch of inputs for it."""

    x: Grid
    shape: tuple[int, ...]
    seed: int = 0
    nodes: list[Node] = field(default_factory=list)
    constants: dict[str, Value] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    @property
    def inputs(self) -> dict[str, TensorType]:
        return {"x": TensorType(self.x, (None, *self.shape[1:]))}

    @property
    def graph(self) -> Graph:
        read = {name for node in self.nodes for name in node.inputs}
        outputs = tuple(node.name for node in self.nodes if node.name not in read)
        return Graph(self.inputs, self.constants, tuple(self.nodes), outputs)

    def codes(self) -> NDArray[np.integer]:
        element = self.x.element
        return (
            np.random.default_rng(self.seed).integers(element.min, element.max + 1, self.shape).astype(element.storage)
        )

    def add(self, op: Op, source: str, **constants: Value) -> str:
        """A node behind `source`; its constants are named after it."""
        name = f"{op.mnemonic}{len(self.nodes)}"
        self.constants |= {f"{name}.{key}": value for key, value in constants.items()}
        self.nodes.append(Node(name, op, (source, *(f"{name}.{key}" for key in constants))))
        return name

    def weight(self, shape: tuple[int, ...], kind: Grid) -> Value:
        codes = self.rng.integers(kind.element.min, kind.element.max + 1, shape)
        return Value(TensorType(kind, shape), codes.astype(kind.element.storage))

    def conv(self, shape: tuple[int, ...], weights: Grid, op: ops.Conv2d | None = None, source: str = "x") -> str:
        bias = constant(self.rng.integers(-500, 500, shape[0]))
        return self.add(op or ops.Conv2d(), source, weight=self.weight(shape, weights), bias=bias)

    def linear(self, shape: tuple[int, int], weights: Grid, source: str = "x") -> str:
        return self.add(ops.Linear(), source, weight=self.weight(shape, weights))

    def channels(self, source: str) -> int:
        kind = self.graph.types[source]
        return int(kind.shape[kind.integer.axis] or 0)

    def shift(self, source: str, out: Grid, rounding: Rounding, **attributes: int | bool) -> str:
        shifts = self.rng.integers(0, 9, self.channels(source))
        op = ops.RequantizeShift(out, rounding, **attributes)  # type: ignore[arg-type]
        return self.add(op, source, shift=constant(shifts, IntType(True, 8)))

    def multiplier(self, source: str, out: Grid, rounding: Rounding | EngineRule, **attributes: int | bool) -> str:
        count = self.channels(source)
        least = -(1 << 30) if isinstance(rounding, Rounding) else 1 << 30
        multipliers = self.rng.integers(least, (1 << 31) - 1, count)
        op = ops.RequantizeMultiplier(out, rounding, **attributes)  # type: ignore[arg-type]
        shifts = self.rng.integers(33, 40, count)
        return self.add(op, source, multiplier=constant(multipliers), shift=constant(shifts))

    def threshold(self, source: str, out: Grid, reach: int) -> str:
        """Thresholds within `reach`, with duplicates, and with every side and direction."""
        count, levels = self.channels(source), out.element.max - out.element.min
        rows = np.sort(self.rng.integers(-reach, reach, (count, levels)), axis=1)
        rows[:, 1::5] = rows[:, : rows[:, 1::5].shape[1] * 5 : 5]
        sides = {"strict": np.arange(count) % 2, "descending": np.arange(count) // 2 % 2}
        flags = {name: constant(side, BIT) for name, side in sides.items()}
        base = constant(np.full(count, out.element.min))
        return self.add(ops.Threshold(out), source, thresholds=constant(rows), base=base, **flags)


def padded() -> Network:
    """3x3 kernels with padding, two images, 8 bits, half to even, ReLU."""
    net = Network(grid("u8"), (2, 3, 7, 6))
    acc = net.conv((5, 3, 3, 3), grid("s8", axis=0), ops.Conv2d(padding=(1, 1, 1, 1)))
    net.shift(acc, grid("u8"), Rounding.HALF_EVEN)
    return net


def pointwise() -> Network:
    """1x1 kernels at 4 bits, signed results around a zero point that is added before rounding."""
    net = Network(grid("u4"), (1, 9, 5, 5), seed=1)
    acc = net.conv((10, 9, 1, 1), grid("s4", axis=0))
    net.multiplier(acc, grid("s4", -3), Rounding.HALF_EVEN, zero_point_first=True, low=-6, high=5)
    return net


def strided() -> Network:
    """Stride, dilation and padding that differ by direction; zero points of activations and per channel of weights."""
    net = Network(grid("u4", 6), (2, 4, 9, 8), seed=2)
    op = ops.Conv2d(stride=(2, 3), padding=(2, 1, 0, 3), dilation=(1, 2))
    acc = net.conv((6, 4, 3, 2), grid("s4", (-2, -1, 0, 0, 1, 2), axis=0), op)
    net.multiplier(acc, grid("u6", 20), Rounding.HALF_UP)
    return net


def depthwise() -> Network:
    """One channel per group."""
    net = Network(grid("u8"), (2, 6, 6, 5), seed=3)
    acc = net.conv((6, 1, 3, 3), grid("s8", axis=0), ops.Conv2d(padding=(1, 1, 1, 1), groups=6))
    net.shift(acc, grid("s8", 3), Rounding.HALF_AWAY, low=-100, high=90)
    return net


def grouped() -> Network:
    """Three groups, two of their channels make nine; thresholds of both sides and directions."""
    net = Network(grid("u3"), (1, 6, 5, 4), seed=4)
    acc = net.conv((27, 2, 2, 2), grid("s4", axis=0), ops.Conv2d(stride=(1, 2), groups=3))
    net.threshold(acc, grid("u4"), 300)
    return net


def fully_connected() -> Network:
    """A batch of five vectors, 3 bits."""
    net = Network(grid("s3"), (5, 37), seed=5)
    acc = net.linear((11, 37), grid("s3", axis=0))
    net.shift(acc, grid("s3"), Rounding.FLOOR)
    return net


def sequence() -> Network:
    """A linear layer over positions."""
    net = Network(grid("u8", 128), (2, 3, 10), seed=6)
    acc = net.linear((9, 10), grid("s8", axis=0))
    net.multiplier(acc, grid("u8", 128), EngineRule.GEMMLOWP_DOUBLE)
    return net


def odd_grids() -> Network:
    """Activations and weights without a zero, padded with a code of its own; thresholds as N2UQ learns them."""
    net = Network(grid("s2", -1, step=2), (2, 3, 5, 5), seed=7)
    op = ops.Conv2d(padding=(1, 0, 0, 1), pad_code=-2)
    acc = net.conv((7, 3, 2, 2), grid("s2", -1, step=2, axis=0), op)
    net.threshold(acc, grid("u2"), 40)
    return net


def exact_fit() -> Network:
    """Folds without a ragged edge on a 4x4 and an 8x4 array."""
    net = Network(grid("u4"), (1, 16, 4, 4), seed=8)
    acc = net.conv((8, 16, 1, 1), grid("s4", axis=0))
    net.shift(acc, grid("u4"), Rounding.HALF_DOWN)
    return net


def one_product() -> Network:
    """The smallest layer there is."""
    net = Network(grid("s4"), (1, 1), seed=9)
    net.shift(net.linear((1, 1), grid("s4", axis=0)), grid("s4"), Rounding.CEIL)
    return net


def pixels() -> Network:
    """Pixels whose means differ by channel: one zero point each, so one level of padding each."""
    net = Network(grid("u8", (120, 100, 90)), (1, 3, 6, 6), seed=10)
    op = ops.Conv2d(stride=(2, 2), padding=(1, 1, 1, 1), pad_code=110)
    net.multiplier(net.conv((4, 3, 3, 3), grid("s8", axis=0), op), grid("u8"), EngineRule.RUY)
    return net


def chain() -> Network:
    """Every width from 2 to 8 for activations and for weights; ends in accumulators."""
    net = Network(grid("u8"), (1, 4, 6, 6), seed=11)
    source, channels = "x", 4
    for act_bits, weight_bits, kernel in ((5, 2, 3), (2, 7, 1), (7, 3, 2), (3, 6, 1), (6, 5, 2), (4, 4, 1), (8, 8, 1)):
        acc = net.conv((channels + 1, channels, kernel, kernel), grid(f"s{weight_bits}", axis=0), source=source)
        source = net.multiplier(acc, grid(f"u{act_bits}"), Rounding.HALF_EVEN)
        channels += 1
    net.conv((3, channels, 2, 2), grid("s8", axis=0), source=source)
    return net


def binary_weights() -> Network:
    """Two bits against eight: many pixels, few weights."""
    net = Network(grid("u2"), (3, 2, 8, 8), seed=12)
    acc = net.conv((4, 2, 2, 2), grid("s2", axis=0), ops.Conv2d(padding=(0, 1, 0, 1)))
    net.shift(acc, grid("u8"), Rounding.TOWARD_ZERO)
    return net


def eight_bit_thresholds() -> Network:
    """255 thresholds per channel."""
    net = Network(grid("u8"), (1, 4, 4, 4), seed=13)
    net.threshold(net.conv((6, 4, 1, 1), grid("s8", axis=0)), grid("u8"), 40000)
    return net


NETWORKS: dict[str, Callable[[], Network]] = {
    build.__name__: build
    for build in (
        padded,
        pointwise,
        strided,
        depthwise,
        grouped,
        fully_connected,
        sequence,
        odd_grids,
        exact_fit,
        one_product,
        pixels,
        chain,
        binary_weights,
        eight_bit_thresholds,
    )
}
