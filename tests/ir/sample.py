"""A graph with every operator in it, for round trips and for damage."""

from __future__ import annotations

import numpy as np

from intsim.arithmetic.accumulate import Accumulator
from intsim.arithmetic.rounding import Rounding
from intsim.dtypes import S32, IntType
from intsim.ir import ops
from intsim.ir.graph import Graph, Node
from intsim.ir.types import Grid, Scale, TensorType, Value, plain

U4, S4, U8 = IntType(False, 4), IntType(True, 4), IntType(False, 8)


def constant(values: object, element: IntType = S32) -> Value:
    array = np.asarray(values, element.storage)
    return Value(TensorType(plain(element), array.shape), array)


def every_operator(seed: int = 0) -> Graph:
    """A network of all operators on (N, 4, 6, 6) float32 images, with awkward widths, scales and names."""
    rng = np.random.default_rng(seed)
    codes = Grid(U4, Scale((-3,), True))
    fine = Grid(IntType(True, 7), Scale((0.1 + 0.2,)), (-5,))
    weight_grid = Grid(S4, Scale.of(rng.uniform(0.01, 1, 4)), tuple(int(z) for z in rng.integers(-2, 3, 4)), axis=0)
    odd = Grid(IntType(True, 2), Scale((-7,), True), (-1,), step=2, axis=0)
    constants = {
        "conv.weight": Value(TensorType(weight_grid, (4, 2, 3, 3)), rng.integers(-8, 8, (4, 2, 3, 3)).astype(np.int8)),
        "conv.bias": constant(rng.integers(-1000, 1000, 4)),
        "fc.weight": Value(TensorType(odd, (5, 8)), rng.integers(-2, 2, (5, 8)).astype(np.int8)),
        "q.shift": constant([3, 4, 5, -1], IntType(True, 8)),
        "m.multiplier": constant(rng.integers(1, 1 << 20, 4)),
        "m.shift": constant([20, 21, 22, 23]),
        "t.thresholds": constant(np.sort(rng.integers(-900, 900, (4, 6)), axis=1), IntType(True, 13)),
        "t.base": constant([0, 1, 2, 3]),
        "t.strict": constant([0, 1, 0, 1], IntType(False, 1)),
        "t.descending": constant([1, 0, 1, 0], IntType(False, 1)),
        "one": constant([1]),
        "three": constant([3]),
        "two": constant([2]),
        "lut": constant(rng.integers(0, 16, 16), U4),
        "slope": constant([-3, 0, 5, 7]),
        "factor": Value(TensorType(Grid(S4, Scale((0.5,)), axis=0), (4,)), np.array([1, -2, 3, 7], np.int8)),
    }
    shift = ops.RequantizeShift(codes, Rounding.HALF_UP, True, 0, 14)
    nodes = [
        Node("x.u4", ops.Quantize(codes), ("x",)),
        Node("conv", ops.Conv2d((1, 2), (1, 0, 2, 1), (1, 1), 2, None, Accumulator(20, "saturate", "pixel_major")),
             ("x.u4", "conv.weight", "conv.bias")),
        Node("q", shift, ("conv", "q.shift")),
        Node("m", ops.RequantizeMultiplier(fine, Rounding.HALF_AWAY), ("conv", "m.multiplier", "m.shift")),
        Node("f", ops.RequantizeFloat32(fine, (0.1, 0.2, 0.25, 1 / 3)), ("conv",)),
        Node("t", ops.Threshold(codes), ("conv", "t.thresholds", "t.base", "t.strict", "t.descending")),
        Node("sum", ops.Add(codes, Rounding.FLOOR), ("q", "t", "one", "three", "two")),
        Node("joined", ops.Concat(1), ("sum", "q")),
        Node("part", ops.Slice((0, 1, 0, 0), (0, 5, 5, 4), (1, 1, 2, 1)), ("joined",)),
        Node("padded", ops.Pad((0, 0, 1, 0), (0, 0, 0, 2), None), ("part",)),
        Node("turned", ops.Permute((0, 1, 3, 2)), ("padded",)),
        Node("shaped", ops.Reshape((None, 4, 24)), ("turned",)),
        Node("product", ops.Matmul(), ("shaped", "shaped.t")),
        Node("big", ops.Upsample((2, 2)), ("part",)),
        Node("max", ops.MaxPool((3, 3), (2, 2), (1, 1, 1, 1)), ("big",)),
        Node("avg", ops.AveragePool(Grid(U8, Scale((0.25,)), (3,)), Rounding.HALF_EVEN, (2, 2), (2, 2)), ("max",)),
        Node("adaptive", ops.AdaptiveAveragePool(codes, Rounding.HALF_EVEN, (2, 1), 5, 3), ("max",)),
        Node("looked", ops.Table(codes), ("adaptive", "lut")),
        Node("clamped", ops.Clamp(1, 9), ("looked",)),
        Node("prelu", ops.PRelu(4), ("conv", "slope")),
        Node("scaled", ops.Mul(), ("sum", "factor")),
        Node("flat", ops.Reshape((None, 8)), ("clamped",)),
        Node("fc", ops.Linear(Accumulator(9, "wrap")), ("flat", "fc.weight")),
    ]  # fmt: skip
    at = next(i for i, node in enumerate(nodes) if node.name == "product")
    nodes.insert(at, Node("shaped.t", ops.Permute((0, 2, 1)), ("shaped",)))
    outputs = ("fc", "product", "prelu", "scaled", "m", "f", "avg")
    return Graph({"x": TensorType(None, (None, 4, 6, 6))}, constants, tuple(nodes), outputs, {"method": "none"})
