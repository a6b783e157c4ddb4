"""The arena of a network: at most 1.25 times what is alive at once, halos, padding and gaps included."""

from __future__ import annotations

import numpy as np
import pytest

from intsim.arithmetic.rounding import Rounding
from intsim.backends.native import NativeBackend
from intsim.backends.nhwc import extents
from intsim.dtypes import IntType
from intsim.ir import ops
from intsim.ir.graph import Graph
from intsim.ir.types import Grid
from tests.backends.test_native_backend import ONE, Network

pytestmark = pytest.mark.torchless


class Layers(Network):
    """Blocks of the networks that people run; the residual stream has 8 bits."""

    def __init__(self, size: int, bits: int):
        super().__init__(3, size, bits, Grid(IntType(False, bits), ONE), "threshold" if bits < 8 else "multiplier", 0)
        self.stream = Grid(IntType(False, 8), ONE)
        self.constant("one", [1]), self.constant("shift", [6])

    def layer(self, name: str, x: str, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> str:
        acc = self.conv(name, x, outputs, kernel, groups, stride=(stride,) * 2, padding=(kernel // 2,) * 4, pad_code=0)
        return self.requantize(f"{name}.q", acc)

    def widened(self, name: str, acc: str) -> str:
        """Accumulators as codes of the stream."""
        channels = int(self.graph((acc,)).types[acc].shape[1] or 0)
        shift = self.constant(f"{name}.shift", np.full(channels, 6))
        return self.node(name, ops.RequantizeShift(self.stream, Rounding.HALF_EVEN), acc, shift)

    def narrowed(self, name: str, x: str) -> str:
        """Codes of the stream as operands of a convolution."""
        if self.codes.element.bits == 8:
            return x
        shift = self.constant(f"{name}.shift", [4])
        return self.node(name, ops.RequantizeShift(self.codes, Rounding.HALF_EVEN), x, shift)

    def residual(self, name: str, acc: str, x: str) -> str:
        return self.node(name, ops.Add(self.stream, Rounding.HALF_EVEN), acc, x, "one", "shift", "shift")


def resnet(size: int, bits: int, widths: tuple[int, ...], blocks: int, imagenet: bool) -> Graph:
    net = Layers(size, bits)
    x = net.node("in", ops.Quantize(net.stream), "x")
    kernel, stride = (7, 2) if imagenet else (3, 1)
    padding = (kernel // 2,) * 4
    x = net.widened("stem.q", net.conv("stem", x, widths[0], kernel, stride=(stride,) * 2, padding=padding, pad_code=0))
    if imagenet:
        x = net.node("pool", ops.MaxPool((3, 3), (2, 2), (1, 1, 1, 1)), x)
    for stage, width in enumerate(widths):
        for block in range(blocks):
            name, stride = f"{stage}.{block}", 2 if stage and block == 0 else 1
            codes = net.narrowed(f"{name}.in", x)
            inner = net.layer(f"{name}.a", codes, width, 3, stride)
            if stride > 1:
                x = net.widened(f"{name}.short.q", net.conv(f"{name}.short", codes, width, 1, stride=(2, 2)))
            x = net.residual(name, net.conv(f"{name}.b", inner, width, padding=(1, 1, 1, 1), pad_code=0), x)
    net.node("mean", ops.AdaptiveAveragePool(net.stream, Rounding.HALF_DOWN, (1, 1), 1, 0), x)
    return net.graph(("mean",))


def mobilenet(size: int, bits: int) -> Graph:
    """The inverted residuals of MobileNetV2's first half."""
    net = Layers(size, bits)
    x = net.layer("stem", net.node("in", ops.Quantize(net.stream), "x"), 32, 3, 2)
    inputs = 32
    for i, (expansion, width, stride) in enumerate(((1, 16, 1), (6, 24, 2), (6, 24, 1), (6, 32, 2), (6, 32, 1))):
        codes = net.narrowed(f"{i}.in", x) if i else x
        inner = net.layer(f"{i}.expand", codes, expansion * inputs, 1) if expansion > 1 else codes
        inner = net.layer(f"{i}.depthwise", inner, expansion * inputs, 3, stride, expansion * inputs)
        acc = net.conv(f"{i}.project", inner, width, 1)
        x = net.residual(f"{i}", acc, x) if stride == 1 and inputs == width else net.widened(f"{i}.q", acc)
        inputs = width
    return net.graph((x,))


def peak(graph: Graph) -> int:
    """The most bytes at any node, one for each code, if what a convolution makes goes at once through what reads it."""
    inside = {n.name for n in graph.nodes if isinstance(n.op, ops.Conv2d)}
    nodes = [node for node in graph.nodes if node.name not in inside]
    reads = [
        {name for i in node.inputs for name in (graph.by_name[i].inputs if i in inside else (i,))} for node in nodes
    ]
    sizes = {node.name: int(np.prod(extents(graph.types[node.name]))) for node in nodes}
    most = 0
    for i, node in enumerate(nodes):
        before = {earlier.name for earlier in nodes[:i]}
        alive = {name for name in before if any(name in later for later in reads[i:])} | {node.name}
        most = max(most, sum(sizes[name] for name in alive))
    return most


NETWORKS = {
    "resnet18": lambda bits: resnet(112, bits, (16, 32, 64, 128), 2, True),
    "resnet20": lambda bits: resnet(32, bits, (16, 32, 64), 3, False),
    "mobilenet_v2": lambda bits: mobilenet(96, bits),
}


@pytest.mark.parametrize("bits", [8, 4])
@pytest.mark.parametrize("network", NETWORKS)
def test_the_arena_is_little_more_than_what_is_alive(network: str, bits: int) -> None:
    graph = NETWORKS[network](bits)
    backend = NativeBackend(graph, threads=1)
    assert "reference" not in backend.kernels.values()
    assert backend.live_bytes == peak(graph)
    assert backend.live_bytes <= backend.arena_bytes <= 1.25 * backend.live_bytes
