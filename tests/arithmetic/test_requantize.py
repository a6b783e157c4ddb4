"""Requantization against rational arithmetic, and against ONNX Runtime and the ONNX reference evaluator."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper
from onnx.reference import ReferenceEvaluator

from intsim.arithmetic.requantize import (
    EngineRule,
    dyadic,
    per_channel,
    quantize_multiplier,
    requantize_divide,
    requantize_float32,
    requantize_multiplier,
    requantize_shift,
    saturate,
)
from intsim.arithmetic.rounding import INT64_MAX, INT64_MIN, Rounding
from intsim.dtypes import S32, IntType
from tests.arithmetic.rational import RATIONAL

U8, S8, U4 = IntType.parse("u8"), IntType.parse("s8"), IntType.parse("u4")
types = st.builds(IntType, st.booleans(), st.integers(1, 64))
int32s = st.one_of(st.integers(-600, 600), st.integers(S32.min, S32.max), st.sampled_from([S32.min, S32.max]))
zero_points = st.integers(-200, 300)
roundings = st.sampled_from(list(Rounding))


def clip(value: int, out: IntType) -> int:
    return min(max(value, out.min), out.max)


@given(
    st.one_of(int32s, st.integers(INT64_MIN, INT64_MAX), st.sampled_from([INT64_MIN, INT64_MAX])),
    st.one_of(st.integers(-(2**62), 2**62), st.sampled_from([-(2**62), 2**62])),
    types,
)
def test_saturate_is_exact_even_where_the_sum_leaves_int64(level: int, zero_point: int, out: IntType) -> None:
    code = saturate(level, zero_point, out)
    assert code.dtype == out.storage
    assert int(code) == clip(level + zero_point, out)


@pytest.mark.parametrize("kind", ["s64", "u64"])
def test_saturate_keeps_the_largest_int64(kind: str) -> None:
    assert int(saturate(INT64_MAX, 0, IntType.parse(kind))) == INT64_MAX


@given(int32s, st.integers(-20, 70), zero_points, types, roundings, st.booleans())
def test_shift(acc: int, shift: int, zero_point: int, out: IntType, rounding: Rounding, first: bool) -> None:
    exact = Fraction(acc) / Fraction(2) ** shift
    q = RATIONAL[rounding](exact + zero_point) if first else RATIONAL[rounding](exact) + zero_point
    assert int(requantize_shift(acc, shift, zero_point, out, rounding, first)) == clip(q, out)


@given(int32s, st.integers(-(2**31), 2**31), st.integers(-1, 62), zero_points, roundings, st.booleans())
def test_multiplier(acc: int, multiplier: int, shift: int, zero_point: int, rounding: Rounding, first: bool) -> None:
    exact = Fraction(acc * multiplier) / Fraction(2) ** shift
    q = RATIONAL[rounding](exact + zero_point) if first else RATIONAL[rounding](exact) + zero_point
    if shift >= 0 or abs(acc * multiplier) < 2**62:
        code = requantize_multiplier(acc, multiplier, shift, zero_point, U8, rounding, first)
        assert int(code) == clip(q, U8)


def test_a_product_beyond_int64_is_an_error_and_not_a_wrong_code() -> None:
    with pytest.raises(OverflowError, match="use a multiplier of fewer bits"):
        requantize_multiplier(2**40, 2**30, 50, 0, U8, Rounding.HALF_EVEN)


@given(
    int32s, st.integers(1, 10_000), st.integers(0, 2**20), st.integers(-3, 30), zero_points, st.sampled_from(Rounding)
)
def test_divide(total: int, count: int, multiplier: int, shift: int, zero_point: int, rounding: Rounding) -> None:
    exact = Fraction(total * multiplier, count) / Fraction(2) ** shift
    code = requantize_divide(total, count, zero_point, S8, rounding, multiplier, shift)
    assert int(code) == clip(RATIONAL[rounding](exact) + zero_point, S8)


def test_average_pool_counts_broadcast_over_positions() -> None:
    total = np.array([[[[3, 9], [-3, -9]]]])  # (N, C, H, W)
    count = np.array([[2, 6], [2, 6]])  # (H, W)
    assert requantize_divide(total, count, 0, S8, Rounding.HALF_AWAY).tolist() == [[[[2, 2], [-2, -2]]]]
    assert requantize_divide(total, count, 0, S8, Rounding.HALF_EVEN).tolist() == [[[[2, 2], [-2, -2]]]]
    assert requantize_divide(total, count, 0, S8, Rounding.HALF_UP).tolist() == [[[[2, 2], [-1, -1]]]]


def test_the_order_of_the_zero_point_matters_at_ties_only_when_it_is_odd() -> None:
    """methods.md 0.1, measured there: with an odd zero point every tie of -4..4 goes the other way."""
    ties = np.arange(-7, 8, 2)  # -3.5, -2.5 ... 3.5 when halved
    for zero_point, all_differ in ((8, False), (9, True)):
        after = requantize_shift(ties, 1, zero_point, U8, Rounding.HALF_EVEN)
        before = requantize_shift(ties, 1, zero_point, U8, Rounding.HALF_EVEN, zero_point_first=True)
        assert ((after != before) == all_differ).all()


def test_parameters_lie_along_the_channel_axis() -> None:
    assert per_channel(np.int8(3), 4).shape == ()
    assert per_channel(np.arange(5), 4).shape == (1, 5, 1, 1)
    assert per_channel(np.arange(5), 3, axis=-1).shape == (1, 1, 5)
    assert per_channel(np.zeros((5, 1, 1)), 3).shape == (5, 1, 1)
    for shape, ndim, axis in (((5, 2), 4, 1), ((5,), 3, 3), ((5,), 0, 1)):
        with pytest.raises(ValueError, match="does not lie along axis"):
            per_channel(np.zeros(shape), ndim, axis)
    acc = np.full((2, 3, 4, 5), 64)
    codes = requantize_shift(acc, np.array([1, 2, 3], np.int8), 0, U8, Rounding.FLOOR)
    assert (codes.dtype, codes.shape, codes[0, :, 0, 0].tolist()) == (np.uint8, acc.shape, [32, 16, 8])


@given(st.floats(2.0**-40, 2.0**30, exclude_max=True))
def test_quantize_multiplier_is_the_nearest_q31(real: float) -> None:
    try:
        multiplier, exponent = quantize_multiplier(real)
    except ValueError:
        assert math.ldexp(real, -30) > 1 - 2.0**-31
        return
    if multiplier == 0:
        assert exponent == 0
        assert real < 2.0**-32
    else:
        assert 2**30 <= multiplier < 2**31
        # half a unit of the last place, whatever side a tie takes
        assert abs(Fraction(real) - Fraction(multiplier) * Fraction(2) ** (exponent - 31)) <= Fraction(2) ** (
            exponent - 32
        )


def test_quantize_multiplier_at_its_edges() -> None:
    assert quantize_multiplier(0.0) == (0, 0)
    assert quantize_multiplier(0.5) == (2**30, 0)
    assert quantize_multiplier(1.0) == (2**30, 1)
    assert quantize_multiplier(1.0 - 2.0**-40) == (2**30, 1)  # carries into the exponent
    assert quantize_multiplier((2**30 + 0.5) / 2**31) == (2**30 + 1, 0)  # a tie goes up
    assert quantize_multiplier(2.0**-32) == (2**30, -31)
    assert quantize_multiplier(2.0**-33) == (0, 0)
    for bad in (-1.0, math.nan, math.inf, 2.0**30):
        with pytest.raises(ValueError, match="a scale must be"):
            quantize_multiplier(bad)


@given(
    st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.integers(-(2**20), 2**20).map(float)),
    st.integers(1, 62),
)
def test_dyadic_is_the_nearest_with_that_many_bits(real: float, bits: int) -> None:
    multiplier, shift = (int(part) for part in dyadic(real, bits))
    if real == 0:
        assert (multiplier, shift) == (0, 0)
        return
    assert 2 ** (bits - 1) <= abs(multiplier) < 2**bits

    def error(m: int) -> Fraction:
        return abs(Fraction(real) - m / Fraction(2) ** shift)

    assert error(multiplier) <= min(error(multiplier - 1), error(multiplier + 1))
    assert error(multiplier) <= Fraction(1, 2) / Fraction(2) ** shift
    if error(multiplier) in (error(multiplier - 1), error(multiplier + 1)):
        assert multiplier % 2 == 0 or bits == 1


def test_dyadic_refuses_what_has_no_multiplier() -> None:
    with pytest.raises(ValueError, match="1 of 2 scales"):
        dyadic([1.0, math.nan], 8)
    with pytest.raises(ValueError, match="1 to 62 bits"):
        dyadic(1.0, 63)


def qlinear_matmul(operands: str, scale: float, zero_point: int) -> onnx.ModelProto:
    """QLinearMatMul of (M, K) and (K, N) codes whose accumulator is scaled by `scale`."""
    real, kind = onnx.TensorProto.FLOAT, onnx.TensorProto.UINT8 if operands == "u8" else onnx.TensorProto.INT8
    graph = helper.make_graph(
        [helper.make_node("QLinearMatMul", ["a", "one", "zero", "b", "scale", "zero", "one", "zero_point"], ["y"])],
        "matmul",
        [helper.make_tensor_value_info(name, kind, [None, None]) for name in "ab"],
        [helper.make_tensor_value_info("y", kind, [None, None])],
        [
            helper.make_tensor("one", real, [], [1.0]),
            helper.make_tensor("scale", real, [], [scale]),
            helper.make_tensor("zero", kind, [], [0]),
            helper.make_tensor("zero_point", kind, [], [zero_point]),
        ],
    )
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)])


@pytest.mark.parametrize("zero_point", [0, 3, 100])
@pytest.mark.parametrize("scale", [0.5, 2.0**-9, 0.0123, 0.0007])
@pytest.mark.parametrize("operands", ["u8", "s8"])
def test_float32_is_onnx_runtime_and_its_reference(operands: str, scale: float, zero_point: int) -> None:
    """Operands of one signedness only: u8 times s8 saturates at int16 on processors without VNNI."""
    generator = np.random.default_rng(0)
    out = IntType.parse(operands)
    a = generator.integers(out.min // 4, out.max // 4 + 1, (64, 48)).astype(out.storage)
    b = generator.integers(out.min // 4, out.max // 4 + 1, (48, 96)).astype(out.storage)
    acc = a.astype(np.int64) @ b.astype(np.int64)
    model = qlinear_matmul(operands, scale, zero_point)
    runtime = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(
        requantize_float32(acc, np.float32(scale), zero_point, out), runtime.run(None, {"a": a, "b": b})[0]
    )
    expected = ReferenceEvaluator(model).run(None, {"a": a, "b": b})
    assert isinstance(expected, list)
    np.testing.assert_array_equal(
        requantize_float32(acc, np.float32(scale), zero_point, out, zero_point_first=True), expected[0]
    )


def test_float32_rounds_the_accumulator_and_the_product() -> None:
    acc = 2**24 + 1  # no float32
    assert requantize_float32(acc, np.float32(1), 0, S32) == 2**24
    assert requantize_float32(acc, np.float32(1), 0, S32, zero_point_first=True) == acc
    assert requantize_float32(2**31 - 1, np.float32(3e38), -5, S8) == 127
    assert requantize_float32(-(2**31), np.float32(1), 5, S32) == -(2**31) + 5


def test_bad_parameters_are_refused() -> None:
    with pytest.raises(TypeError, match="must be float32"):
        requantize_float32(1, np.float64(1), 0, S8)
    with pytest.raises(ValueError, match="infinite or NaN"):
        requantize_float32(1, np.float32(np.nan), 0, S8)
    with pytest.raises(ValueError, match="at most 32 bits"):
        requantize_float32(1, np.float32(1), 0, IntType.parse("s33"))
    with pytest.raises(ValueError, match="never before"):
        requantize_multiplier(1, 2**30, 31, 0, S8, EngineRule.RUY, zero_point_first=True)
    with pytest.raises(ValueError, match=r"at most 2\*\*62"):
        saturate(0, -(2**63), U4)
    with pytest.raises(TypeError, match="must be integer"):
        requantize_shift(np.zeros(3), 1, 0, U4, Rounding.FLOOR)
