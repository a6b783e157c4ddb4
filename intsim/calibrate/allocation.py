"""What an allocation of widths needs to know of a network: its layers, the loss at each width, what meets where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from intsim.calibrate import quantize_graph
from intsim.calibrate.observers import Observation, check_inputs, observe
from intsim.calibrate.place import Placed, place
from intsim.calibrate.settings import Settings
from intsim.calibrate.widths import layer_widths
from intsim.costing import Pair, layers_of, noise_sensitivities
from intsim.ir.float_graph import CONTRACTIONS, FloatGraph
from intsim.ir.graph import Graph
from intsim.lower import lower
from intsim.progress import Progress, silent

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Allocatable:
    """What a menu of widths is made of.

    graph           integers at 8 bits
    sensitivities   loss of every layer with weights at each pair of widths that it may have
    """

    graph: Graph
    sensitivities: Mapping[str, Mapping[tuple[int, int], float]]


def allocatable(
    graph: FloatGraph,
    inputs: tuple[Tensor, ...],
    pairs: Iterable[Pair],
    settings: Settings,
    progress: Progress = silent,
) -> Allocatable:
    """A float network as integers of 8 bits, and the noise that rounding to each pair of widths puts into its layers.

    The first and the last layer have the settings' widths and no choice. Products of activations keep 8 bits.
    inputs     calibration data, one float32 tensor (N, ...) for each graph input
    settings   widths of 8 bits, but for the first and last layer and the residual stream
    raises     CalibrationError as quantize_graph does
    """
    check_inputs(graph, inputs)
    widths = layer_widths(graph, settings)
    placed = place(graph, widths, settings)
    observations = observe(placed, inputs, settings.seed, progress)
    lowered = lower(quantize_graph(graph, inputs, settings, progress))
    weighted = graph.weighted
    ends = {node.name for node in weighted[:1] + weighted[-1:]}
    free = [layer for layer in layers_of(lowered) if layer.name not in ends]
    weights = {node.name: node.arrays["weight"] for node in weighted}
    read = {node.name: _observed(placed, node.name, observations).sample for node in weighted}
    return Allocatable(lowered, noise_sensitivities(free, pairs, weights, read))


def meeting_layers(graph: FloatGraph) -> list[tuple[str, ...]]:
    """Groups of layers whose results meet in an addition or a concatenation, in order."""

    def layers_behind(value: str) -> set[str]:
        node = graph.by_name.get(value)
        if node is None:
            return set()
        return {value} if node.op in CONTRACTIONS else set().union(*map(layers_behind, node.inputs))

    order = [node.name for node in graph.nodes]
    met = (layers_behind(node.name) for node in graph.nodes if node.op in ("add", "concat"))
    return [tuple(sorted(group, key=order.index)) for group in met if len(group) > 1]


def _observed(placed: Placed, layer: str, observations: Mapping[str, Observation]) -> Observation:
    """What a layer reads, where it was quantized: movements in between change no value."""
    value = placed.graph.by_name[layer].inputs[0]
    while value not in observations:
        value = placed.graph.by_name[value].inputs[0]
    return observations[value]
