"""Equalization: a scale for each channel of what a depthwise layer reads, at no cost to the integers.

A depthwise layer meets every channel with weights of its own. So its input may be scaled channel by channel, and its
weights by the inverse: the requantization before it and the weights' scales have one number per channel as they are.
One grid for all channels then serves each as well as a grid of its own. Dense layers would pay with their weights,
whose rows have one scale: at 4 bits the first block of MobileNetV2 loses 4 dB by it, and gains 0.7 where depthwise
layers alone are equalized.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from intsim.calibrate import mse
from intsim.calibrate.chains import THRESHOLD_BITS
from intsim.calibrate.observers import watch
from intsim.calibrate.settings import Settings
from intsim.calibrate.widths import Widths
from intsim.dtypes import IntType
from intsim.ir.float_graph import FloatGraph, FloatNode
from intsim.progress import Progress

if TYPE_CHECKING:
    from torch import Tensor

SAMPLE = 1 << 11
"""Values looked at in each channel."""
LARGEST_FACTOR = 64.0
"""Channels that hardly ever differ from 0 stay small: what they add does not need as many levels."""


def equalize(
    graph: FloatGraph, inputs: tuple[Tensor, ...], widths: Mapping[str, Widths], settings: Settings, progress: Progress
) -> FloatGraph:
    """The same function, in which the channels of what a depthwise layer reads want grids of one scale.

    inputs  calibration data, float32 tensors (N, ...)
    Where:  a ReLU that a depthwise convolution alone reads; a ReLU6 too, where thresholds may realise that it ends at
            another code in every channel
    Exact:  a `mul` by factor_c behind it, weight' = weight / factor_c;  factor_c = max(s) / s_c, where s_c is the scale
            of the least rounding and clipping error of channel c, at the layer's width; at most 64, and a power of two
            where all scales are
    Source: cross-layer equalization (Nagel et al. 2019, arXiv 1906.04721) by error in place of range, which ReLU6 gives
            to nearly all channels alike, and with the ReLU6 kept exact
    """
    pairs = {
        layer.inputs[0]: layer
        for layer in graph.nodes
        if layer.op == "conv2d" and _is_equalizable(graph, layer, widths[layer.name].act_bits, settings)
    }
    samples = _sample(graph, inputs, set(pairs), settings.seed, progress)
    inserted: dict[str, FloatNode] = {}
    scaled: dict[str, FloatNode] = {}
    for value, layer in pairs.items():
        factor = _factors(samples[value], IntType(False, widths[layer.name].act_bits), settings)
        inserted[value] = node = FloatNode(f"{value}.equalized", "mul", (value,), {}, {"factor": factor}, layer.source)
        weight = layer.arrays["weight"] / factor[:, None, None, None]
        scaled[layer.name] = replace(layer, inputs=(node.name,), arrays={**layer.arrays, "weight": weight})
    nodes: list[FloatNode] = []
    for node in graph.nodes:
        nodes.append(scaled.get(node.name, node))
        if node.name in inserted:
            nodes.append(inserted[node.name])
    shapes = {**graph.shapes, **{node.name: graph.shapes[value] for value, node in inserted.items()}}
    return replace(graph, nodes=tuple(nodes), shapes=shapes)


def _is_equalizable(graph: FloatGraph, layer: FloatNode, bits: int, settings: Settings) -> bool:
    """Whether a depthwise layer with one filter a channel is all that reads the result of a ReLU or a fitting clamp."""
    outputs, depth = layer.arrays["weight"].shape[:2]
    if layer.grid is not None or depth != 1 or not outputs == layer.attributes["groups"] > 1:
        return False
    value = graph.by_name.get(layer.inputs[0])
    if value is None or graph.consumers[value.name] != (layer,) or value.name in graph.outputs:
        return False
    if value.op == "clamp":
        return value.attributes["low"] == 0 and bits <= THRESHOLD_BITS and not settings.power_of_two
    return value.op == "relu"


def _sample(
    graph: FloatGraph, inputs: tuple[Tensor, ...], names: set[str], seed: int, progress: Progress
) -> dict[str, NDArray[np.float64]]:
    """float64 (C, n) for each of the values, drawn evenly from all images."""
    random, images = np.random.default_rng(seed), len(inputs[0])
    parts: dict[str, list[NDArray[np.float32]]] = {name: [] for name in names}

    def visit(name: str, value: Tensor) -> None:
        if name in parts:
            flat = value.numpy().reshape(*value.shape[:2], -1)
            share = -(-SAMPLE // images)  # of the sample, what each image has
            parts[name].append(
                flat[:, :, random.integers(0, flat.shape[2], share)].swapaxes(0, 1).reshape(len(flat[0]), -1)
            )

    if names:
        watch(graph, inputs, visit, progress, "equalizing")
    return {name: np.concatenate(found, axis=1).astype(np.float64) for name, found in parts.items()}


def _factors(sample: NDArray[np.float64], element: IntType, settings: Settings) -> NDArray[np.float32]:
    """float32 (C,) of a sample (C, n)."""
    high = sample.max(axis=1)
    scales = mse.search(sample, np.zeros_like(high), high, element, True, settings.power_of_two).scales
    largest = scales.max()
    factors: NDArray[np.float32] = np.where(high > 0, np.minimum(largest / scales, LARGEST_FACTOR), 1).astype(
        np.float32
    )
    return factors
