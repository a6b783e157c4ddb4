"""A layer as a matrix product, counted against plain loops; and the layers that an integer graph holds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intsim.costing import Layer
from intsim.errors import CostError
from tests.costing.layers import conv, layers

pytestmark = pytest.mark.torchless


@given(layers())
def test_macs_are_those_of_the_loops(layer: Layer) -> None:
    taps = layer.kernel[0] * layer.kernel[1] * layer.in_channels // layer.groups
    assert layer.macs == layer.out_height * layer.out_width * layer.out_channels * taps


@given(layers(), st.integers(1, 3), st.data())
def test_a_tile_never_needs_more_input_than_is_said(layer: Layer, batch: int, data: st.DataObject) -> None:
    gemm = layer.gemm(batch)
    rows = data.draw(st.integers(1, gemm.m))
    start = rows * data.draw(st.integers(0, gemm.m // rows - 1))
    needed = set()
    for row in range(start, start + rows):
        image, pixel = divmod(row, layer.out_height * layer.out_width)
        top = pixel // layer.out_width * layer.stride[0]
        needed |= {(image, top + i * layer.dilation[0]) for i in range(layer.kernel[0])}
    line_bits = layer.in_width * layer.in_channels // layer.groups * layer.act_bits
    assert len(needed) * line_bits <= layer.input_bits(gemm, rows)
    assert (
        layer.input_bits(gemm, gemm.m) == gemm.m // (layer.out_height * layer.out_width) * layer.in_height * line_bits
    )


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"groups": 3}, "layer 'x': 3 groups do not divide its 4 input and 6 output channels"),
        ({"act_bits": 0}, "layer 'x': every extent and width must be at least 1, got 0"),
        ({"dilation": (0, 1)}, "layer 'x': every extent and width must be at least 1, got 0"),
    ],
)
def test_a_layer_that_cannot_be(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(CostError, match=complaint):
        conv("x", 4, 6, 8, 1, **fields)
