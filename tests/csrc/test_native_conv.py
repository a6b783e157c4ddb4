"""Packed convolution equals plain convolution: every kernel of the table, all widths, every tail and corner."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.csrc.conftest import DOT_ISAS, ISAS
from tests.csrc.plain import byte_images, convolve, convolve_native, native

WIDTHS = range(1, 9)
KERNELS = [kernel for kernel in native.kernels() if kernel.op in ("gemm", "gemmpair", "depthwise", "strip")]
ODD_LEVELS = {"lutsign": (-1, 1), "lutodd": (-3, -1, 1, 3)}
"""What weights can be for schemes that have no zero."""
ODD_TILES = [kernel for kernel in KERNELS if kernel.scheme in ODD_LEVELS]
TILES = [kernel for kernel in KERNELS if kernel.scheme not in ODD_LEVELS]


def random_layer(rng: Any, act_bits: int, weight_bits: int, x_shape: Any, weight_shape: Any) -> Any:
    x = rng.integers(0, 1 << act_bits, x_shape)
    weights = rng.integers(-(1 << weight_bits - 1), 1 << weight_bits - 1, weight_shape)
    return x, weights, rng.integers(-(1 << 16), 1 << 16, weight_shape[0])


def a16_is_exact(weights: Any, act_bits: int) -> Any:
    """Whether one product pair, the least that a 16-bit lane adds, always fits int16 (K a multiple of 4)."""
    pairs = weights.reshape(len(weights), -1, 2)
    largest = (1 << act_bits) - 1
    high, low = np.maximum(pairs, 0).sum(-1).max(), np.minimum(pairs, 0).sum(-1).min()
    return largest * high <= 32767 and largest * low >= -32768


def a16x4_is_exact(weights: Any, act_bits: int) -> Any:
    """The same, for weights of 4 bits."""
    return weights.min() >= -8 and weights.max() <= 7 and a16_is_exact(weights, act_bits)


def strip_a16_is_exact(weights: Any, act_bits: int) -> Any:
    """Whether the sum of a filter's nine products fits int16, for any activations."""
    largest, filters = (1 << act_bits) - 1, weights.reshape(len(weights), -1)
    high, low = np.maximum(filters, 0).sum(-1).max(), np.minimum(filters, 0).sum(-1).min()
    return largest * high <= 32767 and largest * low >= -32768


def lut_is_exact(count: int) -> Any:
    """Whether the weights have 2 bits, and those bits of `count` of a pixel that share an index fit a byte's sum."""

    def is_exact(weights: Any, act_bits: int) -> Any:
        if weights.min() < -2 or weights.max() > 1:
            return False
        pixels = weights.reshape(-1, weights.shape[-1])
        indices = np.pad(pixels, ((0, 0), (0, -pixels.shape[1] % count))).reshape(-1, count)
        return ((1 << act_bits) - 1) * max((indices & 1).sum(-1).max(), (indices >> 1 & 1).sum(-1).max()) <= 255

    return is_exact


def a32_is_exact(quads: int) -> Any:
    """Whether a lane's products of a step of so many quads, from the start of each row of the filter, fit int16."""

    def is_exact(weights: Any, act_bits: int) -> Any:
        outputs, rows = weights.shape[:2]
        flat = weights.reshape(outputs, rows, -1)
        flat = np.pad(flat, ((0, 0), (0, 0), (0, -flat.shape[2] % (4 * quads))))
        lanes = flat.reshape(outputs, rows, -1, quads, 2, 2).swapaxes(3, 4).reshape(-1, 2 * quads)
        largest = (1 << act_bits) - 1
        high, low = np.maximum(lanes, 0).sum(-1).max(), np.minimum(lanes, 0).sum(-1).min()
        return largest * high <= 32767 and largest * low >= -32768

    return is_exact


EXACT = {
    "a16": a16_is_exact,
    "a16x4": a16x4_is_exact,
    "lut": lut_is_exact(4),
    "lut6": lut_is_exact(6),
    "a32s1": a32_is_exact(1),
    "a32s2": a32_is_exact(2),
    "a32s4": a32_is_exact(4),
}


@pytest.mark.parametrize("kernel", TILES, ids=lambda kernel: kernel.name)
@pytest.mark.parametrize("weight_bits", WIDTHS)
def test_every_tile_kernel_at_every_width(kernel: Any, weight_bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer over as many pixels as the kernel has rows, random and in the corner that saturates first."""
    monkeypatch.setenv("INTSIM_ISA", kernel.isa)
    rng = np.random.default_rng(weight_bits)
    depthwise = kernel.op in ("depthwise", "strip")
    for act_bits in WIDTHS:
        channels = 24 if depthwise else 20
        shape = (channels, 1, 3 if kernel.op == "strip" else 2, 3) if depthwise else (kernel.nr + 2, channels, 1, 3)
        groups = channels if depthwise else 1
        x, weights, bias = random_layer(rng, act_bits, weight_bits, (1, channels, shape[2], kernel.mr + 2), shape)
        x[..., 1] = (1 << act_bits) - 1
        weights[0], weights[-1] = weights.min(), weights.max()
        arguments = (x, weights, bias, (1, 1), (0, 0, 0, 0), (1, 1), groups)
        channels_last = np.moveaxis(weights, 1, -1)  # the order in which a lane meets the weights
        is_exact = strip_a16_is_exact if kernel.op == "strip" else EXACT.get(kernel.scheme)
        if is_exact and kernel.scheme in EXACT and not is_exact(channels_last, act_bits):
            with pytest.raises(ValueError, match="'layer'.*not exact"):
                convolve_native(*arguments, bits=act_bits, scheme=kernel.scheme)
            continue
        result = convolve_native(*arguments, bits=act_bits, scheme=kernel.scheme)
        np.testing.assert_array_equal(result, convolve(*arguments))


@pytest.mark.parametrize("kernel", ODD_TILES, ids=lambda kernel: kernel.name)
def test_every_tile_kernel_of_odd_weights(kernel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random and extreme weights, tails of channels, and sums that leave bytes and 16 bits, up to 5-bit activations."""
    monkeypatch.setenv("INTSIM_ISA", kernel.isa)
    rng = np.random.default_rng(0)
    levels = ODD_LEVELS[kernel.scheme]
    for act_bits, (depth, outputs) in product(WIDTHS, ((8, 32), (24, 5), (40, 50), (3000, 35))):
        x = rng.integers(0, 1 << act_bits, (1, depth, 2, kernel.mr + 2))
        x[..., 1] = (1 << act_bits) - 1
        weights = rng.choice(levels, (outputs, depth, 2, 3))
        weights[0], weights[-1], weights[1, ::2], weights[2, 4::8] = levels[-1], levels[0], levels[0], levels[-1]
        arguments = (x, weights, rng.integers(-(1 << 16), 1 << 16, outputs))
        if act_bits > 5:
            with pytest.raises(ValueError, match="'layer'.*not exact"):
                convolve_native(*arguments, bits=act_bits, scheme=kernel.scheme)
            continue
        result = convolve_native(*arguments, bits=act_bits, scheme=kernel.scheme)
        np.testing.assert_array_equal(result, convolve(*arguments))


@pytest.mark.parametrize(
    "kernel", [kernel for kernel in TILES if kernel.scheme in ("lut", "lut6")], ids=lambda k: k.name
)
def test_any_four_levels_around_zero(kernel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Zero points are each channel's own; all activations at their maximum, sums beyond 16 bits, and fewer levels."""
    monkeypatch.setenv("INTSIM_ISA", kernel.isa)
    rng = np.random.default_rng(0)
    for act_bits, (depth, outputs) in product((1, 2, 4, 5), ((4, 70), (20, 33), (2600, 5))):
        lowest = np.arange(outputs) % 4 - 3
        weights = rng.integers(0, 4, (outputs, depth, 1, 3)) + lowest[:, None, None, None]
        weights[-1], weights[-2] = 3, -3  # outside of the other channels' levels, and all of one sign
        weights[0] = np.where(rng.random((depth, 1, 3)) < 0.5, -1, 0)
        x = rng.integers(0, 1 << act_bits, (1, depth, 2, kernel.mr + 2))
        x[..., 1, :] = (1 << act_bits) - 1
        arguments = (x, weights, rng.integers(-(1 << 16), 1 << 16, outputs))
        result = convolve_native(*arguments, bits=act_bits, scheme=kernel.scheme)
        np.testing.assert_array_equal(result, convolve(*arguments))
        weights[1, 0, 0, 0], weights[1, 1, 0, 0] = -2, 2  # five levels
        with pytest.raises(ValueError, match="'layer'.*not exact"):
            convolve_native(*arguments, bits=act_bits, scheme=kernel.scheme)


@pytest.mark.parametrize("scheme", ODD_LEVELS)
def test_odd_weights_in_any_layer(isa: str, scheme: str) -> None:
    """Strides, groups, dilation and threads; the scheme is taken by itself where it fits, and refused where not."""
    rng = np.random.default_rng(1)
    for stride, dilation, groups in (((1, 1), (1, 1), 1), ((2, 1), (1, 2), 1), ((2, 2), (1, 1), 2)):
        x = rng.integers(0, 4, (2, 16, 9, 11))
        weights, bias = rng.choice(ODD_LEVELS[scheme], (64, 16 // groups, 3, 3)), rng.integers(-99, 99, 64)
        arguments = (x, weights, bias, stride, (1, 0, 2, 1), dilation, groups, 1)
        result = convolve_native(*arguments, bits=2, scheme=scheme, threads=2)
        np.testing.assert_array_equal(result, convolve(*arguments))
    many = rng.choice(ODD_LEVELS[scheme], (128, 64, 3, 3))
    taken = native.Conv("layer", many, np.zeros(128, np.int64), 64, act_bits=2).scheme
    expected = {
        "neon": {"lutodd": "dot"},
        "avx512": {"lutodd": "dot"},
        "avx512vbmi": {"lutodd": "dot", "lutsign": "lut6"},
    }
    assert taken == expected.get(isa, {}).get(scheme, scheme)
    for unfit in (np.zeros_like(weights), weights[:, :6]):  # a zero; channels that would need padding
        with pytest.raises(ValueError, match="'layer'.*not exact"):
            native.Conv("layer", unfit, bias, 2 * unfit.shape[1], groups=2, act_bits=2, scheme=scheme)


@pytest.mark.parametrize("act_bits", WIDTHS)
@pytest.mark.parametrize("weight_bits", WIDTHS)
def test_the_worst_corner_over_a_long_sum(isa: str, act_bits: int, weight_bits: int) -> None:
    """All activations at their maximum, a channel of all minima and one of all maxima, 2,000 products and more."""
    depth = 2047
    x = np.full((2, depth, 1, 1), (1 << act_bits) - 1)
    low, high = -(1 << weight_bits - 1), (1 << weight_bits - 1) - 1
    rows = np.array([np.full(depth, low), np.full(depth, high), np.where(np.arange(depth) % 8 < 4, low, high)])
    bias = np.array([0, -5, 7])
    expected = convolve(x, rows[:, :, None, None], bias)
    looked_up = [scheme for scheme, most in (("lut", 6), ("lut6", 5)) if weight_bits <= 2 and act_bits <= most]
    schemes = (None, "w16", *looked_up)
    for scheme in schemes:
        result = convolve_native(x, rows[:, :, None, None], bias, bits=act_bits, scheme=scheme)
        np.testing.assert_array_equal(result, expected)
    # Each alone as well: in one panel the first to saturate decides for all.
    for row, start, sums in zip(rows, bias, np.moveaxis(expected, 1, 0), strict=True):
        for scheme in schemes:
            result = convolve_native(x, row[None, :, None, None], np.array([start]), bits=act_bits, scheme=scheme)
            np.testing.assert_array_equal(result[:, 0], sums)


@st.composite
def geometries(draw: Any) -> Any:
    """Shapes that fit no vector, images smaller than the kernel, uneven padding, groups and depthwise."""
    small = st.integers(1, 3)
    groups = draw(st.sampled_from([1, 1, 1, 2, 5]))
    depth, outputs = draw(st.integers(1, 37)), draw(st.integers(1, 35))
    if draw(st.booleans()) and groups > 1:
        groups, depth, outputs = draw(st.integers(2, 40)), 1, 1
    kernel, stride, dilation = (
        draw(st.tuples(small, small)),
        draw(st.tuples(small, small)),
        draw(st.tuples(small, small)),
    )
    padding = draw(st.tuples(*[st.integers(0, 4)] * 4))
    height, width = draw(st.integers(1, 14)), draw(st.integers(1, 14))
    assume(height + padding[0] + padding[1] > dilation[0] * (kernel[0] - 1))
    assume(width + padding[2] + padding[3] > dilation[1] * (kernel[1] - 1))
    batch = draw(st.sampled_from([1, 1, 2, 33])) if height * width < 30 else 1
    return (batch, groups * depth, height, width), (groups * outputs, depth, *kernel), stride, padding, dilation, groups


@given(
    geometry=geometries(),
    act_bits=st.integers(1, 8),
    weight_bits=st.integers(1, 8),
    pad=st.integers(0, 255),
    threads=st.integers(1, 3),
    scheme=st.sampled_from([None, "w16", "lut", "lut6"]),
    isa=st.sampled_from(sorted({kernel.isa for kernel in TILES})),
    seed=st.integers(0, 1 << 32),
)
def test_any_geometry(
    geometry: Any, act_bits: int, weight_bits: int, pad: int, threads: int, scheme: Any, isa: str, seed: int
) -> None:
    x_shape, weight_shape, stride, padding, dilation, groups = geometry
    groups, depth = geometry[-1], weight_shape[1]
    if scheme == "lut":  # up to 6 bits, and 2; neither groups nor dense pixels share a table
        act_bits, weight_bits = min(act_bits, 6), min(weight_bits, 2)
        scheme = None if depth % 4 and (groups > 1 or depth < 4) else scheme
    if scheme == "lut6":  # one activation bit less for two more of them, and no groups at all
        act_bits, weight_bits = min(act_bits, 5), min(weight_bits, 2)
        scheme = None if groups > 1 else scheme
    x, weights, bias = random_layer(np.random.default_rng(seed), act_bits, weight_bits, x_shape, weight_shape)
    arguments = (x, weights, bias, stride, padding, dilation, groups, pad % (1 << act_bits))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INTSIM_ISA", isa)
        result = convolve_native(*arguments, bits=act_bits, scheme=scheme, threads=threads)
    np.testing.assert_array_equal(result, convolve(*arguments))


@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (1, 2), (2, 1)])
@pytest.mark.parametrize("size", [(1, 1), (2, 31), (3, 32), (4, 33), (7, 67), (12, 130)])
@pytest.mark.parametrize(("weight_bits", "act_bits"), [(8, 8), (4, 6)])
def test_depthwise_strips(
    isa: str, stride: tuple[int, int], size: tuple[int, int], weight_bits: int, act_bits: int
) -> None:
    """Odd and even rows, strips of every length about the longest, channels that fill no vector; full-range weights."""
    rng = np.random.default_rng(size[1])
    for channels, padding in ((5, (1, 1, 1, 1)), (16, (2, 1, 2, 0)), (35, (1, 2, 0, 2))):
        layer = random_layer(rng, act_bits, weight_bits, (2, channels, *size), (channels, 1, 3, 3))
        if size[1] + padding[2] + padding[3] < 3:
            continue
        arguments = (*layer, stride, padding, (1, 1), channels, 50)
        result = convolve_native(*arguments, bits=act_bits, threads=2)
        np.testing.assert_array_equal(result, convolve(*arguments))


@pytest.mark.parametrize(("taps", "scheme"), [(128, "a16"), (129, "w16")])
def test_strips_of_bytes_where_the_actual_weights_allow(isa: str, taps: int, scheme: str) -> None:
    """255 * 128 = 32640 fits int16, whichever taps add up to 128; 255 * 129 does not, in a single channel of 40."""
    rng = np.random.default_rng(taps)
    x, bias = rng.integers(0, 256, (1, 40, 9, 9)), rng.integers(-(1 << 20), 1 << 20, 40)
    weights = np.zeros((40, 1, 3, 3), np.int64)
    weights[:, 0, 0, 0], weights[:, 0, 2, 2] = -128, 127
    weights[33, 0, 1, 1] = taps - 127
    x[..., 2:6, :] = 255
    conv = native.Conv("layer", weights, bias, 40, groups=40)
    assert conv.scheme == {"neon": "w16", "avx512": "dot", "avx512vbmi": "dot"}.get(isa, scheme)
    arguments = (x, weights, bias, (1, 1), (0, 0, 0, 0), (1, 1), 40)
    np.testing.assert_array_equal(convolve_native(*arguments), convolve(*arguments))


@pytest.mark.parametrize("scheme", ["w16", "lut", "lut6"])
def test_tasks_that_begin_where_halos_are_shared(isa: str, scheme: str) -> None:
    """Tiny images with much padding: an image's first taps lie before the last ones of the image before it."""
    rng = np.random.default_rng(0)
    for padding, kernel in (((3, 3, 0, 1), 1), ((2, 2, 3, 3), 1), ((1, 4, 4, 2), 1), ((3, 3, 0, 2), 2)):
        layer = random_layer(rng, 1, 1, (70, 4, 1, 1), (20, 4, 1, kernel))
        arguments = (*layer, (1, 1), padding, (1, 1), 1, 1)
        result = convolve_native(*arguments, bits=1, scheme=scheme)
        np.testing.assert_array_equal(result, convolve(*arguments))


@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("scheme", [None, "w16", "a16", "a32s1", "a32s2", "a32s4"])
def test_dense_pixels_of_few_channels(isa: str, scheme: str | None, channels: int) -> None:
    """Rows of the filter end within a quad and within a pair of k, and what lies behind them must not count."""
    rng = np.random.default_rng(channels)
    bits = 8 if scheme in (None, "w16") else 5
    for kernel, stride, dilation in ((7, 2, 1), (5, 1, 1), (3, 3, 1), (3, 2, 2), (1, 1, 1)):
        layer = random_layer(rng, bits, bits, (2, channels, 15, 17), (19, channels, kernel, kernel))
        arguments = (*layer, (stride, stride), (2, 3, 3, 1), (dilation, dilation), 1, (1 << bits) - 1)
        result = convolve_native(*arguments, bits=bits, scheme=scheme, threads=2)
        np.testing.assert_array_equal(result, convolve(*arguments))


def test_weight_levels_beyond_a_byte(isa: str) -> None:
    """Zero points and odd grids are in the levels, which then need up to 16 bits."""
    rng = np.random.default_rng(0)
    for groups, depth in ((1, 6), (12, 1)):
        x, weights = rng.integers(0, 256, (2, groups * depth, 5, 5)), rng.integers(-511, 512, (12, depth, 3, 3))
        bias = np.zeros(12, np.int64)
        arguments = (x, weights, bias, (1, 1), (1, 1, 1, 1), (1, 1), groups, 255)
        np.testing.assert_array_equal(convolve_native(*arguments), convolve(*arguments))


def test_widest_accumulators(isa: str) -> None:
    """Sums that reach both ends of int32 exactly."""
    x = np.full((1, 2, 1, 1), 255)
    weights = np.array([[[[32767]], [[32767]]], [[[-32768]], [[-32768]]]])
    bias = np.array([(1 << 31) - 1 - 2 * 255 * 32767, -(1 << 31) + 2 * 255 * 32768])
    result = convolve_native(x, weights, bias)
    assert result.ravel().tolist() == [(1 << 31) - 1, -(1 << 31)]


def test_the_packer_flushes_as_rarely_as_the_actual_weights_allow(isa_of_schemes: str) -> None:
    """32768 / (2 * 15 * 8) = 136 steps at the worst weights of 4/4 bits; small ones never need a flush in between."""
    depth = 4 * 1000
    for weight, flushes in ((-8, 8), (-1, 1)):
        weights = np.full((1, depth, 1, 1), weight)
        conv = native.Conv("layer", weights, np.zeros(1, np.int64), depth, act_bits=4)
        assert (conv.scheme, conv.quads, conv.flushes) == ("a16", 1000, flushes)


@pytest.mark.parametrize("scheme", ["lut", "lut6"])
def test_look_up_totals_leave_16_bits(isa: str, scheme: str) -> None:
    """Sums beyond int16, of bytes that are flushed often: thousands of 4-bit activations at their maximum."""
    x = np.full((1, 2600, 1, 3), 15)
    weights = np.zeros((40, 2600, 1, 1), np.int64)
    weights[::3], weights[1::3, ::2] = -2, 1
    bias = np.arange(40)
    result = convolve_native(x, weights, bias, bits=4, scheme=scheme)
    np.testing.assert_array_equal(result, convolve(x, weights, bias))


@pytest.mark.skipif(not set(ISAS) & set(DOT_ISAS), reason="no instruction here adds four products of bytes")
@pytest.mark.parametrize(("weight_bits", "act_bits"), [(8, 8), (4, 4), (2, 2)])
def test_dot_products_of_bytes_are_taken_where_there_are(
    weight_bits: int, act_bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("INTSIM_ISA", raising=False)
    rng = np.random.default_rng(0)
    weights = rng.integers(-(1 << weight_bits - 1), 1 << weight_bits - 1, (64, 64, 1, 1))
    assert native.Conv("layer", weights, np.zeros(64, np.int64), 64, act_bits=act_bits).scheme == "dot"


def test_sextets_are_flushed_as_rarely_as_the_actual_weights_allow(isa: str) -> None:
    """A byte holds 255 / 3 = 85 set bits: those of 14 sextets of -1, or of 85 sextets with one -1 each."""
    depth = 6 * 86
    sparse = np.where(np.arange(depth) % 6 == 0, -1, 0)
    for row, flushes in ((np.full(depth, -1), 7), (sparse, 2), (sparse[:-6], 1), (np.zeros(depth), 1)):
        weights = np.tile(row.astype(np.int64)[:, None, None], (40, 1, 1, 1))
        conv = native.Conv("layer", weights, np.zeros(40, np.int64), len(row), act_bits=2, scheme="lut6")
        assert conv.flushes == 2 * flushes  # of two panels
        x = np.full((1, len(row), 1, 5), 3)
        result = convolve_native(x, weights, np.arange(40), bits=2, scheme="lut6")
        np.testing.assert_array_equal(result, convolve(x, weights, np.arange(40)))


def test_schemes_follow_the_actual_weights(isa_of_schemes: str) -> None:
    """At 8/8 bits full-range weights need w16; the same widths with small weights do not. 2 bits are looked up."""
    rng = np.random.default_rng(0)
    ternary = rng.integers(-1, 2, (64, 64, 3, 3))
    assert native.Conv("layer", ternary, np.zeros(64, np.int64), 64, act_bits=2).scheme == "lut"
    for largest, scheme in ((128, "w16"), (8, "a16")):
        weights = rng.integers(-largest, largest, (16, 64, 3, 3))
        assert native.Conv("layer", weights, np.zeros(16, np.int64), 64).scheme == scheme
    # Worst weights of 8 bits beside activations of 5, 6 and 7: a lane holds the products of 4, 2 and 1 quads.
    worst = np.full((16, 64, 3, 3), -128)
    for act_bits, scheme in ((5, "a32s4"), (6, "a32s2"), (7, "a32s1")):
        assert native.Conv("layer", worst, np.zeros(16, np.int64), 64, act_bits=act_bits).scheme == scheme


@pytest.mark.parametrize(
    ("weight_bits", "act_bits", "scheme"), [(8, 8, "w16x8"), (4, 4, "a16x4"), (3, 8, "a16x4"), (5, 4, "a16")]
)
@pytest.mark.parametrize("batch", [1, 7])
def test_layers_of_one_pixel_keep_their_weights_dense(
    isa_of_schemes: str, weight_bits: int, act_bits: int, scheme: str, batch: int
) -> None:
    """Large ones only: small panels stay in the cache as they are."""
    rng = np.random.default_rng(weight_bits)
    x, weights, bias = random_layer(rng, act_bits, weight_bits, (batch, 1030, 1, 1), (517, 1030, 1, 1))
    weights[0], weights[-1] = weights.min(), weights.max()
    conv = native.Conv("layer", weights, bias, 1030, act_bits=act_bits, one_pixel=True)
    assert conv.scheme == scheme
    out = native.Int32Images(batch, 1, 1, 517)
    conv.run(byte_images(x, act_bits), (0, 0, 0, 0), 0, out, 2)
    np.testing.assert_array_equal(native.export_accumulators(out, 1), convolve(x, weights, bias))
    small = native.Conv("layer", weights[:64, :64], bias[:64], 64, act_bits=act_bits, one_pixel=True)
    assert small.scheme in ("a16", "w16")


def test_accumulator_bounds_are_reached() -> None:
    weights = np.array([[[[3]], [[-2]]]])
    conv = native.Conv("layer", weights, np.array([10]), 2, act_bits=3)
    assert (conv.acc_low, conv.acc_high) == ([10 - 14], [10 + 21])
