"""Networks that take pixels: the normalisation of images folded into the first layer.

A network that was trained on (p / 255 - mean) / std, here with one mean and deviation per channel, reads the levels
p - zero of uint8 codes instead, zero = rint(255 * mean). Its first weights absorb 1 / (255 * std), its bias what the
rounded zero leaves over. Padding has level 0: the mean, up to that rounding.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from intsim.calibrate.settings import Pixels
from intsim.dtypes import IntType
from intsim.errors import CalibrationError
from intsim.ir.float_graph import FloatGraph
from intsim.ir.quantized import Quantizer
from intsim.ir.types import Grid, Scale

if TYPE_CHECKING:
    from torch import Tensor

U8 = IntType(False, 8)


def fold_pixels(graph: FloatGraph, pixels: Pixels) -> tuple[FloatGraph, dict[str, Quantizer]]:
    """The graph over levels p - zero of pixels, and the quantizer of its input.

    raises  CalibrationError unless the graph has one input, which one convolution alone reads
    Exact:  weight' = weight / (255 * std_c);  bias' = bias + sum of weight' * (zero_c - 255 * mean_c)
    """
    (name, shape), *others = graph.inputs.items()
    readers = graph.consumers[name]
    if others or len(readers) != 1 or readers[0].op != "conv2d" or name in graph.outputs:
        found = ", ".join(str(node) for node in readers) or "nothing"
        raise CalibrationError(f"input u8: pixels go into one convolution, the network feeds them to {found}")
    (conv,), channels = readers, int(shape[1] or 0)
    if conv.grid is not None:
        raise CalibrationError(f"input u8: {conv} quantizes its weights itself, and so takes in no mean and deviation")
    mean, std = _per_channel(pixels.mean, channels, "mean"), _per_channel(pixels.std, channels, "std")
    zero = np.clip(np.rint(255 * mean), U8.min, U8.max)
    weight = conv.arrays["weight"].astype(np.float64)
    depth = weight.shape[1]
    # A group's outputs see its own input channels: (O, C / groups) tables of what each weight meets.
    met = np.repeat(np.arange(channels).reshape(-1, depth), len(weight) * depth // channels, axis=0)
    weight = weight / (255 * std)[met][:, :, None, None]
    rest = (weight.sum(axis=(2, 3)) * (zero - 255 * mean)[met]).sum(axis=1)
    bias = conv.arrays.get("bias", np.zeros(len(weight))) + rest
    arrays = {"weight": weight.astype(np.float32), "bias": bias.astype(np.float32)}
    nodes = tuple(replace(node, arrays=arrays) if node is conv else node for node in graph.nodes)
    zeros = tuple(int(z) for z in zero)
    grid = Grid(U8, Scale((0,), True), zeros[:1] if len(set(zeros)) == 1 else zeros)
    return graph.with_nodes(nodes), {name: Quantizer(grid)}


def pixel_levels(pixels: Tensor, grid: Grid) -> Tensor:
    """float32 p - zero of uint8 pixels (N, C, H, W)."""
    levels = pixels.float()
    return levels - levels.new_tensor(grid.zero_point).view(1, -1, 1, 1)


def _per_channel(values: tuple[float, ...], channels: int, what: str) -> NDArray[np.float64]:
    if len(values) not in (1, channels):
        raise CalibrationError(f"input u8: expected 1 or {channels} values for {what}, got {len(values)}")
    return np.broadcast_to(np.asarray(values, np.float64), (channels,))
