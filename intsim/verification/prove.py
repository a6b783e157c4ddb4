"""The proof that a model is exact for every possible input of every layer, as a certificate that others can check.

The certificate is JSON. Of every layer that computes:

    acc_min acc_max acc_bits   the integers that it sums, or reads to requantize, and the smallest signed width for them
    witness                    of a contraction: inputs that reach the two ends; null where the operands' ends do
    partial_min .. _bits       of a contraction: any sum of some of its terms, so any order of additions
    intermediate_bits          of an epilogue: signed width of its largest product, sum or rounding constant
    epilogue                   evidence that its integers equal the float chain on everything that can reach it

`copies` are the nodes that only move codes, or quantize the input, and are the quantized graph's own; `problems` is
empty where all is proved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from intsim.arithmetic.accumulate import signed_bits
from intsim.ir import ops
from intsim.ir.file import Model
from intsim.ir.graph import Graph, Node
from intsim.ir.quantized import QuantizedGraph
from intsim.progress import Progress, silent
from intsim.verification.coefficients import same_coefficients
from intsim.verification.correspondence import EPILOGUES, MOVEMENTS, differences
from intsim.verification.crossings import chain_is_monotone, integers_are_monotone, same_crossings
from intsim.verification.enumeration import every_accumulator, every_code, every_sum
from intsim.verification.epilogue import Epilogue, Evidence, UnprovedError
from intsim.verification.reach import (
    CONTRACTIONS,
    Reach,
    Witness,
    average_reach,
    contraction_reach,
    level_reach,
    of_channel,
    weighted_reach,
)

LARGEST_SEARCH = 1 << 24  # channels times codes that are bisected at once; more are shown by their coefficients


@dataclass(frozen=True)
class Certificate:
    """What was shown, layer by layer, as JSON.

    layers    in order of evaluation
    copies    names of nodes without arithmetic
    problems  (layer, reason) of everything that could not be shown
    chains    whether float chains were there to compare with; a graph without them has only its sums proved
    """

    layers: Sequence[Mapping[str, Any]]
    copies: Sequence[str]
    problems: Sequence[tuple[str, str]]
    chains: bool

    @property
    def proved(self) -> bool:
        return not self.problems

    def to_dict(self) -> dict[str, Any]:
        return {
            "proved": self.proved,
            "chains": self.chains,
            "problems": [list(problem) for problem in self.problems],
            "copies": list(self.copies),
            "layers": [dict(layer) for layer in self.layers],
        }


def prove(model: Model, progress: Progress = silent) -> Certificate:
    """Prove per layer that nothing overflows and that the integers equal the float chains of the quantized graph."""
    graph, quantized = model.graph, model.quantized
    problems = {} if quantized is None else differences(graph, quantized)
    reaches: dict[str, Reach] = {}
    layers, copies = [], []
    for number, node in enumerate(graph):
        progress("prove", number, len(graph.nodes))
        try:
            if isinstance(node.op, CONTRACTIONS):
                layers.append(_contraction(graph, node, reaches))
            elif isinstance(node.op, EPILOGUES):
                layers.append(_epilogue(graph, node, quantized, reaches))
            elif isinstance(node.op, (ops.Quantize, *MOVEMENTS)):
                copies.append(node.name)
            else:
                raise UnprovedError(f"there is no proof for {node.mnemonic}")
        except UnprovedError as error:
            problems.setdefault(node.name, str(error))
    progress("prove", len(graph.nodes), len(graph.nodes))
    places = {name: place for place, name in enumerate(graph.types)}
    ranked = sorted(problems.items(), key=lambda problem: places.get(problem[0], len(places)))
    return Certificate(layers, copies, ranked, quantized is not None)


def _contraction(graph: Graph, node: Node, reaches: dict[str, Reach]) -> dict[str, Any]:
    """The layer of a contraction; what its accumulators reach is added to `reaches`."""
    assert isinstance(node.op, CONTRACTIONS)
    accumulator = node.op.accumulator
    sums, partial, witness = contraction_reach(graph, node)
    bits = [signed_bits(low, high) for low, high in zip(partial.low, partial.high, strict=True)]
    fits = max(bits) <= accumulator.bits
    # Wrapping or saturating, the register may end up anywhere in its type.
    reaches[node.name] = sums if fits else Reach([accumulator.type.min], [accumulator.type.max])
    if not fits and accumulator.overflow == "exact":
        raise UnprovedError(
            f"channel {bits.index(max(bits))} needs s{max(bits)} in some order of additions, "
            f"the accumulator is {accumulator}"
        )
    return {
        **_header(node, sums, witness),
        "accumulator": str(accumulator),
        "partial_min": min(partial.low),
        "partial_max": max(partial.high),
        "partial_bits": max(bits),
    }


def _epilogue(
    graph: Graph, node: Node, quantized: QuantizedGraph | None, reaches: Mapping[str, Reach]
) -> dict[str, Any]:
    """The layer of an epilogue, with evidence where there is a float chain to equal."""
    op, x = node.op, graph.types[node.inputs[0]]
    if isinstance(op, ops.AveragePool | ops.AdaptiveAveragePool):
        total = average_reach(op, x)
        sources, (multiplier, shift) = [total], op.rescale
        largest = max(total.magnitude(0) * abs(multiplier) << max(-shift, 0), int(op.cells(x).max()) << max(shift, 0))
    else:
        count = len(node.inputs) // 2 if isinstance(op, ops.Add) else 1
        sources = [reaches.get(name) or level_reach(graph.types[name]) for name in node.inputs[:count]]
        multipliers, shifts = _rescaling(graph, node, count)
        total = weighted_reach(sources, multipliers if isinstance(op, ops.Add) else [[1]])
        largest = _largest_intermediate(sources, multipliers, shifts) + max(
            map(abs, graph.types[node.name].integer.zero_point)
        )
    if largest >= 1 << 63:
        raise UnprovedError(f"an intermediate reaches {largest}, beyond int64")
    layer = {**_header(node, total, None), "intermediate_bits": signed_bits(0, largest)}
    if quantized is None or node.name not in quantized.chains:
        return layer
    return {**layer, "epilogue": _equality(Epilogue(graph, node, quantized.chains[node.name]), sources)}


def _header(node: Node, reach: Reach, witness: Witness | None) -> dict[str, Any]:
    low, high = min(reach.low), max(reach.high)
    bits = signed_bits(low, high)
    return {
        "name": node.name,
        "op": node.mnemonic,
        "acc_min": low,
        "acc_max": high,
        "acc_bits": bits,
        "witness": witness,
    }


def _rescaling(graph: Graph, node: Node, count: int) -> tuple[list[list[int]], list[int]]:
    """Multipliers of each operand and the shift that follows, one for each channel or one in all."""
    if not isinstance(node.op, ops.Add | ops.RequantizeMultiplier | ops.RequantizeShift):
        return [[1]], [0]
    *multipliers, shifts = (graph.constants[name].levels.tolist() for name in node.inputs[count:])
    return multipliers or [[1]], shifts


def _largest_intermediate(sources: Sequence[Reach], multipliers: Sequence[Sequence[int]], shifts: Sequence[int]) -> int:
    """Magnitude of the largest sum of products, shifted left or with the rounding constant of its right shift."""
    largest = 0
    for channel in range(max(map(len, (shifts, *multipliers, *(source.low for source in sources))))):
        shift = of_channel(shifts, channel)
        products = (
            abs(of_channel(m, channel)) * s.magnitude(channel) for m, s in zip(multipliers, sources, strict=True)
        )
        largest = max(largest, (sum(products) << max(-shift, 0)) + (1 << max(shift, 0) >> 1))
    return largest


def _equality(epilogue: Epilogue, sources: Sequence[Reach]) -> Evidence:
    """The proof that fits what an epilogue reads."""
    op, channels = epilogue.op, epilogue.channels
    if isinstance(op, ops.AveragePool | ops.AdaptiveAveragePool):
        return every_sum(epilogue)
    if isinstance(op, ops.Add):
        return same_coefficients(epilogue, sources)
    source = epilogue.graph.by_name.get(epilogue.node.inputs[0])
    if source is None or not isinstance(source.op, CONTRACTIONS):
        return every_code(epilogue)
    low, high = (np.array(np.broadcast_to(ends, channels), np.int64) for ends in (sources[0].low, sources[0].high))
    if not chain_is_monotone(epilogue.chain) or not integers_are_monotone(op):
        return every_accumulator(epilogue, low, high)
    if channels << epilogue.out.element.bits > LARGEST_SEARCH:
        return same_coefficients(epilogue, sources)
    return same_crossings(epilogue, low, high)
