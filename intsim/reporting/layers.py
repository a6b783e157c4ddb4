"""What stands in a graph, node by node: types, work and bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from intsim.ir.graph import Graph, Node


@dataclass(frozen=True)
class LayerSummary:
    """A node that has constants.

    inputs, weight, result  types as text; weight is "" where the node does not multiply and accumulate
    macs                    multiply-accumulates for one image
    weight_bytes            the packed weights
    parameter_bytes         the packed biases, multipliers, shifts, thresholds or tables
    kernel                  what the native backend runs it with, "" where it has no choice
    """

    name: str
    op: str
    inputs: str
    weight: str
    result: str
    macs: int
    weight_bytes: int
    parameter_bytes: int
    kernel: str


def summarize(graph: Graph, kernels: Mapping[str, str]) -> list[LayerSummary]:
    """The nodes that have constants, in order; `kernels` names the kernel of some of them."""
    macs = graph.macs()
    return [
        _summarize(graph, node, macs.get(node.name, 0), kernels.get(node.name, ""))
        for node in graph
        if any(name in graph.constants for name in node.inputs)
    ]


def _summarize(graph: Graph, node: Node, macs: int, kernel: str) -> LayerSummary:
    tensors = [str(graph.types[name]) for name in node.inputs if name not in graph.constants]
    constants = [graph.constants[name].type for name in node.inputs if name in graph.constants]
    weights, parameters = (constants[:1], constants[1:]) if macs else ([], constants)
    return LayerSummary(
        name=node.name,
        op=node.mnemonic,
        inputs=", ".join(tensors),
        weight=", ".join(map(str, weights)),
        result=str(graph.types[node.name]),
        macs=macs,
        weight_bytes=sum(-(-w.elements() * w.integer.element.bits // 8) for w in weights),
        parameter_bytes=sum(-(-p.elements() * p.integer.element.bits // 8) for p in parameters),
        kernel=kernel,
    )
