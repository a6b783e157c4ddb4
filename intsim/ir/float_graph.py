"""The float network in normal form: what capture makes, calibration quantizes and lowering reads. Free of PyTorch.

Normal form: BatchNorm folded into convolutions (an `affine` where it cannot be), every pad, stride and axis explicit,
one operator for each meaning (ReLU6 is a clamp, LeakyReLU a prelu, a split its slices, a mean over the image a pool).

| op | inputs | attributes | arrays |
|---|---|---|---|
| conv2d | x | stride, padding (top, bottom, left, right), dilation, groups | weight (O, C/g, KH, KW), bias (O,) |
| linear | x | | weight (O, K), bias (O,) |
| matmul | a, b | | |
| add | a, b | coefficients (1.0, +-1.0) | |
| mul | x | | factor () or (C,) |
| affine | x | | factor (C,), offset (C,) |
| relu | x | | |
| clamp | x | low, high (None: no bound) | |
| prelu | x | | slope (), (1,) or (C,) |
| function | x | function: one of FUNCTIONS | |
| max_pool | x | kernel, stride, padding, dilation | |
| avg_pool | x | kernel, stride, padding, count_include_pad | |
| adaptive_avg_pool | x | output (height, width) | |
| concat | x, .. | axis | |
| slice | x | starts, stops, steps: one for each axis | |
| permute | x | order | |
| reshape | x | shape, None for the batch | |
| pad | x | before, after: one for each axis; always with zeros | |
| upsample | x | factors of the last axes | |
| quantize | x | | |
| quantize, the network's own and uniform | x | zero_point, low, high | scale () |
| quantize, the network's own with thresholds | x | | scale (), thresholds (L,) |

`bias` is absent where there is none. A layer into which a BatchNorm is folded keeps its `gamma` (O,), the deviation of
its results per channel, for calibration alone. A `quantize` node marks where a tensor becomes codes; its quantizer is
kept beside the graph (ir/quantized.py), but for those that the network brings along. Likewise weights that the network
quantizes itself have a `grid`. Biases, factors and slopes apply along axis 1 (the last axis after a linear).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intsim.ir.types import Grid, Shape

CONTRACTIONS = frozenset({"conv2d", "linear", "matmul"})
"""Operators that sum products: their results are accumulators."""
AVERAGES = frozenset({"avg_pool", "adaptive_avg_pool"})
"""Operators that sum levels: their results are sums until a quantizer divides them."""
MOVEMENTS = frozenset({"concat", "slice", "permute", "reshape", "pad", "upsample", "max_pool"})
"""Operators that work on codes as they are and keep their grid."""
ELEMENTWISE = frozenset({"add", "mul", "affine", "relu", "clamp", "prelu", "function"})
"""Operators that a quantizer's chain absorbs."""
OPERATORS = CONTRACTIONS | AVERAGES | MOVEMENTS | ELEMENTWISE | {"quantize"}

FUNCTIONS = (
    "sigmoid",
    "tanh",
    "gelu",
    "gelu_tanh",
    "silu",
    "hardswish",
    "hardsigmoid",
    "exp",
    "softplus",
    "elu",
    "mish",
)
"""Functions of one variable that become tables."""


@dataclass(frozen=True, eq=False)
class FloatNode:
    """One float operator; its result has the node's name, which is the module's path where a module made it.

    source  where it stands in the user's code, for errors: "resnet.py:41"
    grid    of the weights, where the network has quantized them itself; `weight` then holds their real values
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    arrays: Mapping[str, NDArray[np.float32]] = field(default_factory=dict)
    source: str = ""
    grid: Grid | None = None

    def __str__(self) -> str:
        return f"{self.op} '{self.name}'" + (f" ({self.source})" if self.source else "")


@dataclass(frozen=True, eq=False)
class FloatGraph:
    """A float network in normal form, nodes in order of evaluation.

    inputs  name -> shape, None for the batch
    shapes  shape of every value, inputs included
    """

    inputs: Mapping[str, Shape]
    nodes: tuple[FloatNode, ...]
    outputs: tuple[str, ...]
    shapes: Mapping[str, Shape]

    @cached_property
    def by_name(self) -> dict[str, FloatNode]:
        return {node.name: node for node in self.nodes}

    @cached_property
    def consumers(self) -> dict[str, tuple[FloatNode, ...]]:
        """For every value the nodes that read it."""
        readers: dict[str, list[FloatNode]] = {name: [] for name in self.shapes}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                readers[name].append(node)
        return {name: tuple(nodes) for name, nodes in readers.items()}

    @property
    def weighted(self) -> tuple[FloatNode, ...]:
        """The layers that have weights, in order."""
        return tuple(node for node in self.nodes if node.op in ("conv2d", "linear"))

    def digest(self) -> str:
        """What tells the network from others of its shapes: of the weights, biases and other arrays of every node."""
        found = hashlib.sha256()
        for node in self.nodes:
            for name, array in node.arrays.items():
                found.update(f"{node.name}.{name} {array.shape}".encode())
                found.update(np.ascontiguousarray(array).tobytes())
        return found.hexdigest()[:32]

    def with_nodes(self, nodes: tuple[FloatNode, ...]) -> FloatGraph:
        return replace(self, nodes=nodes)
