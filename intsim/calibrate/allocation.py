"""What an allocation of widths needs to know of a network: its layers, the loss at each width, what meets where."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from intsim.calibrate import quantize_graph
from intsim.calibrate.observers import Observation, check_inputs, observe
from intsim.calibrate.place import Placed, place
from intsim.calibrate.sensitivity import Loss, LossKind, Variants, measure_sensitivities, rank_allocations
from intsim.calibrate.settings import Settings
from intsim.calibrate.widths import layer_widths
from intsim.costing import Pair, layers_of, noise_sensitivities
from intsim.costing.menu import Ranking, Sensitivities
from intsim.ir.float_graph import CONTRACTIONS, FloatGraph
from intsim.ir.graph import Graph
from intsim.lower import lower
from intsim.progress import Progress, silent

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Measurement:
    """How losses are measured, in place of the noise that roundings make.

    kind     kl or cross_entropy
    labels   of the calibration data, for cross_entropy
    folder   where measured losses are kept, and the state of methods that train: a stopped run goes on
    ranked   random allocations that are measured too, for how well the losses rank them
    """

    kind: LossKind
    labels: NDArray[np.int64] | None = None
    folder: Path | None = None
    ranked: int = 0


@dataclass(frozen=True)
class Allocatable:
    """What a menu of widths is made of.

    graph           integers at 8 bits
    sensitivities   loss of every layer with weights at each pair of widths that it may have
    ranking         how well the losses rank random allocations, where that was measured
    """

    graph: Graph
    sensitivities: Sensitivities
    ranking: Ranking | None = None


def allocatable(
    graph: FloatGraph,
    inputs: tuple[Tensor, ...],
    pairs: Iterable[Pair],
    settings: Settings,
    measurement: Measurement | None = None,
    progress: Progress = silent,
) -> Allocatable:
    """A float network as integers of 8 bits, and what each pair of widths loses in each of its layers.

    The loss is the noise that rounding puts into the layer's results, or what is measured with the settings' method.

    The first and the last layer have the settings' widths and no choice. Products of activations keep 8 bits.
    inputs     calibration data, one float32 tensor (N, ...) for each graph input
    settings   widths of 8 bits, but for the first and last layer and the residual stream
    raises     CalibrationError as quantize_graph does
    """
    check_inputs(graph, inputs)
    weighted = graph.weighted
    ends = {node.name for node in weighted[:1] + weighted[-1:]}
    plain = replace(settings, method="minmax", options={})  # no calibration: only its types count
    lowered = lower(quantize_graph(graph, inputs, plain, progress))
    if measurement is not None:
        loss, folder = Loss(graph, inputs, measurement.labels, measurement.kind), measurement.folder
        variants = Variants(graph, inputs, settings, progress, folder)
        names = [node.name for node in weighted if node.name not in ends]
        table = measure_sensitivities(variants, loss, names, pairs, folder, progress)
        ranking = None
        if measurement.ranked:
            ranking = rank_allocations(variants, loss, table, measurement.ranked, settings.seed, folder, progress)
        return Allocatable(lowered, table, ranking)
    placed = place(graph, layer_widths(graph, plain), plain)
    observations = observe(placed, inputs, plain.seed, progress)
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
