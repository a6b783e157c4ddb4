"""Single convolutions, from codes to codes: every shape of three networks, against other engines and the roof."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import prod

import numpy as np
from numpy.typing import NDArray

from intsim.arithmetic.rounding import Rounding
from intsim.backends.native import NativeBackend
from intsim.benchmark.kernels import race
from intsim.benchmark.networks import NETWORKS
from intsim.benchmark.peers.layers import ConvCodes, LayerPeer, Run, installed_layer_peers
from intsim.benchmark.rate import Rate
from intsim.dtypes import S32, IntType
from intsim.errors import InputError
from intsim.frontend.capture import capture
from intsim.frontend.execute import as_tensor
from intsim.ir import ops
from intsim.ir.graph import Graph, Node
from intsim.ir.types import Grid, Scale, TensorType, Value, plain
from intsim.progress import Progress, silent

VARIANTS = ((8, 8, "shift"), (8, 8, "multiplier"), (4, 4, "threshold"), (2, 2, "threshold"))
"""Weight bits, activation bits, and how accumulators become codes."""
MULTIPLIER = (1 << 30) + 1
"""Over 2**30, of the multiplier form: nearly 1, but odd, so that no kernel can shift instead."""


@dataclass(frozen=True, order=True)
class ConvShape:
    """A square convolution, padded to keep the size, on images of `size` pixels a side."""

    inputs: int
    outputs: int
    kernel: int
    stride: int
    groups: int
    size: int

    def __str__(self) -> str:
        kind = "depthwise " if self.groups == self.inputs > 1 else ""
        stride = f"/{self.stride}" if self.stride > 1 else ""
        return f"{kind}{self.kernel}x{self.kernel}{stride} {self.inputs}>{self.outputs} {self.size}x{self.size}"

    @property
    def macs(self) -> int:
        side = (self.size - 1) // self.stride + 1
        return side**2 * self.outputs * (self.inputs // self.groups) * self.kernel**2


def shapes_of(network: str) -> list[ConvShape]:
    """The distinct convolutions of one of NETWORKS, in order."""
    if network not in NETWORKS:
        raise InputError(f"no network {network!r} to time: there are {', '.join(NETWORKS)}")
    graph = capture(NETWORKS[network].make(), as_tensor(np.zeros((1, *NETWORKS[network].shape), np.float32)))
    found = []
    for node in graph.nodes:
        if node.op == "conv2d":
            outputs, _, kernel, _ = node.arrays["weight"].shape
            _, inputs, size, _ = (int(extent or 1) for extent in graph.shapes[node.inputs[0]])
            attributes = node.attributes
            found.append(ConvShape(inputs, outputs, kernel, attributes["stride"][0], attributes["groups"], size))
    return list(dict.fromkeys(found))


def layer_rates(
    networks: Sequence[str] = tuple(NETWORKS),
    threads: int = 1,
    batch: int = 1,
    rounds: int = 15,
    peers: Sequence[LayerPeer] | None = None,
    progress: Progress = silent,
) -> list[Rate]:
    """Rates of every distinct convolution of the networks, each layer a run of its own, all engines in turns."""
    shapes = list(dict.fromkeys(shape for network in networks for shape in shapes_of(network)))
    peers = installed_layer_peers() if peers is None else peers
    rates: list[Rate] = []
    for done, shape in enumerate(shapes):
        progress("layers", done, len(shapes))
        rates += rates_of(shape, threads, batch, rounds, peers)
    return rates


def rates_of(shape: ConvShape, threads: int, batch: int, rounds: int, peers: Sequence[LayerPeer]) -> list[Rate]:
    """The rows of one layer, and whether its peers' codes are those of exact integers."""
    layers = {variant: conv_codes(shape, batch, *variant[:2]) for variant in VARIANTS}
    backends = {variant: NativeBackend(conv_graph(layer, *variant), threads) for variant, layer in layers.items()}
    eight_bits = VARIANTS[0]
    competitors: dict[str, Run] = {peer.name: peer.prepare(layers[eight_bits], threads) for peer in peers}
    exact = _codes(backends[eight_bits], layers[eight_bits])
    errors = {
        peer.name: int(np.abs(competitors[peer.name]().astype(int) - exact).max()) for peer in peers if peer.bits == 8
    }
    sums = {name: f"codes off by up to {error}" if error else "exact" for name, error in errors.items()}
    competitors |= {str(variant): partial(_codes, backends[variant], layers[variant]) for variant in VARIANTS}
    timings, roof_gmacs = race(competitors, rounds, settle=1)
    times = {peer.name: timings[peer.name].median_ms for peer in peers}
    spreads = {peer.name: timings[peer.name].spread_ms for peer in peers}
    rates = []
    for variant in VARIANTS:
        timing = timings[str(variant)]
        own = timing.median_ms, timing.spread_ms, batch * shape.macs / timing.median_ms / 1e6, roof_gmacs
        rates.append(Rate(str(shape), *variant, threads, batch, *own, times, spreads, sums))
    return rates


def conv_codes(shape: ConvShape, batch: int, weight_bits: int, act_bits: int) -> ConvCodes:
    """Random codes of all the range, and the shift after which few results are cut off."""
    rng = np.random.default_rng(0)
    low, high = -(1 << weight_bits - 1), 1 << weight_bits - 1
    weight = rng.integers(low, high, (shape.outputs, shape.inputs // shape.groups, shape.kernel, shape.kernel), np.int8)
    x = rng.integers(0, 1 << act_bits, (batch, shape.inputs, shape.size, shape.size), np.uint8)
    deviation = np.sqrt(prod(weight.shape[1:]) * np.mean(x.astype(float) ** 2) * np.mean(weight.astype(float) ** 2))
    shift = max(0, round(np.log2(3 * deviation / ((1 << act_bits) - 1))))
    return ConvCodes(x, weight, shape.stride, shape.groups, shift)


def conv_graph(layer: ConvCodes, weight_bits: int, act_bits: int, epilogue: str) -> Graph:
    """The layer as an integer graph from codes to codes: clip(rint(sum / 2**shift), 0, largest code).

    With a multiplier the sum counts MULTIPLIER / 2**30 times; thresholds round ties up.
    """
    one = Scale((0,), True)
    codes = Grid(IntType(False, act_bits), one)
    weight = Value(TensorType(Grid(IntType(True, weight_bits), one), layer.weight.shape), layer.weight)
    constants = {"weight": weight, "bias": _constant(np.zeros(len(layer.weight)))}
    conv = ops.Conv2d((layer.stride,) * 2, (layer.padding,) * 4, groups=layer.groups)
    match epilogue:
        case "shift":
            op: ops.RequantizeShift | ops.RequantizeMultiplier | ops.Threshold
            op, parameters = ops.RequantizeShift(codes, Rounding.HALF_EVEN), {"shift": [layer.shift]}
        case "multiplier":
            op = ops.RequantizeMultiplier(codes, Rounding.HALF_EVEN)
            parameters = {"multiplier": [MULTIPLIER], "shift": [30 + layer.shift]}
        case _:
            op = ops.Threshold(codes)
            halves = np.arange(1, 1 << act_bits) * (1 << layer.shift) - (1 << layer.shift >> 1)
            rows = np.tile(halves, (len(layer.weight), 1))  # per channel, as folded BatchNorms make them
            parameters = {"thresholds": rows, "base": [0], "strict": [0], "descending": [0]}  # type: ignore[dict-item]
    for name, values in parameters.items():
        element = IntType(False, 1) if name in ("strict", "descending") else S32
        constants[name] = _constant(np.asarray(values), element)
    nodes = (Node("conv", conv, ("x", "weight", "bias")), Node("y", op, ("conv", *parameters)))
    return Graph({"x": TensorType(codes, (None, *layer.x.shape[1:]))}, constants, nodes, ("y",))


def _constant(values: NDArray[np.generic], element: IntType = S32) -> Value:
    array = values.astype(element.storage)
    return Value(TensorType(plain(element), array.shape), array)


def _codes(backend: NativeBackend, layer: ConvCodes) -> NDArray[np.uint8]:
    return backend.run(layer.x)["y"].codes
