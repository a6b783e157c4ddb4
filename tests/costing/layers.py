"""Layers that the tests of the cost model share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

from hypothesis import strategies as st

from intsim.costing import Layer


def conv(
    name: str, in_channels: int, out_channels: int, size: int, kernel: int, stride: int = 1, **fields: Any
) -> Layer:
    """A square convolution padded by half its kernel; 8 bits unless said otherwise."""
    out = (size + 2 * (kernel // 2) - kernel) // stride + 1
    widths = {"weight_bits": 8, "act_bits": 8, "out_bits": 8}
    extents = {"in_height": size, "in_width": size, "out_height": out, "out_width": out}
    window = {"kernel": (kernel, kernel), "stride": (stride, stride)}
    return Layer(name, "conv", in_channels, out_channels, **{**widths, **extents, **window, **fields})


def with_bits(layers: list[Layer], weight_bits: int, act_bits: int) -> list[Layer]:
    return [replace(layer, weight_bits=weight_bits, act_bits=act_bits, out_bits=act_bits) for layer in layers]


def resnet20() -> list[Layer]:
    """The network's convolutions and its classifier, at 8 bits."""
    layers = [conv("conv1", 3, 16, 32, 3, from_input=True)]
    channels, size = 16, 32
    for stage, width in enumerate((16, 32, 64), start=1):
        for block in range(3):
            stride = 2 if stage > 1 and block == 0 else 1
            layers.append(conv(f"layer{stage}.{block}.conv1", channels, width, size, 3, stride))
            channels, size = width, size // stride
            layers.append(conv(f"layer{stage}.{block}.conv2", width, width, size, 3))
    return [*layers, Layer("fc", "linear", 64, 10, 8, 8, 32)]


@st.composite
def layers(draw: st.DrawFn) -> Layer:
    """Convolutions of every kind, linear layers over positions, and products of activations."""
    kinds: list[Literal["conv", "linear", "matmul"]] = ["conv", "linear", "matmul"]
    kind = draw(st.sampled_from(kinds))
    groups = 1 if kind == "linear" else draw(st.sampled_from([1, 1, 2, 5]))
    in_channels, out_channels = (groups * draw(st.integers(1, 70)) for _ in range(2))
    weight_bits, act_bits, out_bits = (draw(st.integers(1, 8)) for _ in range(3))
    kept = {"input_on_chip": draw(st.booleans()), "output_on_chip": draw(st.booleans())}
    plain = Layer("x", kind, in_channels, out_channels, weight_bits, act_bits, out_bits, groups=groups, **kept)
    if kind != "conv":
        rows = draw(st.integers(1, 40))
        return replace(plain, in_width=rows, out_width=rows)
    kernel, stride, dilation = ((draw(st.integers(1, 3)), draw(st.integers(1, 3))) for _ in range(3))
    out_height, out_width = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    return replace(
        plain,
        in_height=(out_height - 1) * stride[0] + (kernel[0] - 1) * dilation[0] + 1,
        in_width=(out_width - 1) * stride[1] + (kernel[1] - 1) * dilation[1] + 1,
        out_height=out_height,
        out_width=out_width,
        kernel=kernel,
        stride=stride,
        dilation=dilation,
        from_input=draw(st.booleans()),
    )
