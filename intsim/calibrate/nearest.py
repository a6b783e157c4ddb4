"""Rounding to nearest: what remains of a method once every tensor's grid is chosen by itself.

Weights are quantized as rows: one for each output channel, or one in all. A method supplies two functions that choose
grids, for activations and for rows of weights.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from intsim.calibrate.method import Decision, Problem
from intsim.calibrate.observers import Observation
from intsim.calibrate.settings import Settings
from intsim.dtypes import IntType
from intsim.ir.float_graph import FloatGraph, FloatNode
from intsim.ir.quantized import Quantizer
from intsim.ir.types import Grid, Scale, TensorType, Value

SMALLEST_SHARE = 2.0**-12
"""The finest scale of a layer's channels against the coarsest.

A finer one resolves what the next quantizer, with one scale for all channels, cannot show, while the channel's bias and
shift would outgrow their integers.
"""
FINEST, NOTHING = 2.0**-24, 2.0**-8
"""A tensor that would need a finer scale than the first, such as a dead layer, has the second, and codes of 0."""

HELD = 0.25
"""Steps from a code at most, where weights are made to round to it. 0.1 and 0.45 end within 0.2 dB of each other."""


@dataclass(frozen=True, eq=False)
class Rows:
    """A grid for each row of a matrix: scales float64 (R,) and integer zero points (R,) of codes.

    Stacked matrices, (G, R, K), have theirs as (G, R).
    """

    scales: NDArray[np.float64]
    zero_points: NDArray[np.int64]

    def codes(self, x: NDArray[np.float64], element: IntType) -> NDArray[np.float64]:
        """clip(rint(x / scale) + zero_point), x (R, K)."""
        return np.clip(np.rint(x / self.scales[..., None]) + self.zero_points[..., None], element.min, element.max)

    def reals(self, codes: NDArray[np.float64]) -> NDArray[np.float64]:
        return (codes - self.zero_points[..., None]) * self.scales[..., None]

    def value(self, codes: NDArray[np.float64], element: IntType, shape: tuple[int, ...], power_of_two: bool) -> Value:
        """Codes of these rows as the weights of a layer, whose shape begins with all rows, or has one grid in all."""
        zeros = tuple(int(z) for z in self.zero_points.ravel()) if self.zero_points.any() else (0,)
        grid = Grid(element, Scale.of(self.scales.ravel(), power_of_two), zeros, axis=0)
        return Value(TensorType(grid, shape), codes.reshape(shape).astype(element.storage))


ActivationGrid = Callable[[Observation, IntType, bool], Grid]
"""A grid with codes of a type for what was observed; the flag asks for a power-of-two scale."""
WeightRows = Callable[[NDArray[np.float64], IntType, Settings], Rows]
"""Grids for rows of weights; `covering` is the one that clips nothing."""


def decide_nearest(problem: Problem, activation_grid: ActivationGrid, weight_rows: WeightRows) -> Decision:
    """Every tensor rounded to nearest on the grid that the two functions choose for it."""
    graph, settings = problem.placed.graph, problem.settings
    elements, layers = problem.placed.elements, problem.placed.open_layers
    total = len(elements) + len(layers)
    chosen: dict[int, Grid] = {}  # tied nodes share one observation, and so one search
    quantizers: dict[str, Quantizer] = {}
    for name, element in elements.items():
        observation = problem.observations[name]
        if id(observation) not in chosen:
            chosen[id(observation)] = activation_grid(observation, element, settings.power_of_two)
        quantizers[name] = Quantizer(chosen[id(observation)])
        problem.progress("grids", len(quantizers), total)
    weights: dict[str, Value] = {}
    for node in layers:
        element = IntType(True, problem.widths[node.name].weight_bits)
        weights[node.name] = quantize_weights(graph, node, element, settings, weight_rows)
        problem.progress("grids", len(quantizers) + len(weights), total)
    return Decision(quantizers, weights)


def quantize_weights(
    graph: FloatGraph, node: FloatNode, element: IntType, settings: Settings, weight_rows: WeightRows
) -> Value:
    """Codes of a layer's weights, rounded to nearest.

    One scale for each output channel, unless the settings say one in all, or the outputs are not on axis 1, the axis
    along which integer requantization has its channels.
    """
    weight = node.arrays["weight"].astype(np.float64)
    per_channel = settings.per_channel and (node.op == "conv2d" or len(graph.shapes[node.name]) == 2)
    x = weight.reshape(len(weight) if per_channel else 1, -1)
    rows = weight_rows(x, element, settings)
    return rows.value(rows.codes(x, element), element, weight.shape, settings.power_of_two)


def rounding_to(start: Value, weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """The weights, but those that round to other codes than `start` has are moved into its cells, HELD from the middle.

    What is clipped rounds to the last code from wherever it is, and stays there.
    """
    grid, levels = start.type.integer, start.levels
    step = grid.along(grid.scale.array, weight.ndim)
    ratio, last = weight / step, start.codes
    inside = np.abs(ratio - levels) <= 0.5
    inside |= (ratio < levels) & (last == grid.element.min) | (ratio > levels) & (last == grid.element.max)
    moved = (levels + np.clip(ratio - levels, -HELD, HELD)) * step
    return np.where(inside, weight, moved).astype(np.float32)


def covering(low: NDArray[np.float64], high: NDArray[np.float64], element: IntType, symmetric: bool,
             power_of_two: bool) -> Rows:  # fmt: skip
    """The smallest grids that reach from `low` to `high` and hold zero.

    low, high     float64 (R,)
    symmetric     zero point 0, so that both ends have to be reached from it
    power_of_two  the next larger power of two as the scale
    returns       scales that are float32 numbers, as fake-quant in PyTorch has them; none is below SMALLEST_SHARE of
                  the largest, so that a row of zeros has a legal one too
    Exact:        symmetric: s = max(low / element.min, high / element.max);
                  else s = (high - low) / (2**bits - 1), z = rint(element.min - low / s)
    """
    low, high = np.minimum(low, 0.0), np.maximum(high, 0.0)
    if symmetric:
        scales = np.maximum(high / element.max, low / element.min if element.min else 0.0)
    else:
        scales = (high - low) / (element.max - element.min)
    scales = np.maximum(scales, scales.max() * SMALLEST_SHARE if scales.max() >= FINEST else NOTHING)
    scales = round_scales(scales, np.ceil) if power_of_two else round_scales(scales)
    return Rows(scales, zero_points(low, scales, element) if not symmetric else np.zeros(len(scales), np.int64))


def round_scales(scales: NDArray[np.float64], to_exponent: np.ufunc | None = None) -> NDArray[np.float64]:
    """The nearest float32 numbers, or powers of two with the rounded exponents."""
    if to_exponent is not None:
        return np.exp2(to_exponent(np.log2(scales)))
    return scales.astype(np.float32).astype(np.float64)


def zero_points(low: NDArray[np.float64], scales: NDArray[np.float64], element: IntType) -> NDArray[np.int64]:
    """The code of zero where `low` has the least code; within the type, so that zero is on the grid."""
    return np.clip(np.rint(element.min - low / scales), element.min, element.max).astype(np.int64)
