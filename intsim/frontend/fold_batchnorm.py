"""BatchNorm, and any scaling by constants, folds into the convolution before it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from intsim.ir.float_graph import FloatGraph, FloatNode
from intsim.ir.types import Shape


def fold_batchnorm(graph: FloatGraph) -> FloatGraph:
    """Fold every affine into the convolution or linear before it, where that has no other consumer.

    Exact: W' = W * factor and b' = b * factor + offset, in float64, rounded to float32 once.
    The convolution takes the affine's place and keeps its own name; an affine that cannot be folded stays.
    """
    nodes: dict[str, FloatNode] = {}
    renamed: dict[str, str] = {}
    for original in graph.nodes:
        node = replace(original, inputs=tuple(renamed.get(name, name) for name in original.inputs))
        source = nodes.get(node.inputs[0]) if node.op in ("affine", "mul") else None
        if source is not None and _foldable(graph, source, original.inputs[0]):
            nodes[source.name] = _folded(source, node)
            renamed[node.name] = source.name
        else:
            nodes[node.name] = _rounded(node)
    outputs = tuple(renamed.get(name, name) for name in graph.outputs)
    return FloatGraph(graph.inputs, tuple(nodes.values()), outputs, kept_shapes(graph, nodes))


def _foldable(graph: FloatGraph, source: FloatNode, value: str) -> bool:
    """Whether the affine is the only reader of a convolution's (perhaps already folded) `value`."""
    per_output = source.op == "conv2d" or (source.op == "linear" and len(graph.shapes[source.name]) == 2)
    return per_output and len(graph.consumers[value]) == 1 and value not in graph.outputs


def _folded(source: FloatNode, affine: FloatNode) -> FloatNode:
    weight = source.arrays["weight"].astype(np.float64)
    factor = np.broadcast_to(np.asarray(affine.arrays["factor"], np.float64), weight.shape[:1])
    offset = np.asarray(affine.arrays.get("offset", 0.0), np.float64)
    bias = np.broadcast_to(source.arrays["bias"].astype(np.float64) if "bias" in source.arrays else 0.0, factor.shape)
    arrays = {"weight": weight * factor.reshape(-1, *[1] * (weight.ndim - 1)), "bias": bias * factor + offset}
    return replace(source, arrays={key: _float32(array) for key, array in arrays.items()})


def _rounded(node: FloatNode) -> FloatNode:
    return replace(node, arrays={key: _float32(array) for key, array in node.arrays.items()})


def _float32(array: NDArray[np.floating]) -> NDArray[np.float32]:
    return np.asarray(array, np.float32)


def kept_shapes(graph: FloatGraph, nodes: dict[str, FloatNode]) -> dict[str, Shape]:
    """Shapes of the values that are left."""
    return {name: shape for name, shape in graph.shapes.items() if name in nodes or name in graph.inputs}
