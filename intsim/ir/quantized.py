"""The quantized graph: every decision that calibration made, and nothing of PyTorch.

It is the float graph with `quantize` nodes in it, a quantizer for each of them, weight codes, and the float chains from
accumulators to codes. Two programs run it, independently of each other: the PyTorch mirror executes the chains in
float64, and lowering turns them into integer operators. That they agree is what `verify` and `prove` show.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from intsim.arithmetic.accumulate import Accumulator
from intsim.arithmetic.rounding import Rounding
from intsim.ir.chain import Chain
from intsim.ir.float_graph import MOVEMENTS, FloatGraph
from intsim.ir.types import Grid, Value

MADE_FROM = "network"
"""Of the metadata: the digest of the float network that a user knows the graph by."""


@dataclass(frozen=True, eq=False)
class Quantizer:
    """How a real tensor becomes codes.

    grid              IntType, scale, zero point of the codes
    rounding          the tie rule
    zero_point_first  whether the zero point is added before rounding (methods.md, 0.1)
    thresholds        learned thresholds on the real values (N2UQ), float64 (L,), ascending; None for uniform rounding
    strict            with thresholds: a value must exceed one (>), not only reach it (>=)
    """

    grid: Grid
    rounding: Rounding = Rounding.HALF_EVEN
    zero_point_first: bool = False
    thresholds: NDArray[np.float64] | None = None
    strict: bool = False


@dataclass(frozen=True, eq=False)
class QuantizedWeight:
    """The integers of a layer with weights.

    weight   codes (O, ...), grid per tensor or per output channel (axis 0)
    bias     int64 (O,) on the accumulator's grid (the rounded bias that the mirror uses too), or None
    """

    weight: Value
    bias: NDArray[np.int64] | None


@dataclass(frozen=True, eq=False)
class QuantizedGraph:
    """The result of calibration.

    graph         float graph with quantize nodes; layers with weights keep no weight or bias arrays, `weights` has them
    quantizers    for every quantize node
    weights       for every conv2d and linear
    chains        for every quantize node but those of graph inputs
    pad_codes     for convolutions whose input grid has no zero: the code that pads
    accumulators  for layers that have other accumulators than exact 32 bits
    metadata      method, widths, scales, seed: text
    """

    graph: FloatGraph
    quantizers: Mapping[str, Quantizer]
    weights: Mapping[str, QuantizedWeight]
    chains: Mapping[str, Chain]
    pad_codes: Mapping[str, int] = field(default_factory=dict)
    accumulators: Mapping[str, Accumulator] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)

    def grid_of(self, name: str) -> Grid | None:
        """Grid of the codes of a value: a quantizer's, carried along movements; None for accumulators and floats."""
        if name in self.quantizers:
            return self.quantizers[name].grid
        node = self.graph.by_name.get(name)
        return self.grid_of(node.inputs[0]) if node is not None and node.op in MOVEMENTS else None
