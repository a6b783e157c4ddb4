"""Zero padding of an image folds into the convolution that alone reads it."""

from __future__ import annotations

from dataclasses import replace

from intsim.frontend.fold_batchnorm import kept_shapes
from intsim.ir.float_graph import FloatGraph, FloatNode


def fold_padding(graph: FloatGraph) -> FloatGraph:
    """Fold a zero padding of height and width into the convolution that alone reads it."""
    nodes: dict[str, FloatNode] = {}
    for node in graph.nodes:
        source = nodes.get(node.inputs[0])
        if node.op == "conv2d" and source is not None and source.op == "pad" and _pads_image(graph, source):
            (_, _, top, left), (_, _, bottom, right) = source.attributes["before"], source.attributes["after"]
            padding = tuple(a + b for a, b in zip(node.attributes["padding"], (top, bottom, left, right), strict=True))
            del nodes[source.name]
            node = replace(node, inputs=source.inputs, attributes={**node.attributes, "padding": padding})
        nodes[node.name] = node
    return FloatGraph(graph.inputs, tuple(nodes.values()), graph.outputs, kept_shapes(graph, nodes))


def _pads_image(graph: FloatGraph, pad: FloatNode) -> bool:
    amounts = pad.attributes["before"][:2] + pad.attributes["after"][:2]
    single = len(graph.consumers[pad.name]) == 1 and pad.name not in graph.outputs
    return single and len(pad.attributes["before"]) == 4 and not any(amounts)
