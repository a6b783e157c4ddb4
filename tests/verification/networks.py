"""A small quantized network with every kind of layer, built by hand from numbers that a seed gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from intsim.arithmetic.multiplier import dyadic
from intsim.arithmetic.rounding import Rounding
from intsim.dtypes import IntType
from intsim.ir.chain import Chain, Clamp, Divide, Function, Multiply, Offset, Step, Terms, ToCodes
from intsim.ir.float_graph import FloatGraph, FloatNode
from intsim.ir.quantized import QuantizedGraph, QuantizedWeight, Quantizer
from intsim.ir.types import Grid, Scale, Shape, TensorType, Value

FORMS = ("shift", "multiplier", "threshold")
FACTORS, OFFSETS = np.array([1.0, -1.25, 0.75, 1.0]), np.array([0.25, 0.5, -0.25, 0.0])


@dataclass
class Builder:
    """Nodes in order, with the records of their quantizers."""

    form: str
    rng: np.random.Generator
    nodes: list[FloatNode] = field(default_factory=list)
    shapes: dict[str, Shape] = field(default_factory=dict)
    quantizers: dict[str, Quantizer] = field(default_factory=dict)
    weights: dict[str, QuantizedWeight] = field(default_factory=dict)
    chains: dict[str, Chain] = field(default_factory=dict)
    scales: dict[str, np.ndarray] = field(default_factory=dict)

    def add(self, name: str, op: str, inputs: tuple[str, ...], extents: tuple[int, ...], /, **attributes: Any) -> str:
        arrays = attributes.pop("arrays", {})
        self.nodes.append(FloatNode(name, op, inputs, attributes, arrays))
        self.shapes[name] = (None, *extents)
        if op not in ("quantize", "conv2d", "linear"):
            self.scales[name] = self.scales[inputs[0]]
        return name

    def scale(self, around: float, count: int = 1) -> Scale:
        """Scales near a number: powers of two for shifts, anything else otherwise."""
        reals = around * 2.0 ** self.rng.uniform(-0.9, 0.9, count)
        return Scale.of(np.exp2(np.rint(np.log2(reals))), True) if self.form == "shift" else Scale.of(reals)

    def contract(
        self, name: str, x: str, weight: tuple[int, ...], bits: int, shape: tuple[int, ...], **attributes: Any
    ) -> str:
        element, outputs = IntType(True, bits), weight[0]
        grid = Grid(element, self.scale(0.03, outputs), axis=0)
        codes = self.rng.integers(element.min, element.max + 1, weight).astype(element.storage)
        bias = self.rng.integers(-200, 200, outputs)
        self.add(name, "linear" if len(weight) == 2 else "conv2d", (x,), shape, **attributes)
        self.weights[name] = QuantizedWeight(Value(TensorType(grid, weight), codes), bias)
        self.scales[name] = self.scales[x] * grid.scale.array
        return name

    def quantize(
        self, name: str, x: str, bits: int, scale: float, zero: int = 0, sources: tuple[str, ...] = (), **options: Any
    ) -> str:
        """A quantizer behind `x`, whose chain reads `sources`; with a ReLU unless told otherwise."""
        grid = Grid(IntType(False, bits), self.scale(scale), (zero,))
        self.nodes.append(FloatNode(name, "quantize", (x,)))
        self.shapes[name] = self.shapes[x]
        self.quantizers[name] = Quantizer(grid)
        self.scales[name] = grid.scale.array
        if sources:
            low = zero if options.get("relu", True) else 0
            tail = ToCodes(Rounding.HALF_EVEN, zero, False, low, grid.element.max)
            self.chains[name] = self.chain(sources, grid.scale.array, tail, **options)
        return name

    def chain(self, sources: tuple[str, ...], out: np.ndarray, tail: ToCodes, **options: Any) -> Chain:
        ratios = [np.asarray(self.scales[source] / out) for source in sources]
        real = self.scales[sources[0]]
        steps: list[Step] = [Clamp(0.0, float(options["top"] / out[0]))] if "top" in options else []
        if "cells" in options:
            multiplier, shift = dyadic(ratios[0], 24)
            terms = Terms((multiplier / 2.0**shift,))
            return Chain(sources, (terms, Divide(options["cells"]), tail), "divide")
        if options.get("function"):
            return Chain(sources, (Terms((real,)), Function("sigmoid"), Divide(out), tail), "table")
        if self.form == "shift":
            return Chain(sources, (Terms(tuple(ratios)), *steps, tail), "shift")
        if self.form == "multiplier" or len(sources) > 1:
            largest = np.max(np.abs(np.stack(np.broadcast_arrays(*ratios))), axis=0)
            _, shift = dyadic(largest, 20)
            terms = Terms(tuple(np.rint(r * 2.0**shift) / 2.0**shift for r in ratios))
            return Chain(sources, (terms, *steps, tail), "multiplier")
        affine: list[Step] = [Multiply(np.asarray(FACTORS)), Offset(np.asarray(OFFSETS))] if "affine" in options else []
        return Chain(sources, (Terms((real,)), *affine, Divide(out), *steps, tail), "threshold")

    def finish(self, outputs: tuple[str, ...]) -> QuantizedGraph:
        inputs = {"x": self.shapes["x"]}
        graph = FloatGraph(inputs, tuple(self.nodes), outputs, self.shapes)
        return QuantizedGraph(graph, self.quantizers, self.weights, self.chains, metadata={"form": self.form})


def small_network(form: str = "multiplier", seed: int = 0) -> QuantizedGraph:
    """Float images (N, 3, 6, 6) through every kind of layer to 5 accumulators."""
    b = Builder(form, np.random.default_rng(seed))
    b.shapes["x"] = (None, 3, 6, 6)
    b.quantize("x.u8", "x", 8, 0.02, zero=117)
    b.contract("conv1", "x.u8", (4, 3, 3, 3), 4, (4, 6, 6),
               stride=(1, 1), padding=(1, 1, 1, 1), dilation=(1, 1), groups=1)  # fmt: skip
    options = {"affine": True} if form == "threshold" else {}
    if options:
        # A BatchNorm that could not be folded; its second channel falls.
        b.add("bn1", "affine", ("conv1",), (4, 6, 6), arrays={"factor": FACTORS, "offset": OFFSETS})
    b.add("relu1", "relu", (b.nodes[-1].name,), (4, 6, 6))
    b.quantize("relu1.u4", "relu1", 4, 0.3, sources=("conv1",), **options)
    b.contract("depthwise", "relu1.u4", (4, 1, 3, 3), 8, (4, 3, 3),
               stride=(2, 2), padding=(0, 1, 0, 1), dilation=(1, 1), groups=4)  # fmt: skip
    b.add("relu6", "clamp", ("depthwise",), (4, 3, 3), low=0.0, high=6.0)
    b.quantize("relu6.u8", "relu6", 8, 0.1, zero=3, sources=("depthwise",), top=6.0)
    b.quantize("relu6.u4", "relu6.u8", 4, 1.5, sources=("relu6.u8",))
    b.contract("conv2", "relu6.u4", (4, 2, 1, 1), 3, (4, 3, 3),
               stride=(1, 1), padding=(0, 0, 0, 0), dilation=(1, 1), groups=2)  # fmt: skip
    b.add("pool1", "max_pool", ("relu1.u4",), (4, 3, 3),
          kernel=(2, 2), stride=(2, 2), padding=(0, 0, 0, 0), dilation=(1, 1))  # fmt: skip
    b.add("sum", "add", ("conv2", "pool1"), (4, 3, 3), coefficients=(1.0, 1.0))
    b.add("relu2", "relu", ("sum",), (4, 3, 3))
    b.quantize("relu2.u8", "relu2", 8, 0.05, sources=("conv2", "pool1"))
    b.add("part", "slice", ("relu2.u8",), (2, 3, 3), starts=(0, 1, 0, 0), stops=(1, 3, 3, 3), steps=(1, 1, 1, 1))
    b.add("both", "concat", ("relu2.u8", "part"), (6, 3, 3), axis=1)
    b.add("gate", "function", ("both",), (6, 3, 3), function="sigmoid")
    b.quantize("gate.u8", "gate", 8, 1 / 256, sources=("both",), relu=False, function=True)
    b.add("average", "avg_pool", ("gate.u8",), (6, 2, 2),
          kernel=(2, 2), stride=(2, 2), padding=(0, 1, 0, 1), count_include_pad=False)  # fmt: skip
    cells = np.array([[4.0, 2.0], [2.0, 1.0]])
    b.quantize("average.u8", "average", 8, 1 / 200, sources=("average",), relu=False, cells=cells)
    b.add("turned", "permute", ("average.u8",), (2, 2, 6), order=(0, 2, 3, 1))
    b.add("flat", "reshape", ("turned",), (24,), shape=(None, 24))
    b.contract("linear", "flat", (5, 24), 8, (5,))
    return b.finish(("linear",))


def images(count: int, seed: int = 0) -> np.ndarray:
    """Inputs of the small network, float32 (count, 3, 6, 6)."""
    return np.random.default_rng(seed).normal(0, 1.2, (count, 3, 6, 6)).astype(np.float32)
