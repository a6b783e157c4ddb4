"""BatchNorm, and any scaling by constants, folds into the convolution before it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from intsim.ir.float_graph import ELEMENTWISE, FloatGraph, FloatNode
from intsim.ir.types import Scale, Shape

FEW_CODES = 64
"""Quantizers with fewer codes compare accumulators with thresholds."""


def fold_batchnorm(graph: FloatGraph) -> FloatGraph:
    """Fold every affine into the convolution or linear before it, where that has no other consumer.

    Exact: W' = W * factor and b' = b * factor + offset, in float64, rounded to float32 once.
    The convolution takes the affine's place and keeps its own name; an affine that cannot be folded stays.
    Weights that the network quantizes itself keep their codes: the factor goes into their scales, its sign into the
    codes where their levels are symmetric. On the way to a quantizer of few codes the affine stays all the same:
    thresholds take it in exactly, where a bias is rounded to the accumulator's grid.
    A BatchNorm's gamma stays beside the weights that it is in, for calibration; it has no part in what a node computes.
    """
    nodes: dict[str, FloatNode] = {}
    renamed: dict[str, str] = {}
    for original in graph.nodes:
        node = replace(original, inputs=tuple(renamed.get(name, name) for name in original.inputs))
        source = nodes.get(node.inputs[0]) if node.op in ("affine", "mul") else None
        if source is not None and _foldable(graph, source, original):
            nodes[source.name] = _folded(source, node)
            renamed[node.name] = source.name
        else:
            nodes[node.name] = _rounded(node)
    outputs = tuple(renamed.get(name, name) for name in graph.outputs)
    return FloatGraph(graph.inputs, tuple(nodes.values()), outputs, kept_shapes(graph, nodes))


def _foldable(graph: FloatGraph, source: FloatNode, affine: FloatNode) -> bool:
    """Whether the affine alone reads a convolution's (perhaps already folded) value, and its grid allows it."""
    (value,) = affine.inputs
    per_output = source.op == "conv2d" or (source.op == "linear" and len(graph.shapes[source.name]) == 2)
    alone = len(graph.consumers[value]) == 1 and value not in graph.outputs
    if source.grid is None or not (per_output and alone):
        return per_output and alone
    factor = affine.arrays["factor"]
    low, high = source.grid.level_range()
    scalable = (factor > 0).all() or (low == -high and (factor != 0).all())
    return bool(scalable) and not _meets_thresholds(graph, affine)


def _meets_thresholds(graph: FloatGraph, node: FloatNode) -> bool:
    """Whether a value goes through elementwise operators into one of the network's own quantizers, of few codes."""
    while len(graph.consumers[node.name]) == 1 and node.name not in graph.outputs:
        (node,) = graph.consumers[node.name]
        if node.op == "quantize":
            return "thresholds" in node.arrays or node.attributes["high"] - node.attributes["low"] < FEW_CODES
        if node.op not in ELEMENTWISE or node.op == "add":
            break
    return False


def _folded(source: FloatNode, affine: FloatNode) -> FloatNode:
    weight = source.arrays["weight"].astype(np.float64)
    factor = np.broadcast_to(np.asarray(affine.arrays["factor"], np.float64), weight.shape[:1])
    offset = np.asarray(affine.arrays.get("offset", 0.0), np.float64)
    bias = np.broadcast_to(source.arrays["bias"].astype(np.float64) if "bias" in source.arrays else 0.0, factor.shape)
    arrays = {"weight": weight * factor.reshape(-1, *[1] * (weight.ndim - 1)), "bias": bias * factor + offset}
    if "gamma" in affine.arrays:
        arrays["gamma"] = affine.arrays["gamma"].astype(np.float64)
    elif "gamma" in source.arrays:
        arrays["gamma"] = source.arrays["gamma"] * factor
    grid = source.grid and replace(source.grid, scale=Scale.of(source.grid.scale.array * np.abs(factor)))
    return replace(source, arrays={key: _float32(array) for key, array in arrays.items()}, grid=grid)


def _rounded(node: FloatNode) -> FloatNode:
    return replace(node, arrays={key: _float32(array) for key, array in node.arrays.items() if key != "gamma"})


def _float32(array: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.asarray(array, np.float32)


def kept_shapes(graph: FloatGraph, nodes: dict[str, FloatNode]) -> dict[str, Shape]:
    """Shapes of the values that are left."""
    return {name: shape for name, shape in graph.shapes.items() if name in nodes or name in graph.inputs}
