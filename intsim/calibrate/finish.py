"""From a decision to the quantized graph: biases on their accumulators' grids, and a chain for every quantizer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from intsim.calibrate.chains import build_chain
from intsim.calibrate.method import Decision
from intsim.calibrate.place import Placed
from intsim.calibrate.settings import Settings
from intsim.calibrate.sources import grid_of
from intsim.dtypes import S32
from intsim.errors import CalibrationError
from intsim.ir.float_graph import FloatNode
from intsim.ir.quantized import QuantizedGraph, QuantizedWeight
from intsim.ir.types import Scale


def finish(placed: Placed, decision: Decision, settings: Settings) -> QuantizedGraph:
    """The quantized graph of any method's decision.

    raises  CalibrationError for a scale that is no power of two where all have to be, and for a bias beyond 32 bits
    """
    codes = {**decision.weights, **placed.weights}
    # What quantizers and weight codes say now, the nodes need not say.
    decided = {*codes, *placed.fixed, *decision.quantizers}
    nodes = tuple(_bare(node) if node.name in decided else node for node in placed.graph.nodes)
    graph = replace(placed.graph, nodes=nodes)
    quantizers = {**placed.fixed, **decision.quantizers}
    grids = QuantizedGraph(graph, quantizers, {}, {})
    weights = {}
    for node in placed.graph.weighted:
        weight = codes[node.name]
        bias = decision.biases.get(node.name, node.arrays.get("bias"))
        scale = grid_of(grids, node.inputs[0]).scale * weight.type.integer.scale
        levels = None if bias is None else round_bias(node, bias, scale)
        weights[node.name] = QuantizedWeight(weight, levels)
    if settings.power_of_two:
        scales = {name: quantizer.grid.scale for name, quantizer in quantizers.items()}
        scales |= {name: record.weight.type.integer.scale for name, record in weights.items()}
        check_powers_of_two(scales)
    quantized = QuantizedGraph(graph, quantizers, weights, {}, metadata={**settings.metadata(), **decision.notes})
    chains = {
        node.name: build_chain(quantized, node, settings.scales)
        for node in nodes
        if node.op == "quantize" and node.inputs[0] not in graph.inputs.keys() - placed.fixed.keys()
    }
    return replace(quantized, chains=chains)


def _bare(node: FloatNode) -> FloatNode:
    """A layer without its arrays, or a quantize node without anything."""
    return replace(node, arrays={}, attributes={} if node.op == "quantize" else node.attributes, grid=None)


def round_bias(node: FloatNode, bias: NDArray[np.floating], scale: Scale) -> NDArray[np.int64]:
    """A bias in levels of its accumulator.

    bias     float (O,)
    scale    the accumulator's, one or O
    returns  int64 (O,)
    raises   CalibrationError where a level leaves 32 bits
    Exact:   rint(bias / scale), ties to even
    """
    levels = np.rint(bias.astype(np.float64) / scale.array)
    beyond = np.flatnonzero(np.abs(levels) > S32.max)
    if beyond.size:
        channel = int(beyond[0])
        raise CalibrationError(
            f"{node}: channel {channel} has a bias of {bias[channel]:.3g}, {levels[channel]:.3g} steps of its "
            "accumulator, which does not fit 32 bits: its input or weight scale is too fine"
        )
    return levels.astype(np.int64)


def check_powers_of_two(scales: dict[str, Scale]) -> None:
    """CalibrationError that names the first scale that is no power of two."""
    for name, scale in scales.items():
        if not scale.power_of_two:
            raise CalibrationError(f"'{name}': expected scales that are powers of two, got {scale}")
