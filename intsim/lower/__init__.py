"""Lowering: from the quantized graph to integers, one pass per file."""

from __future__ import annotations

from collections.abc import Callable

from intsim.errors import GraphError, LoweringError
from intsim.ir.check import check
from intsim.ir.graph import Graph
from intsim.ir.quantized import QuantizedGraph
from intsim.lower.check_overflow import check_overflow
from intsim.lower.divide_averages import divide_averages
from intsim.lower.float_chain import FloatChain
from intsim.lower.fold_thresholds import fold_thresholds
from intsim.lower.requantize_multipliers import requantize_multipliers
from intsim.lower.requantize_shifts import requantize_shifts
from intsim.lower.tabulate import tabulate
from intsim.lower.translate import translate

Pass = Callable[[Graph], Graph]

PIPELINE: tuple[Pass, ...] = (
    tabulate,
    divide_averages,
    requantize_shifts,
    requantize_multipliers,
    fold_thresholds,
    check_overflow,
)
"""The passes after translation, in order. Each takes and gives a well-formed graph with the same values by name."""


def lower(quantized: QuantizedGraph, inspect: Callable[[str, Graph], None] | None = None) -> Graph:
    """The integer graph of a quantized graph, proved free of overflow.

    inspect  called with the name of each stage and the graph after it
    raises   LoweringError for what has no exact integer form
    """
    graph = _checked("translate", translate(quantized))
    if inspect:
        inspect("translate", graph)
    for step in PIPELINE:
        graph = _checked(step.__name__, step(graph))
        if inspect:
            inspect(step.__name__, graph)
    for node in graph.nodes:
        if isinstance(node.op, FloatChain):
            raise LoweringError(f"'{node.name}': no pass realises a chain of the form {node.op.chain.form!r}")
    return graph


def _checked(stage: str, graph: Graph) -> Graph:
    try:
        return check(graph)
    except GraphError as error:
        raise LoweringError(f"after {stage}: {error}") from None
