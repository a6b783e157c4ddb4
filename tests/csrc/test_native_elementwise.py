"""What stands between convolutions: addition, pooling, tables, copies and the quantizer, against plain arithmetic."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.csrc.conftest import ISAS
from tests.csrc.plain import ROUNDINGS, byte_images, codes_of, int32_images, native, rounded


@given(
    isa=st.sampled_from(ISAS),
    rounding=st.sampled_from(ROUNDINGS),
    first=st.booleans(),
    accumulators=st.booleans(),
    largest=st.sampled_from([4, 1 << 12, (1 << 31) - 1]),
    most_shift=st.sampled_from([3, 20, 61]),
    channels=st.integers(1, 20),
    seed=st.integers(0, 1 << 32),
)
def test_addition(
    isa: str, rounding: str, first: bool, accumulators: Any, largest: Any, most_shift: Any, channels: Any, seed: int
) -> None:
    """Multipliers from alignment by shifts up to 31 bits, one rounding, whatever kernel that takes."""
    rng = np.random.default_rng(seed)
    multipliers = rng.integers(-largest, largest + 1, (2, channels))
    offset, shift = rng.integers(-1000, 1000, channels) * largest, rng.integers(0, most_shift + 1, channels)
    a_low, a_high = (-(1 << 20), (1 << 20) - 1) if accumulators else (0, 255)
    a, b = rng.integers(a_low, a_high + 1, (2, channels, 1, 3)), rng.integers(0, 256, (2, channels, 1, 3))
    zero_point, low, high = int(rng.integers(-5, 6)), -100, 120
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INTSIM_ISA", isa)
        add = native.Add(
            "add", *multipliers, offset, shift, rounding, zero_point, first, low, high, 8, -128,
            accumulators, a_low, a_high,
        )  # fmt: skip
    out = native.ByteImages(2, 1, 3, channels, 8)
    add.run(int32_images(a) if accumulators else byte_images(a), byte_images(b), out, 1)

    def plain(index: Any) -> Any:
        channel = index[1]
        total = multipliers[0, channel].item() * a[index].item() + multipliers[1, channel].item() * b[index].item()
        value = Fraction(total + offset[channel].item(), 1 << shift[channel].item())
        code = rounded(value + zero_point, rounding) if first else rounded(value, rounding) + zero_point
        return min(max(code, low), high) + 128

    result = codes_of(out)
    assert {index: result[index] for index in np.ndindex(a.shape)} == {
        index: plain(index) for index in np.ndindex(a.shape)
    }


ADDS = [kernel for kernel in native.kernels() if kernel.op == "add"]


@pytest.mark.parametrize("kernel", ADDS, ids=lambda kernel: kernel.name)
def test_every_addition_kernel_is_used(kernel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel follows from the multipliers; 37 channels are two blocks and a tail."""
    monkeypatch.setenv("INTSIM_ISA", kernel.isa)
    multiplier, shift = {"int32": (3, 2), "highword": (3 << 28, 30), "int64": (1 << 30, 30), "wide": (1 << 30, 2)}[
        kernel.scheme
    ]
    rounding = "half_away" if kernel.scheme == "int64" else "half_even"
    accumulators = kernel.weight_bits == 32
    rng = np.random.default_rng(0)
    a = rng.integers(-1000, 1000, (3, 37, 4, 5)) if accumulators else rng.integers(0, 256, (3, 37, 4, 5))
    b, ones = rng.integers(0, 256, (3, 37, 4, 5)), np.ones(37, np.int64)
    add = native.Add(
        "add", ones * multiplier, ones * -multiplier, ones * 0, ones * shift, rounding, 0, False, 0, 255, 8, 0,
        accumulators, -1000 if accumulators else 0, 1000,
    )  # fmt: skip
    assert add.kernel == kernel.name
    out = native.ByteImages(3, 4, 5, 37, 8)
    add.run(int32_images(a) if accumulators else byte_images(a), byte_images(b), out, 2)
    exact = (a - b) * multiplier / float(1 << shift)  # below 2**53
    np.testing.assert_array_equal(codes_of(out), np.clip(np.rint(exact), 0, 255))


def test_tables(isa: str) -> None:
    """One table, or one per channel, over rows that fill no vector."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (2, 7, 5, 11))
    for tables in (rng.integers(0, 256, (1, 256)), rng.integers(0, 256, (7, 256))):
        out = native.ByteImages(2, 5, 11, 7, 8)
        native.lookup(byte_images(x), tables.astype(np.uint8), out, 1)
        expected = np.take_along_axis(np.broadcast_to(tables, (7, 256))[None, :, :], x.reshape(2, 7, -1), axis=2)
        np.testing.assert_array_equal(codes_of(out), expected.reshape(x.shape))


@pytest.mark.parametrize("padding", [(0, 0, 0, 0), (1, 0, 1, 1)])
@pytest.mark.parametrize("dilation", [(1, 1), (2, 1)])
def test_max_pool(padding: Any, dilation: Any) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (2, 19, 9, 8))
    top, bottom, left, right = padding
    padded = torch.nn.functional.pad(torch.from_numpy(x).double(), (left, right, top, bottom), value=-1.0)
    expected = torch.nn.functional.max_pool2d(padded, (3, 2), (2, 1), 0, dilation).numpy()
    out = native.ByteImages(2, *expected.shape[2:], 19, 8)
    native.max_pool(byte_images(x), (3, 2), (2, 1), dilation, padding, out, 1)
    np.testing.assert_array_equal(codes_of(out), expected)


@given(
    rounding=st.sampled_from(ROUNDINGS),
    step=st.integers(1, 2),
    offset=st.integers(-200, 10),
    multiplier=st.integers(-(1 << 16), 1 << 16),
    shift=st.integers(-3, 20),
    zero_point=st.integers(-9, 9),
    seed=st.integers(0, 1 << 32),
)
def test_average_pool(
    rounding: str, step: Any, offset: Any, multiplier: Any, shift: Any, zero_point: Any, seed: int
) -> None:
    """Exact rationals with one rounding; windows of uneven sizes and counts, as borders and adaptive pooling make."""
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 256, (2, 3, 5, 6))
    rows, columns = np.array([[0, 2, 3], [1, 5, 4]]), np.array([[0, 6, 6], [4, 6, 3], [2, 3, 1]])
    out = native.ByteImages(2, 2, 3, 3, 8)
    arguments = (step, offset, multiplier, shift, zero_point, rounding, 8, -128)
    native.average_pool(byte_images(x), rows, columns, *arguments, out, 1)
    levels = step * x + offset
    for (n, c, i, j), code in np.ndenumerate(codes_of(out)):
        (top, bottom, high), (left, right, wide) = rows[i].tolist(), columns[j].tolist()
        total = int(levels[n, c, top:bottom, left:right].sum())
        value = Fraction(total * multiplier, high * wide) / Fraction(2) ** shift
        assert code == min(max(rounded(value, rounding) + zero_point, -128), 127) + 128


def test_copies_of_regions() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (2, 9, 7, 8))
    out = native.ByteImages(2, 10, 9, 12, 8, fill=5)
    native.copy_region(byte_images(x), (1, 0, 2), (2, 3, 2), (0, 2, 1), (4, 1, 3), (3, 3, 3), out, 1)
    expected = np.full((2, 12, 10, 9), 5)
    expected[:, 1:10:3, 0:9:4, 2:5] = x[:, 2:8:2, 1:7:2, 0:8:3]
    np.testing.assert_array_equal(codes_of(out), expected)


@pytest.mark.parametrize(("low", "high"), [(0, 255), (-8, 7), (-3, 12)])
def test_quantizer_equals_the_float32_division(isa: str, low: Any, high: Any) -> None:
    """Ties, saturation, values where x * (1 / scale) would round differently, and rows that fill no vector."""
    rng = np.random.default_rng(0)
    scale = np.float32(0.3)
    x = np.concatenate([rng.normal(0, 3, 5000), (np.arange(-400, 400) + 0.5) * 0.3, [1e30, -1e30]]).astype(np.float32)
    for channels, width in ((3, 960), (3, 5), (5, 47), (1, 33)):
        image = rng.permuted(x)[: channels * 2 * width].reshape(1, channels, 2, width)
        out = native.ByteImages(1, 2, width, channels, 8)
        native.quantize(image, scale, low, high, out, 1)
        np.testing.assert_array_equal(codes_of(out), np.clip(np.rint(image / scale), low, high) - low)


@pytest.mark.parametrize("scale", [1e-44, 3e-31, 0.007843138, 1 / 3, 0.5, 17.3, 4e30])
def test_quantizer_at_every_tie(isa: str, scale: float) -> None:
    """Quotients at every tie of every range, and the float32 numbers beside; scales without a use for their inverse."""
    scale = np.float32(scale)
    for low, high in ((0, 255), (-128, 127), (-256, -1), (1, 256), (300, 555), (-(1 << 21), -(1 << 21) + 255)):
        with np.errstate(over="ignore"):
            ties = (np.arange(low - 1, high + 2) + 0.5).astype(np.float32) * scale
        beside = [np.nextafter(ties, sign * np.float32(np.inf), dtype=np.float32) for sign in (-1, 1)]
        image = np.concatenate([ties, *beside]).reshape(1, 1, 1, -1)
        out = native.ByteImages(1, 1, image.size, 1, 8)
        native.quantize(image, float(scale), low, high, out, 1)
        with np.errstate(over="ignore"):
            expected = np.clip(np.rint(image / scale), low, high) - low
        np.testing.assert_array_equal(codes_of(out), expected)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize(("channels", "width"), [(5, 6), (3, 16), (3, 17), (3, 70)])
def test_codes_survive_the_way_there_and_back(dtype: Any, channels: int, width: int) -> None:
    codes = np.random.default_rng(0).integers(0, 256, (3, channels, 4, width)).astype(np.uint8)
    images = native.ByteImages(3, 4, width, channels, 8, (1, 2, 0, 3), 7)
    smallest = np.iinfo(dtype).min
    native.import_codes(codes, smallest, images, 2)
    np.testing.assert_array_equal(native.export_codes(images, smallest, 2), codes)
