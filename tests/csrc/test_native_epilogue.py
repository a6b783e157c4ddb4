"""Fused epilogues equal rational arithmetic: every rounding, tie, width and extreme, on every instruction set."""

from __future__ import annotations

from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.csrc.conftest import ISAS
from tests.csrc.plain import ROUNDINGS, byte_images, codes_of, convolve, int32_images, native, rounded

INT32 = (-(1 << 31), (1 << 31) - 1)


def requantize(spec: Any, acc: Any, bits: int = 8, low: int = INT32[0], high: int = INT32[1]) -> Any:
    """Accumulators (pixels, C) through an epilogue on its own."""
    acc = np.asarray(acc, np.int64)
    out = native.ByteImages(len(acc), 1, 1, acc.shape[1], bits)
    native.Requantize("layer", spec, low, high).run(int32_images(acc[:, :, None, None]), out, 1)
    return codes_of(out)[:, :, 0, 0]


def scale_spec(
    multiplier: Any,
    shift: Any,
    rounding: str,
    zero_point: int = 0,
    first: bool = False,
    low: int = 0,
    high: int = 255,
    bits: int = 8,
    smallest: int = 0,
) -> Any:
    multiplier, shift = np.asarray(multiplier, np.int64), np.asarray(shift, np.int64)
    return native.ScaleSpec(multiplier, shift, rounding, zero_point, first, low, high, bits, smallest)


def scaled(
    acc: Any, multiplier: Any, shift: Any, rounding: str, zero_point: Any, first: bool, low: Any, high: Any
) -> Any:
    """The words of the specification, in rationals."""
    value = Fraction(acc) * multiplier / Fraction(2) ** shift
    code = rounded(value + zero_point, rounding) if first else rounded(value, rounding) + zero_point
    return min(max(code, low), high)


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("first", [False, True])
def test_shift_at_every_tie(isa: str, rounding: str, first: bool) -> None:
    """All residues around zero, so that every tie of every sign and parity occurs, for shifts of 0 to 5."""
    shifts, values = np.arange(17) % 6, range(-70, 71)
    acc = np.repeat(np.array(values)[:, None], 17, axis=1)
    for zero_point in (0, 3, -4):
        result = requantize(scale_spec(np.ones(17), shifts, rounding, zero_point, first, -128, 127, 8, -128), acc)
        for shift in range(6):
            expected = [scaled(a, 1, shift, rounding, zero_point, first, -128, 127) + 128 for a in values]
            assert all(column.tolist() == expected for column in result.T[shifts == shift])


@given(
    isa=st.sampled_from(ISAS),
    rounding=st.sampled_from(ROUNDINGS),
    first=st.booleans(),
    channels=st.integers(1, 20),
    wide=st.booleans(),
    bits=st.integers(1, 8),
    largest=st.sampled_from([100, 1 << 20, 1 << 31]),
    seed=st.integers(0, 1 << 32),
)
def test_scale_in_any_range(
    isa: str, rounding: str, first: bool, channels: int, wide: bool, bits: int, largest: int, seed: int
) -> None:
    """Multipliers of 31 bits, shifts of 62 and to the left, both ends of int32: whichever kernel takes them."""
    rng = np.random.default_rng(seed)
    limit = rng.integers(2, 32)
    multiplier = rng.integers(1 - (1 << limit - 1), 1 << limit - 1, channels) if wide else np.ones(channels, np.int64)
    shift = rng.integers(0, 63, channels) if wide else rng.integers(-31, 32, channels)
    acc = rng.integers(-largest, largest, (3, channels)) >> rng.integers(0, 20, (3, channels))
    acc[0] = rng.choice([-largest, largest - 1], channels)
    smallest = -(1 << bits - 1) if rng.random() < 0.5 else 0
    zero_point = int(rng.integers(-300, 300))
    low, high = np.sort(rng.integers(smallest, smallest + (1 << bits), 2)).tolist()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INTSIM_ISA", isa)
        spec = scale_spec(multiplier, shift, rounding, zero_point, first, low, high, bits, smallest)
        result = requantize(spec, acc, bits, -largest, largest - 1)
    multiplier, shift, acc = multiplier.tolist(), shift.tolist(), acc.tolist()
    expected = [
        [scaled(a, m, s, rounding, zero_point, first, low, high) - smallest
         for a, m, s in zip(row, multiplier, shift, strict=True)]
        for row in acc
    ]  # fmt: skip
    assert result.tolist() == expected


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("first", [False, True])
def test_multipliers_on_both_sides_of_the_first_tie(isa: str, rounding: str, first: bool) -> None:
    """3 * acc / 2**12 has its first tie at acc = +-2**11: bounds that exclude it may take another kernel."""
    for largest in ((1 << 11) - 1, 1 << 11, 3 << 11):
        acc = np.unique([0, 1, 682, 683, 684, 1365, 1366, (1 << 11) - 1, min(1 << 11, largest), largest])
        acc = np.concatenate([-acc, acc])[:, None]
        for multiplier, shift in ((3, 12), (-3, 12), (3 << 18, 30), (3 << 29, 41)):
            spec = scale_spec([multiplier], [shift], rounding, -1, first, -128, 127, 8, -128)
            result = requantize(spec, acc, 8, -largest, largest)[:, 0]
            expected = [scaled(a, multiplier, shift, rounding, -1, first, -128, 127) + 128 for a in acc[:, 0].tolist()]
            assert result.tolist() == expected


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("first", [False, True])
def test_ties_that_clipping_hides(isa: str, rounding: str, first: bool) -> None:
    """Half of 2 * most + 1 is the first tie beyond codes that are `most` from the zero point; bounds reach them all."""
    acc = np.array([sign * (tie << 20) + near for tie in (1, 3) for sign in (-1, 1) for near in (-1, 0, 1)])[:, None]
    for zero_point, most in ((0, 255), (10, 245), (200, 200), (-20, 275)):
        for multiplier in (sign * (2 * most + beyond) for sign in (-1, 1) for beyond in (-3, -1, 1, 3)):
            spec = scale_spec([multiplier], [21], rounding, zero_point, first)
            expected = [scaled(a, multiplier, 21, rounding, zero_point, first, 0, 255) for a in acc[:, 0].tolist()]
            assert requantize(spec, acc)[:, 0].tolist() == expected


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("rounding", [*ROUNDINGS, "ruy", "gemmlowp_double"])
def test_multipliers_whose_codes_a_line_has(isa: str, rounding: str, first: bool) -> None:
    """Codes a few accumulators wide, all of which are reached; some roundings have one of another size around zero."""
    uneven = rounding in ("toward_zero", "away_from_zero", "gemmlowp_double") and not first
    engine = rounding not in ROUNDINGS
    if engine and first:
        pytest.skip("engines add the zero point last")
    rng = np.random.default_rng(ROUNDINGS.index(rounding) if not engine else 20)
    bias, weights = rng.integers(-99, 99, 37), rng.choice([-8, -3, 1, 7], 37)[:, None, None, None]
    multiplier, shift = rng.integers(1 << 30, 1 << 31, 37), rng.integers(32, 35, 37)
    multiplier = multiplier if engine else multiplier * rng.choice([-1, 1], 37)
    x = np.arange(256).reshape(1, 1, 16, 16)
    acc = convolve(x, weights, bias)
    spec = scale_spec(multiplier, shift, rounding, 100, first)
    conv = native.Conv("layer", weights, bias, 1, epilogue=spec)
    assert ("_line_" in conv.epilogue_kernel) == (not uneven)
    out = native.ByteImages(1, 16, 16, 37, 8)
    conv.run(byte_images(x, 8), (0, 0, 0, 0), 0, out, 1)
    for c, row in enumerate(codes_of(out)[0]):
        m, s = int(multiplier[c]), int(shift[c])
        if engine:
            second = {"ruy": "half_up", "gemmlowp_double": "half_away"}[rounding]
            expected = [min(max(twice_rounded(int(a), m, s, second) + 100, 0), 255) for a in acc[0, c].ravel()]
        else:
            expected = [scaled(int(a), m, s, rounding, 100, first, 0, 255) for a in acc[0, c].ravel()]
        assert row.ravel().tolist() == expected


def twice_rounded(acc: int, multiplier: int, shift: int, second: str) -> int:
    """What engines do in C: a doubling high multiplication, then a shift that rounds."""
    high = rounded(Fraction((acc << max(31 - shift, 0)) * multiplier, 1 << 31), "half_up")
    return int(rounded(Fraction(high, 1 << max(shift - 31, 0)), second))


@pytest.mark.parametrize(("engine", "second"), [("ruy", "half_up"), ("gemmlowp_double", "half_away")])
@given(
    isa=st.sampled_from(ISAS),
    largest=st.sampled_from([60, 1 << 12, 1 << 20]),
    shift=st.integers(24, 62),
    zero_point=st.integers(-200, 200),
    seed=st.integers(0, 1 << 32),
)
def test_engines_that_round_twice(
    engine: str, second: str, isa: str, largest: int, shift: int, zero_point: int, seed: int
) -> None:
    """Ties of either rounding, of both signs: multipliers with few bits put many accumulators there."""
    rng = np.random.default_rng(seed)
    kept = rng.integers(0, 31, 17)  # bits that are zero at the multiplier's end
    multiplier = (rng.integers(1 << 30, 1 << 31, 17) >> kept << kept).tolist()
    shifts = (shift - rng.integers(0, 3, 17)).tolist()
    acc = rng.integers(-largest, largest, (40, 17))
    acc[:2] = [[-largest], [largest - 1]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INTSIM_ISA", isa)
        spec = scale_spec(multiplier, shifts, engine, zero_point, False, -128, 127, 8, -128)
        result = requantize(spec, acc, 8, -largest, largest - 1)
    expected = [
        [min(max(twice_rounded(a, m, s, second) + zero_point, -128), 127) + 128
         for a, m, s in zip(row, multiplier, shifts, strict=True)]
        for row in acc.tolist()
    ]  # fmt: skip
    assert result.tolist() == expected


@given(
    isa=st.sampled_from(ISAS),
    single=st.booleans(),
    first=st.booleans(),
    largest=st.sampled_from([100, 1 << 24, 1 << 31]),
    exponent=st.integers(-40, 20),
    ties=st.booleans(),
    zero_point=st.sampled_from([0, 1, -3, 128, 1 << 20]),
    seed=st.integers(0, 1 << 32),
)
def test_scales_in_floating_point(
    isa: str, single: bool, first: bool, largest: int, exponent: int, ties: bool, zero_point: int, seed: int
) -> None:
    """Products that round to a tie, or overflow: NumPy's own float32 and float64, which round as IEEE 754 says."""
    real, first = (np.float32, False) if single else (np.float64, first)
    rng = np.random.default_rng(seed)
    scale = np.ldexp(np.full(17, 0.5) if ties else rng.uniform(-1, 1, 17), exponent).astype(real)
    acc = rng.integers(-largest, largest, (40, 17)) >> rng.integers(0, 20, (40, 17))
    acc[:2] = [[-largest], [largest - 1]]
    bounds = (-128, 127) if zero_point < 200 else (-100, 100)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INTSIM_ISA", isa)
        spec = native.FloatSpec(scale.astype(np.float64), single, zero_point, first, *bounds, 8, -128)
        result = requantize(spec, acc, 8, -largest, largest - 1)
    product = acc.astype(real) * scale
    level = np.rint(product + zero_point) if first else np.rint(product).astype(np.float64) + zero_point
    np.testing.assert_array_equal(result, np.clip(level, *bounds).astype(np.int64) + 128)


def counted(acc: Any, thresholds: Any, base: Any, strict: Any, descending: Any) -> Any:
    reached = {
        (False, False): lambda t: acc >= t,
        (True, False): lambda t: acc > t,
        (False, True): lambda t: acc <= t,
        (True, True): lambda t: acc < t,
    }[bool(strict), bool(descending)]
    return base + sum(map(reached, thresholds))


@given(
    isa=st.sampled_from(ISAS),
    channels=st.integers(1, 19),
    bits=st.integers(1, 8),
    signed=st.booleans(),
    center=st.sampled_from([0, 32758, 32767, -32759, -32768, (1 << 31) - 1, -(1 << 31), 1 << 20]),
    seed=st.integers(0, 1 << 32),
)
def test_thresholds(isa: str, channels: int, bits: int, signed: bool, center: int, seed: int) -> None:
    """Duplicates, both sides and directions, values on and beside the thresholds, at the ends of int16 and int32."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(0, min(13, 1 << bits)))
    near = max(center - 9, INT32[0]), min(center + 9, INT32[1]) + 1
    rows = rng.integers(*near, (channels, count))
    ends = rng.choice([-(1 << 63), (1 << 63) - 1], rows.shape)  # rows are filled up with these
    thresholds = np.sort(np.where(rng.random(rows.shape) < 0.2, ends, rows), axis=1)
    smallest = -(1 << bits - 1) if signed else 0
    base = rng.integers(smallest, smallest + (1 << bits) - count, channels)
    strict, descending = rng.integers(0, 2, (2, channels))
    around = max(center - 12, INT32[0]), min(center + 12, INT32[1]) + 1
    acc = rng.integers(*around, (9, channels))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INTSIM_ISA", isa)
        result = requantize(native.ThresholdSpec(thresholds, base, strict, descending, bits, smallest), acc, bits)
    columns = list(zip(thresholds, base, strict, descending, strict=True))
    assert result.tolist() == [[counted(a, *c) - smallest for a, c in zip(r, columns, strict=True)] for r in acc]


@given(
    isa=st.sampled_from(ISAS),
    bits=st.integers(5, 8),
    reach=st.sampled_from([300, 30_000, 1 << 24, (1 << 31) - 2]),
    spacing=st.sampled_from(["even", "anywhere", "together"]),
    seed=st.integers(0, 1 << 32),
)
def test_many_thresholds(isa: str, bits: int, reach: int, spacing: str, seed: int) -> None:
    """Wherever they lie, and for accumulators on, beside, between and beyond them."""
    rng, count = np.random.default_rng(seed), (1 << bits) - 1
    steps = {"even": 1.0, "anywhere": rng.uniform(0, 2, (17, count)), "together": rng.uniform(0, 2, (17, count)) ** 9}
    rows = np.cumsum(np.broadcast_to(steps[spacing], (17, count)), axis=1)
    thresholds = ((2 * rows / rows[:, -1:] - 1) * rng.uniform(0.1, 1, (17, 1)) * reach).astype(np.int64)
    thresholds[5], thresholds[6, : count // 2] = (1 << 63) - 1, -(1 << 63)  # none and half of them are reachable
    strict, descending = rng.integers(0, 2, (2, 17))
    beside = rng.integers(-1, 2, (30, 17)) + thresholds[np.arange(17), rng.integers(0, count, (30, 17))]
    acc = np.concatenate([np.clip(beside, -reach, reach), rng.integers(-reach, reach, (30, 17))])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INTSIM_ISA", isa)
        spec = native.ThresholdSpec(thresholds, np.zeros(17, np.int64), strict, descending, bits, 0)
        result = requantize(spec, acc, bits)
    for column, row, side, down, codes in zip(acc.T, thresholds, strict, descending, result.T, strict=True):
        above = column[:, None] > row if side else column[:, None] >= row
        below = column[:, None] < row if side else column[:, None] <= row
        np.testing.assert_array_equal(codes, np.sum(below if down else above, axis=1))


@given(
    isa=st.sampled_from(ISAS),
    bits=st.integers(3, 6),
    spacing=st.floats(0.2, 3000),
    start=st.floats(-4000, 4000),
    reach=st.sampled_from([20, 1000, 1 << 24, (1 << 31) - 1]),
    moved=st.booleans(),
    seed=st.integers(0, 999),
)
def test_even_thresholds(isa: str, bits: int, spacing: float, start: float, reach: int, moved: bool, seed: int) -> None:
    """As uniform quantizers have them, both directions, on and beside every threshold; some are out of reach."""
    rng = np.random.default_rng(seed)
    count = (1 << bits) - 1
    steps = spacing * rng.uniform(0.5, 2, (17, 1))
    thresholds = np.ceil(start * rng.uniform(-1, 1, (17, 1)) + steps * np.arange(count)).astype(np.int64)
    if moved:
        thresholds[rng.integers(0, 17), rng.integers(0, count)] += 1  # a line must not hide it
        thresholds.sort(axis=1)
    strict, descending = rng.integers(0, 2, (2, 17))
    beside = (thresholds[:, None] + np.arange(-2, 3)[:, None]).reshape(17, -1)
    acc = np.clip(np.hstack([beside, np.full((17, 2), [-reach, reach])]), -reach, reach).T
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INTSIM_ISA", isa)
        spec = native.ThresholdSpec(thresholds, np.zeros(17, np.int64), strict, descending, bits, 0)
        result = requantize(spec, acc, bits, -reach, reach)
    for column, row, side, down, codes in zip(acc.T, thresholds, strict, descending, result.T, strict=True):
        above = column[:, None] > row if side else column[:, None] >= row
        below = column[:, None] < row if side else column[:, None] <= row
        np.testing.assert_array_equal(codes, np.sum(below if down else above, axis=1))


EPILOGUES = [kernel for kernel in native.kernels() if kernel.op == "epilogue"]


@pytest.mark.parametrize("kernel", EPILOGUES, ids=lambda kernel: kernel.name)
@pytest.mark.parametrize("act_bits", range(2, 9))
def test_every_epilogue_kernel_behind_a_convolution(
    kernel: Any, act_bits: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fused after a layer of several panels and a tail, for every width of the result."""
    monkeypatch.setenv("INTSIM_ISA", kernel.isa)
    rng = np.random.default_rng(act_bits)
    x, weights = rng.integers(0, 16, (2, 9, 7, 7)), rng.integers(-8, 8, (37, 9, 3, 3))
    bias = np.zeros(37, np.int64)
    acc, top = convolve(x, weights, bias), (1 << act_bits) - 1
    rounding = "gemmlowp_double" if kernel.scheme == "highwordsigned" else "half_even"
    if (kernel.scheme == "buckets" and act_bits < 6) or (kernel.scheme == "line" and not 3 <= act_bits <= 5):
        pytest.skip("few thresholds are counted, and many need not be on a line")
    if kernel.scheme in ("buckets", "line"):
        thresholds = np.ceil(np.linspace(acc.min() + 1, acc.max() - 1, top)).astype(np.int64)
        thresholds = thresholds + rng.integers(-1, 2, (37, 1))
        if kernel.scheme == "buckets":
            thresholds[:, ::2] += 3  # not evenly spaced
        flags = rng.integers(0, 2, (2, 37))
        spec = native.ThresholdSpec(thresholds, bias, *flags, act_bits, 0)
        rows = thresholds[:, :, None, None, None]
        expected = np.stack([counted(acc[:, c], rows[c], 0, *flags[:, c]) for c in range(37)], axis=1)
    elif kernel.scheme.startswith("threshold"):
        far = 1 if kernel.scheme == "threshold16" else 1 << 10  # beyond int16, within the reachable sums
        weights, acc = weights * far, acc * far
        thresholds = np.sort(rng.integers(acc.min(), acc.max(), (37, min(top, 20))), axis=1)
        flags = rng.integers(0, 2, (2, 37))
        spec = native.ThresholdSpec(thresholds, bias, *flags, act_bits, 0)
        rows = thresholds[:, :, None, None, None]
        expected = np.stack([counted(acc[:, c], rows[c], 0, *flags[:, c]) for c in range(37)], axis=1)
    else:
        multiplier, shift = {
            "shift": (1, 4),
            "highword": (1518500249, 34),
            "highwordsigned": (1518500249, 34),
            "multiplier": (3 << 20, 25),  # 3/32: ties occur
            "wide": ((1 << 31) - 1, 0),
            "float32": (3, 5),
            "float64": (3, 5),
        }[kernel.scheme]
        if kernel.scheme.startswith("float"):
            single, zero = kernel.scheme == "float32", 1
            spec = native.FloatSpec(np.full(37, multiplier / 2**shift), single, zero, False, 0, top, act_bits, 0)
        else:
            far = 0 if kernel.scheme == "wide" else 1 << 26  # where no line in float32 tells sums apart
            bias, acc, zero = bias + far, acc + far, 1 - (multiplier * far >> shift)
            spec = scale_spec(np.full(37, multiplier), np.full(37, shift), rounding, zero, False, 0, top, act_bits, 0)
        values, where = np.unique(acc, return_inverse=True)
        if rounding == "gemmlowp_double":
            codes = [min(max(twice_rounded(int(a), multiplier, shift, "half_away") + zero, 0), top) for a in values]
        else:
            codes = [scaled(int(a), multiplier, shift, rounding, zero, False, 0, top) for a in values]
        expected = np.array(codes)[where].reshape(acc.shape)
    conv = native.Conv("layer", weights, bias, 9, act_bits=4, epilogue=spec)
    assert conv.epilogue_kernel == kernel.name
    out = native.ByteImages(2, 5, 5, 37, act_bits)
    conv.run(byte_images(x, 4), (0, 0, 0, 0), 0, out, 1)
    np.testing.assert_array_equal(codes_of(out), expected)


BYTE_TILES = {f"gemm{kind}": kind for kind in ("line", "highword", "threshold16", "threshold32")}
"""Op -> the epilogue in which the tile ends."""


@pytest.mark.parametrize(
    "kernel", [kernel for kernel in native.kernels() if kernel.op in BYTE_TILES], ids=lambda kernel: kernel.name
)
@pytest.mark.parametrize("act_bits", range(1, 9))
def test_every_tile_that_ends_in_bytes(kernel: Any, act_bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A row of as many pixels as the tile has; a pair of panels and a third one, whole or a tail; the largest sums.

    Where 16-bit sums are widened more than once, tile and epilogue follow each other.
    """
    monkeypatch.setenv("INTSIM_ISA", kernel.isa)
    kind, panels, met = BYTE_TILES[kernel.op], 3, 0
    for weight_bits, (channels, outputs) in product(range(1, 9), ((3, 37), (24, 48), (67, 37))):
        rng = np.random.default_rng(weight_bits)
        x = rng.integers(0, 1 << act_bits, (2, channels, 3, kernel.mr))
        weights = rng.integers(-(1 << weight_bits - 1), 1 << weight_bits - 1, (outputs, channels, 2, 1))
        x[0], weights[0], weights[-1] = (1 << act_bits) - 1, weights.min(), weights.max()
        largest = {"threshold16": 1 << 14, "threshold32": 1 << 26}.get(kind, 1 << 18)
        bias = rng.integers(-largest, largest, outputs)
        if kind == "highword":  # where no line in float32 tells sums apart
            bias = (1 << 27) + bias // (1 << 10)
        acc = convolve(x, weights, bias)
        lowest, spread = acc.min(axis=(0, 2, 3))[:, None], np.ptp(acc, axis=(0, 2, 3))[:, None] // 20 + 8
        if kind == "highword":
            multiplier, shift = int(rng.integers(1 << 30, 1 << 31)), 32 + int(np.log2(spread.max()))
            zero = 7 - (multiplier * int(acc.mean()) >> shift)
            scales = np.full(outputs, multiplier), np.full(outputs, shift)
            spec = scale_spec(*scales, "half_up", zero, False, 0, 15, 4)
            expected = np.clip((acc * multiplier + (1 << shift - 1) >> shift) + zero, 0, 15)
        else:
            places = np.arange(2, 17) if kind == "line" else np.array([2, 5, 14])
            rows = lowest + spread * places + rng.integers(0, 5, (outputs, 1))
            if kind == "threshold16":
                rows = np.clip(rows, -32767, 32766)
            flags = rng.integers(0, 2, (2, outputs))
            spec = native.ThresholdSpec(rows, np.zeros(outputs, np.int64), *flags, 4, 0)
            codes = [counted(acc[:, c], rows[c][:, None, None, None], 0, *flags[:, c]) for c in range(outputs)]
            expected = np.stack(codes, axis=1)
        conv = native.Conv("layer", weights, bias, channels, act_bits=act_bits, epilogue=spec)
        in_one = conv.scheme == kernel.scheme and f"_{kind}_" in conv.epilogue_kernel
        in_one = in_one and (kernel.scheme == "dot" or conv.flushes == panels)
        assert conv.kernel.startswith(f"{kernel.op}_") == in_one
        met += in_one
        out = native.ByteImages(2, 2, kernel.mr, outputs, 4, (1, 1, 1, 1), 9)
        conv.run(byte_images(x, act_bits), (0, 0, 0, 0), 0, out, 1)
        np.testing.assert_array_equal(codes_of(out), expected)
    assert met or act_bits < 3  # few of whose sums reach a threshold


def test_results_go_around_the_halo(isa: str) -> None:
    """An epilogue writes the interior only: what the next layer pads with stays what it was."""
    rng = np.random.default_rng(0)
    x, weights = rng.integers(0, 16, (2, 5, 6, 6)), rng.integers(-8, 8, (21, 5, 1, 1))
    next_weights, zeros = rng.integers(-8, 8, (3, 21, 3, 3)), np.zeros(21, np.int64)
    middle = native.ByteImages(2, 6, 6, 21, 4, (1, 1, 1, 1), 9)
    spec = scale_spec(np.ones(21), np.full(21, 3), "floor", 0, False, 0, 15, 4, 0)
    for _ in range(2):
        native.Conv("layer", weights, zeros, 5, act_bits=4, epilogue=spec).run(
            byte_images(x, 4), (0, 0, 0, 0), 0, middle, 2
        )
    out = native.Int32Images(2, 6, 6, 3)
    native.Conv("next", next_weights, zeros[:3], 21, act_bits=4).run(middle, (1, 1, 1, 1), 9, out, 2)
    codes = np.clip(convolve(x, weights, zeros) >> 3, 0, 15)
    expected = convolve(codes, next_weights, zeros[:3], padding=(1, 1, 1, 1), pad_code=9)
    np.testing.assert_array_equal(native.export_accumulators(out, 1), expected)
