"""The specification at work: every node by its operator's own reference meaning, plain NumPy, slow and obvious."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray

from intsim.backends.node_by_node import NodeByNode
from intsim.ir.graph import Node
from intsim.ir.types import Value


class ReferenceBackend(NodeByNode):
    """Runs a graph as its operators are defined."""

    def evaluate(self, node: Node, operands: Sequence[Value]) -> NDArray[Any]:
        codes: NDArray[Any] = node.op.evaluate(*operands)
        return codes
