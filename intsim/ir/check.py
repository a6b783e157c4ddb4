"""Whether a graph is well-formed: what every pass, loader and backend may rely on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from intsim.dtypes import IntType
from intsim.errors import GraphError
from intsim.ir.graph import Graph, Node
from intsim.ir.ops.table import Table
from intsim.ir.ops.threshold import Threshold

LARGEST_TENSOR = 1 << 32  # elements of one image; more is damage, not a network


def check(graph: Graph) -> Graph:
    """The graph itself, or GraphError with the place and the reason.

    Checked: single assignment and order, types of all operands, codes of all constants in range, outputs that exist,
    parameters that are constants, thresholds that ascend, shifts and multipliers that the requantizations define.
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


PARAMETERS: dict[str, slice] = {
    "conv2d": slice(1, None),
    "linear": slice(1, None),
    "mul": slice(1, None),
    "prelu": slice(1, None),
    "table": slice(1, None),
    "threshold": slice(1, None),
    "requantize_shift": slice(1, None),
    "requantize_multiplier": slice(1, None),
}
"""Operands that must be constants, by operator; an addition's are its second half."""


def parameters(node: Node) -> tuple[str, ...]:
    """Names of the operands that parametrise a node and have to be constants."""
    if node.mnemonic == "add":
        return node.inputs[len(node.inputs) // 2 :]
    return node.inputs[PARAMETERS.get(node.mnemonic, slice(0, 0))]


def _check_parameters(graph: Graph, node: Node) -> None:
    for name in parameters(node):
        if name not in graph.constants:
            raise GraphError(f"'{name}' must be a constant")
    values = [graph.constants[name] for name in parameters(node)]
    if node.mnemonic in ("requantize_shift", "requantize_multiplier", "add"):
        low, high = (-31, 31) if node.mnemonic == "requantize_shift" else (-31, 62)
        shifts = values[-1].codes.astype(np.int64)
        if shifts.min() < low or shifts.max() > high:
            raise GraphError(f"shifts {shifts.min()}..{shifts.max()} leave {low}..{high}")
    if isinstance(node.op, Threshold):
        thresholds, base = values[0].codes.astype(np.int64), values[1].codes.astype(np.int64)
        if (np.diff(thresholds, axis=1) < 0).any():
            channel = int(np.argwhere((np.diff(thresholds, axis=1) < 0).any(axis=1))[0, 0])
            raise GraphError(f"thresholds of channel {channel} are not sorted")
        _check_codes(node.op.out.element, thresholds, base, values[0].type.integer.element)
    if isinstance(node.op, Table):
        element = node.op.out.element
        if values[0].codes.min() < element.min or values[0].codes.max() > element.max:
            raise GraphError(f"table entries leave {element}")


def _check_codes(out: IntType, thresholds: NDArray[np.int64], base: NDArray[np.int64], element: IntType) -> None:
    """Base plus thresholds stay in the result's type; entries at an end of their own type only fill rows."""
    counted = ((thresholds != element.min) & (thresholds != element.max)).sum(axis=1)
    if base.min() < out.min or (base + counted).max() > out.max:
        raise GraphError(f"base {base.min()}..{base.max()} with up to {counted.max()} thresholds leaves {out}")
