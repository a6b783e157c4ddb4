"""Winograd's transforms give the same integers as the plain convolution: all widths, odd sizes, corners, threads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.csrc.plain import convolve, convolve_native, native

WIDTHS = range(1, 9)


def forced(*arguments: Any, **options: Any) -> Any:
    return convolve_native(*arguments, scheme="winograd", **options)


@pytest.mark.parametrize("act_bits", WIDTHS)
@pytest.mark.parametrize("weight_bits", WIDTHS)
def test_every_pair_of_widths_with_the_worst_corners(isa: str, act_bits: int, weight_bits: int) -> None:
    """A channel of all minima, one of all maxima, and signs that make each transformed weight as large as it gets."""
    rng = np.random.default_rng(8 * act_bits + weight_bits)
    largest, low, high = (1 << act_bits) - 1, -(1 << weight_bits - 1), (1 << weight_bits - 1) - 1
    x = rng.integers(0, largest + 1, (1, 37, 7, 6))
    x[:, :, :4] = largest
    x[:, :, 1, ::2] = 0
    weights = rng.integers(low, high + 1, (19, 37, 3, 3))
    weights[0], weights[-1] = low, high
    for out, signs in enumerate(([1, 1, 1], [1, -1, 1]), start=1):
        weights[out] = np.where(np.multiply.outer(signs, signs) > 0, low, high)
    bias = rng.integers(-(1 << 16), 1 << 16, 19)
    result = forced(x, weights, bias, padding=(1, 1, 1, 1), bits=act_bits)
    np.testing.assert_array_equal(result, convolve(x, weights, bias, padding=(1, 1, 1, 1)))


@pytest.mark.parametrize("scheme", [None, "winograd"])
@pytest.mark.parametrize("act_bits", [1, 2, 3])
def test_many_channels_of_few_bits(isa: str, act_bits: int, scheme: str | None) -> None:
    """Transformed weights of 2 bits are looked up nowhere: operands of all places are the same bytes."""
    rng = np.random.default_rng(act_bits)
    x, bias = rng.integers(0, 1 << act_bits, (1, 256, 9, 8)), rng.integers(-99, 99, 160)
    corners = np.ix_(range(160), range(256), (0, 2), (0, 2))
    for bits in (2, 3):
        weights = rng.integers(-(1 << bits - 1), 1 << bits - 1, (160, 256, 3, 3))
        weights[corners] = rng.integers(-2, 2, (160, 256, 2, 2))
        result = convolve_native(x, weights, bias, padding=(1, 1, 1, 1), bits=act_bits, scheme=scheme)
        np.testing.assert_array_equal(result, convolve(x, weights, bias, padding=(1, 1, 1, 1)))


@given(
    batch=st.sampled_from([1, 1, 2, 5]),
    channels=st.integers(1, 50),
    outputs=st.integers(1, 40),
    size=st.tuples(st.integers(1, 13), st.integers(1, 13)),
    padding=st.tuples(*[st.integers(0, 3)] * 4),
    act_bits=st.integers(1, 8),
    weight_bits=st.integers(1, 8),
    pad=st.integers(0, 255),
    threads=st.integers(1, 3),
    seed=st.integers(0, 1 << 32),
)
def test_any_size_and_padding(
    batch: int,
    channels: int,
    outputs: int,
    size: tuple[int, int],
    padding: tuple[int, int, int, int],
    act_bits: int,
    weight_bits: int,
    pad: int,
    threads: int,
    seed: int,
) -> None:
    if size[0] + padding[0] + padding[1] < 3 or size[1] + padding[2] + padding[3] < 3:
        return
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 1 << act_bits, (batch, channels, *size))
    weights = rng.integers(-(1 << weight_bits - 1), 1 << weight_bits - 1, (outputs, channels, 3, 3))
    bias = rng.integers(-(1 << 16), 1 << 16, outputs)
    pad %= 1 << act_bits
    result = forced(x, weights, bias, padding=padding, pad_code=pad, bits=act_bits, threads=threads)
    np.testing.assert_array_equal(result, convolve(x, weights, bias, padding=padding, pad_code=pad))


def test_many_strips_and_threads_give_the_same(isa: str) -> None:
    rng = np.random.default_rng(0)
    x, weights = rng.integers(0, 16, (3, 64, 30, 31)), rng.integers(-8, 8, (48, 64, 3, 3))
    bias = rng.integers(-999, 999, 48)
    expected = convolve(x, weights, bias, padding=(1, 1, 1, 1))
    for threads in (1, 2, 3):
        result = forced(x, weights, bias, padding=(1, 1, 1, 1), bits=4, threads=threads)
        np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("bits", [3, 4, 8])
@pytest.mark.parametrize("threads", [1, 2])
def test_panels_larger_than_the_second_cache(isa: str, bits: int, threads: int) -> None:
    """Each is fetched while the one before is multiplied, with every number of rows and to the last one."""
    rng = np.random.default_rng(bits)
    weights = rng.integers(-(1 << bits - 1), 1 << bits - 1, (270, 132, 3, 3))
    for size in ((1, 1), (2, 7), (7, 7)):
        x = rng.integers(0, 1 << bits, (1, 132, *size))
        arguments = (x, weights, np.arange(270), (1, 1), (1, 1, 1, 1))
        np.testing.assert_array_equal(forced(*arguments, bits=bits, threads=threads), convolve(*arguments))


@pytest.mark.parametrize(
    ("weights", "options"),
    [((8, 4, 3, 2), {}), ((8, 4, 3, 3), {"stride": (2, 1)}), ((8, 4, 3, 3), {"dilation": (1, 2)}),
     ((8, 2, 3, 3), {"groups": 2}), ((8, 4, 5, 5), {})],
)  # fmt: skip
def test_other_layers_are_refused(weights: tuple[int, ...], options: Any) -> None:
    x = np.zeros((1, 4, 9, 9), np.int64)
    with pytest.raises(ValueError, match="'layer': Winograd's transforms do not fit"):
        forced(x, np.ones(weights, np.int64), np.zeros(8, np.int64), **options)


def test_sums_of_which_four_times_leave_32_bits_are_refused_and_computed_directly() -> None:
    x, weights = np.full((1, 2048, 3, 3), 255), np.full((1, 2048, 3, 3), 127)
    bias = np.zeros(1, np.int64)
    with pytest.raises(ValueError, match="do not fit"):
        forced(x, weights, bias)
    np.testing.assert_array_equal(convolve_native(x, weights, bias), convolve(x, weights, bias))


def test_the_way_with_fewer_cycles_is_taken(isa_of_schemes: str) -> None:
    rng = np.random.default_rng(0)

    def by_winograd(channels: int, kernel: int) -> bool:
        weights = rng.integers(-8, 8, (64, channels, kernel, kernel))
        return native.Conv("layer", weights, np.zeros(64, np.int64), channels, act_bits=4).winograd

    assert by_winograd(128, 3)
    assert not by_winograd(4, 3)
    assert not by_winograd(128, 1)
