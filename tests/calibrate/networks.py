"""Small float graphs, written by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import ArrayLike

from intsim.calibrate import Settings
from intsim.calibrate.method import Problem
from intsim.calibrate.observers import observe
from intsim.calibrate.place import place
from intsim.calibrate.widths import layer_widths
from intsim.ir.float_graph import FloatGraph, FloatNode
from intsim.ir.types import Shape
from intsim.progress import silent

if TYPE_CHECKING:
    from torch import Tensor


class Network:
    """Nodes one after the other; every method returns the name of its result."""

    def __init__(self, seed: int = 0, **inputs: tuple[int, ...]):
        self.random = np.random.default_rng(seed)
        self.inputs: dict[str, Shape] = {name: (None, *shape) for name, shape in inputs.items()}
        self.shapes = dict(self.inputs)
        self.nodes: list[FloatNode] = []

    def node(
        self, name: str, op: str, inputs: str | tuple[str, ...], result: Shape | None = None,
        arrays: dict[str, ArrayLike] | None = None, **attributes: Any,
    ) -> str:  # fmt: skip
        """A node; `result` is its shape where that is not its first operand's."""
        names = (inputs,) if isinstance(inputs, str) else inputs
        values = {key: np.asarray(array, np.float32) for key, array in (arrays or {}).items()}
        self.nodes.append(FloatNode(name, op, names, attributes, values))
        self.shapes[name] = self.shapes[names[0]] if result is None else result
        return name

    def conv(self, name: str, x: str, outputs: int, kernel: int = 3, groups: int = 1, bias: bool = True) -> str:
        """A convolution that keeps the image's size."""
        batch, channels, height, width = self.shapes[x]
        weight = self.random.normal(size=(outputs, int(channels or 0) // groups, kernel, kernel)) / kernel
        arrays: dict[str, ArrayLike] = {"weight": weight}
        if bias:
            arrays["bias"] = self.random.normal(size=outputs)
        return self.node(name, "conv2d", x, (batch, outputs, height, width), arrays, stride=(1, 1),
                         padding=(kernel // 2,) * 4, dilation=(1, 1), groups=groups)  # fmt: skip

    def linear(self, name: str, x: str, outputs: int) -> str:
        *leading, last = self.shapes[x]
        depth = int(last or 0)
        arrays: dict[str, ArrayLike] = {
            "weight": self.random.normal(size=(outputs, depth)),
            "bias": self.random.normal(size=outputs),
        }
        return self.node(name, "linear", x, (*leading, outputs), arrays)

    def relu(self, name: str, x: str) -> str:
        return self.node(name, "relu", x)

    def add(self, name: str, *inputs: str) -> str:
        return self.node(name, "add", inputs, coefficients=(1.0,) * len(inputs))

    def concat(self, name: str, *inputs: str) -> str:
        shapes = [self.shapes[name] for name in inputs]
        channels = sum(int(shape[1] or 0) for shape in shapes)
        return self.node(name, "concat", inputs, (None, channels, *shapes[0][2:]), axis=1)

    def mean(self, name: str, x: str) -> str:
        channels = self.shapes[x][1]
        pooled = self.node(f"{name}.pool", "adaptive_avg_pool", x, (None, channels, 1, 1), output=(1, 1))
        return self.node(name, "reshape", pooled, (None, channels), shape=(None, channels))

    def graph(self, *outputs: str) -> FloatGraph:
        return FloatGraph(self.inputs, tuple(self.nodes), outputs, self.shapes)


def residual_network() -> FloatGraph:
    """conv, a residual block, a mean and a linear layer."""
    net = Network(x=(3, 4, 4))
    stem = net.relu("stem.relu", net.conv("stem", "x", 4))
    inner = net.relu("block.relu", net.conv("block.conv1", stem, 6))
    total = net.add("block.add", net.conv("block.conv2", inner, 4), stem)
    return net.graph(net.linear("head", net.mean("mean", net.relu("block.out", total)), 5))


@st.composite
def networks(draw: st.DrawFn) -> FloatGraph:
    """Any composition of operators on images of one size, with any number of readers and outputs."""
    net = Network(x=(2, 4, 4))
    values = ["x"]
    for i in range(draw(st.integers(1, 12))):
        name, x = f"v{i}", draw(st.sampled_from(values))
        channels = int(net.shapes[x][1] or 0)
        match draw(st.sampled_from(["conv", "relu", "clamp", "add", "mul", "affine", "prelu", "function", "concat",
                                    "max_pool", "avg_pool", "upsample"])):  # fmt: skip
            case "conv":
                net.conv(name, x, draw(st.integers(1, 3)))
            case "relu":
                net.relu(name, x)
            case "clamp":
                net.node(name, "clamp", x, low=draw(st.sampled_from([None, 0.0, -1.0])), high=6.0)
            case "add":
                same = [v for v in values if net.shapes[v] == net.shapes[x]]
                net.add(name, x, draw(st.sampled_from(same)))
            case "mul":
                factors: list[ArrayLike] = [0.5, -0.5, np.ones(channels)]
                net.node(name, "mul", x, arrays={"factor": draw(st.sampled_from(factors))})
            case "affine":
                net.node(name, "affine", x, arrays={"factor": np.ones(channels), "offset": np.ones(channels)})
            case "prelu":
                slopes: list[ArrayLike] = [0.1, np.full(channels, 0.125)]
                net.node(name, "prelu", x, arrays={"slope": draw(st.sampled_from(slopes))})
            case "function":
                net.node(name, "function", x, function=draw(st.sampled_from(["sigmoid", "gelu"])))
            case "concat":
                net.concat(name, x, *draw(st.lists(st.sampled_from(values), min_size=1, max_size=2)))
            case "max_pool":
                net.node(name, "max_pool", x, kernel=(3, 3), stride=(1, 1), padding=(1,) * 4, dilation=(1, 1))
            case "avg_pool":
                net.node(name, "avg_pool", x, kernel=(3, 3), stride=(1, 1), padding=(1,) * 4, count_include_pad=False)
            case "upsample":
                net.node(name, "upsample", x, factors=(1, 1))
        values.append(name)
    outputs = draw(st.lists(st.sampled_from(values[1:]), min_size=1, max_size=2, unique=True))
    return net.graph(*dict.fromkeys([values[-1], *outputs]))


def problem_on(graph: FloatGraph, settings: Settings, *inputs: Tensor) -> Problem:
    """What a method has to decide for a float graph, from these calibration data."""
    widths = layer_widths(graph, settings)
    placed = place(graph, widths, settings)
    return Problem(placed, widths, observe(placed, inputs, 0, silent), inputs, settings, silent)
