"""Whether a graph is well-formed: what every pass, loader and backend may rely on."""

from __future__ import annotations

from intsim.errors import GraphError
from intsim.ir.graph import Graph, Node

LARGEST_TENSOR = 1 << 32  # elements of one image; more is damage, not a network


def check(graph: Graph) -> Graph:
    """The graph itself, or GraphError with the place and the reason.

    Checked: single assignment and order, types of all operands, codes of all constants in range, outputs that exist,
    parameters that are constants, and hold what their operator defines: thresholds ascend, shifts and multipliers fit.
    """
    types = graph.types
    if not graph.inputs or not graph.outputs:
        raise GraphError("a graph has at least one input and one output")
    for name in graph.outputs:
        if name not in types:
            raise GraphError(f"output '{name}' is not made by any node")
    for name, type in types.items():
        if type.elements() > LARGEST_TENSOR:
            raise GraphError(f"'{name}': {type} has {type.elements()} elements, more than {LARGEST_TENSOR} an image")
    for name, constant in graph.constants.items():
        constant.check(name)
    for node in graph.nodes:
        try:
            _check_parameters(graph, node)
        except GraphError as error:
            raise GraphError(f"{node.mnemonic} '{node.name}': {error}") from None
    return graph


def parameters(node: Node) -> tuple[str, ...]:
    """Names of the operands that parametrise a node and have to be constants."""
    return node.inputs[node.op.parameters_from(len(node.inputs)) :]


def _check_parameters(graph: Graph, node: Node) -> None:
    names = parameters(node)
    for name in names:
        if name not in graph.constants:
            raise GraphError(f"'{name}' must be a constant")
    node.op.check_parameters(*(graph.constants[name] for name in names))
