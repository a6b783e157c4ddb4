"""Activations that stay on the chip: from one layer to the next, where all that are alive in between fit.

What is alive follows from the integer graph: a value from the node that makes it to the last that reads it.
Accumulators are not counted: they become codes before they are stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

from intsim.costing.graph_layers import CONTRACTIONS
from intsim.costing.target import SerialTarget, SystolicTarget, Target
from intsim.costing.workload import Layer
from intsim.ir.graph import Graph
from intsim.ir.ops.matmul import Matmul


def resident_layers(layers: Sequence[Layer], graph: Graph, target: Target, batch: int = 1) -> list[Layer]:
    """The layers of `layers_of(graph)` with the bits that are alive at each, and with what stays on the chip.

    A result stays if, from its layer to the last that reads it, all that is alive for the batch fits half of the
    activation buffer of a target that keeps activations, and if all that it meets on the way stays too; the network's
    inputs and outputs and the operands of products of activations do not stay.
    """
    flow, live = _flow(graph), _live_bits(graph, _stored_bits(graph, layers))
    capacity = 0
    if isinstance(target, SystolicTarget | SerialTarget) and target.keeps_activations:
        capacity = target.memory.activations.half_bits
    names = [layer.name for layer in layers]
    position = {name: i for i, name in enumerate(names)}
    fits = [batch * live[name] <= capacity for name in names]

    def stays(name: str) -> bool:
        readers = [other for other in names if name in flow.sources[other]]
        products = any(isinstance(graph.by_name[reader].op, Matmul) for reader in readers)
        if name in flow.of_outputs or not readers or products:
            return False
        return all(fits[position[name] : max(position[reader] for reader in readers) + 1])

    staying = {name for name in names if stays(name)}
    while broken := {name for read in flow.sources.values() if not read <= staying for name in read & staying}:
        staying -= broken  # what a layer reads is on the chip as a whole, or not at all
    return [
        replace(
            layer,
            live_bits=live[layer.name],
            output_on_chip=layer.name in staying,
            input_on_chip=flow.sources[layer.name] <= staying,
        )
        for layer in layers
    ]


class _Flow(NamedTuple):
    """What follows from the graph alone.

    sources      by layer what it reads is made of: layers and graph inputs
    of_outputs   what the network's outputs are made of
    last_uses    positions of the nodes until which values are needed
    """

    sources: Mapping[str, set[str]]
    of_outputs: set[str]
    last_uses: Mapping[str, int]


@lru_cache(maxsize=1)  # a sweep asks for one graph at a time, for hundreds of widths
def _flow(graph: Graph) -> _Flow:
    layers = [node for node in graph if isinstance(node.op, CONTRACTIONS)]
    sources = {node.name: _sources(graph, node.inputs) for node in layers}
    return _Flow(sources, _sources(graph, graph.outputs), _last_uses(graph))


def _sources(graph: Graph, values: Iterable[str]) -> set[str]:
    """The layers and the graph inputs that values are made of."""
    found: set[str] = set()
    seen: set[str] = set()
    waiting = set(values)
    while waiting := waiting - seen - graph.constants.keys():
        name = waiting.pop()
        seen.add(name)
        node = graph.by_name.get(name)
        if node is None or isinstance(node.op, CONTRACTIONS):
            found.add(name)
        else:
            waiting |= set(node.inputs)
    return found


def _live_bits(graph: Graph, stored: Mapping[str, int]) -> dict[str, int]:
    """For every layer the most bits of one sample that are alive from it until the next layer begins."""
    last = _flow(graph).last_uses
    alive = {name: stored[name] for name in graph.inputs}
    most: dict[str, int] = {}
    layer = ""
    for i, node in enumerate(graph):
        layer = node.name if isinstance(node.op, CONTRACTIONS) else layer
        alive[node.name] = stored[node.name]
        most[layer] = max(most.get(layer, 0), sum(alive.values()))
        alive = {name: bits for name, bits in alive.items() if last.get(name, i) > i}
    return most


def _last_uses(graph: Graph) -> dict[str, int]:
    """Positions of the nodes until which values are needed: what a layer reads until its results have become codes."""
    position = {node.name: i for i, node in enumerate(graph)}
    last: dict[str, int] = {}
    for node in graph:
        done = position[node.name]
        if isinstance(node.op, CONTRACTIONS):
            done = max([done, *(position[reader.name] for reader in graph.consumers[node.name])])
        last |= {name: max(done, last.get(name, 0)) for name in node.inputs}
    return last | dict.fromkeys(graph.outputs, len(position))


def _stored_bits(graph: Graph, layers: Iterable[Layer]) -> dict[str, int]:
    """Bits of one sample of every value that is not constant, in the width of its codes or of a layer that reads more.

    Accumulators and the real numbers at the edge of the graph are not stored. Layers read more than there is where a
    sweep gives them other widths than the graph has.
    """
    reads = {layer.name: (layer.act_bits, layer.weight_bits) for layer in layers}
    widths = {name: 0 if kind.grid is None else kind.grid.element.bits for name, kind in graph.types.items()}
    for node in reversed(graph.nodes):
        if isinstance(node.op, CONTRACTIONS):
            wanted = dict(zip(node.inputs, reads[node.name], strict=False))
            widths[node.name] = 0
        else:  # codes that are moved or picked keep their grid, and their width
            kept = [name for name in node.inputs if graph.types[name].grid == graph.types[node.name].grid]
            wanted = dict.fromkeys(kept, widths[node.name])
        widths |= {name: max(widths[name], bits) for name, bits in wanted.items()}
    return {name: widths[name] * graph.types[name].elements() for name in (*graph.inputs, *graph.by_name)}
