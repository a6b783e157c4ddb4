"""A kernel is never entered with what it cannot handle: one line, with the layer's name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.csrc.plain import byte_images, native

ZEROS = np.zeros(4, np.int64)
WEIGHTS = np.ones((4, 3, 3, 3), np.int64)


def conv(**changes: Any) -> Any:
    arguments = {"name": "stem", "weights": WEIGHTS, "bias": ZEROS, "in_channels": 3, "act_bits": 4} | changes
    return native.Conv(**arguments)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"in_channels": 5}, "'stem': 108 weights, expected 180"),
        ({"groups": 2}, "2 groups do not divide 3 inputs"),
        ({"groups": 0}, "the number of groups is 0"),
        ({"stride": (0, 1)}, "the vertical stride is 0"),
        ({"dilation": (1, 1 << 40)}, "the horizontal dilation is"),
        ({"act_bits": 9}, "activations of 9 bits"),
        ({"bias": ZEROS[:3]}, "3 biases for 4 outputs"),
        ({"weights": WEIGHTS * 40000}, "weight levels leave int16"),
        ({"bias": ZEROS + (1 << 31)}, "accumulator of channel 0 leaves int32"),
        ({"weights": WEIGHTS * (1 << 60)}, "accumulator of channel 0 leaves int32"),
        ({"scheme": "a17"}, "no scheme is named 'a17'"),
        ({"weights": WEIGHTS[0]}, "3 dimensions"),
    ],
)
def test_layers(changes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        conv(**changes)


def test_float_weights_are_no_weights() -> None:
    with pytest.raises(TypeError):
        conv(weights=WEIGHTS.astype(np.float64))


@pytest.mark.parametrize(
    ("x", "padding", "pad_byte", "out", "message"),
    [
        (((1, 5, 5, 4), 4), (0, 0, 0, 0), 0, (1, 3, 3, 4), "input has 4 channels, expected 3"),
        (((1, 5, 5, 3), 5), (0, 0, 0, 0), 0, (1, 3, 3, 4), "input codes up to 31, packed for 4 bits"),
        (((1, 5, 5, 3), 4), (1, 1, 1, 1), 0, (1, 5, 5, 4), "halo is smaller than the padding"),
        (((1, 5, 5, 3), 4, (1, 1, 1, 1), 2), (1, 1, 1, 1), 0, (1, 5, 5, 4), "halo holds 2, expected 0"),
        (((1, 2, 5, 3), 4), (0, 0, 0, 0), 0, (1, 3, 3, 4), "a kernel of 3 does not fit an image of 2"),
        (((1, 5, 5, 3), 4), (-1, 0, 0, 0), 0, (1, 3, 3, 4), "negative padding"),
        (((2, 5, 5, 3), 4), (0, 0, 0, 0), 0, (1, 3, 3, 4), "output is 1x3x3x4, expected 2x3x3x4"),
    ],
)
def test_images(x: Any, padding: Any, pad_byte: Any, out: Any, message: str) -> None:
    shape, *rest = x
    with pytest.raises(ValueError, match=f"'stem': .*{message}"):
        conv().run(native.ByteImages(*shape, *rest), padding, pad_byte, native.Int32Images(*out), 1)


@pytest.mark.parametrize(
    ("shift", "multiplier", "high", "message"),
    [
        ([63], [3], 15, "shift 63 of channel 0 is not in -31..62"),
        ([0], [1 << 31], 15, "has more than 31 bits"),
        ([-2], [3], 15, "a multiplier and a left shift"),
        ([0], [1], 16, "clipping to 0..16 leaves the output type"),
        ([0, 0], [1, 1], 15, "the epilogue is for 2 channels, not 1"),
    ],
)
def test_epilogues(shift: Any, multiplier: Any, high: Any, message: str) -> None:
    spec = native.ScaleSpec(np.array(multiplier), np.array(shift), "floor", 0, False, 0, high, 4, 0)
    with pytest.raises(ValueError, match=f"'stem': .*{message}"):
        conv(weights=WEIGHTS[:1], bias=ZEROS[:1], epilogue=spec)


def test_thresholds_that_reach_beyond_their_type() -> None:
    spec = native.ThresholdSpec(np.arange(4)[None], ZEROS[:1], ZEROS[:1], ZEROS[:1], 2, 0)
    with pytest.raises(ValueError, match="'stem': code 4 of channel 0 leaves the output type"):
        conv(weights=WEIGHTS[:1], bias=ZEROS[:1], epilogue=spec)


def test_codes_outside_their_type() -> None:
    with pytest.raises(ValueError, match="codes leave their type"):
        byte_images(np.full((1, 1, 2, 2), 16), bits=4)


@pytest.mark.parametrize("shape", [(0, 1, 1, 1), (1, -1, 1, 1), (1, 1, 1, 1 << 31)])
def test_extents(shape: Any) -> None:
    with pytest.raises(ValueError, match="extents"):
        native.ByteImages(*shape, 8)


@pytest.mark.parametrize("extent", [1 << 20, (1 << 31) - 1])
def test_memory_that_is_not_there_is_an_exception(extent: Any) -> None:
    with pytest.raises(MemoryError):
        native.Int32Images(extent, extent, extent, 16)


def test_an_instruction_set_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTSIM_ISA", "mmx")
    with pytest.raises(ValueError, match="INTSIM_ISA=mmx: this processor and build have .*portable"):
        conv()


@pytest.mark.parametrize("region", [((0, 0, 3), (1, 1, 1)), ((0, 4, 0), (1, 1, 1)), ((-1, 0, 0), (1, 1, 1))])
def test_regions_outside_their_images(region: Any) -> None:
    start, step = region
    images = native.ByteImages(1, 4, 4, 4, 8)
    with pytest.raises(ValueError, match="the region leaves axis"):
        native.copy_region(images, start, step, (0, 0, 0), (1, 1, 1), (4, 4, 4), images, 1)
