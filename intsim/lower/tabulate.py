"""Chains over codes of a small type become tables: one entry for every code."""

from __future__ import annotations

import numpy as np

from intsim.errors import LoweringError
from intsim.ir.graph import Graph, Node
from intsim.ir.ops import Table
from intsim.lower.constants import parameter
from intsim.lower.float_chain import FloatChain, Replacement, replace_chains

LARGEST_BITS = 12


def tabulate(graph: Graph) -> Graph:
    """Replace every chain of the form "table"."""
    return replace_chains(graph, "table", _rewrite)


def _rewrite(graph: Graph, node: Node, op: FloatChain) -> Replacement:
    source = graph.types[node.inputs[0]].integer
    if len(node.inputs) != 1 or not source.per_tensor or source.element.bits > LARGEST_BITS:
        raise LoweringError(f"a table needs one operand of at most {LARGEST_BITS} bits on one grid, got {source}")
    codes = np.arange(source.element.min, source.element.max + 1)
    entries = op.chain.evaluate([source.levels(codes)], axis=0)
    constant = parameter(entries, op.out.element)
    if len(constant.codes) != len(entries):  # a constant function
        constant = type(constant)(constant.type.with_shape(entries.shape), entries.astype(op.out.element.storage))
    return Table(op.out), {"table": constant}
