"""Engine rules against the engines' own formulas on Python integers, and against LiteRT itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intsim.arithmetic.requantize import (
    EngineRule,
    engine_round,
    quantize_multiplier,
    requantize_float32,
    requantize_multiplier,
)
from intsim.dtypes import IntType

S8 = IntType.parse("s8")


def truncating_divide(a: int, b: int) -> int:
    """C's division."""
    return abs(a) // b * (1 if a >= 0 else -1)


def srdhm(a: int, b: int) -> int:
    """gemmlowp's SaturatingRoundingDoublingHighMul: a nudge with the product's sign, then C's division."""
    if a == b == -(2**31):
        return 2**31 - 1
    return truncating_divide(a * b + (2**30 if a * b >= 0 else 1 - 2**30), 2**31)


def rounding_divide_by_pot(x: int, exponent: int) -> int:
    """gemmlowp's RoundingDivideByPOT: mask, remainder and threshold."""
    mask = (1 << exponent) - 1
    threshold = (mask >> 1) + (1 if x < 0 else 0)
    return (x >> exponent) + (1 if (x & mask) > threshold else 0)


def gemmlowp_double(acc: int, m: int, s: int) -> int:
    return rounding_divide_by_pot(srdhm(acc << max(s, 0), m), max(-s, 0))


def tosa_double_round(acc: int, m: int, s: int) -> int:
    """TOSA apply_scale_32 with double_round, which is meant to equal gemmlowp's."""
    shift = 31 - s
    constant = 1 << (shift - 1)
    if shift > 31:
        constant += 1 << 30 if acc >= 0 else -(1 << 30)
    return (acc * m + constant) >> shift


def ruy(acc: int, m: int, s: int) -> int:
    high, right = srdhm(acc << max(s, 0), m), max(-s, 0)
    return (high + (1 << (right - 1))) >> right if right else high


def single_round(acc: int, m: int, s: int) -> int:
    return (acc * m + (1 << (30 - s))) >> (31 - s)


def reduced(m: int) -> int:
    return (m + (1 << 15)) >> 16 if m < 0x7FFF0000 else 0x7FFF


def tflite_int16(acc: int, m: int, s: int) -> int:
    return (acc * reduced(m) + (1 << (14 - s))) >> (15 - s)


def cmsis_s64(acc: int, m: int, s: int) -> int:
    return ((acc * reduced(m) >> (14 - s)) + 1) >> 1


def nemo(acc: int, m: int, s: int) -> int:
    return acc * m >> (31 - s)


FORMULAS: list[tuple[EngineRule, Callable[[int, int, int], int], int]] = [  # with the width of the accumulator
    (EngineRule.GEMMLOWP_DOUBLE, gemmlowp_double, 32),
    (EngineRule.GEMMLOWP_DOUBLE, tosa_double_round, 32),
    (EngineRule.RUY, ruy, 32),
    (EngineRule.SINGLE_ROUND, single_round, 32),
    (EngineRule.TFLITE_INT16, tflite_int16, 48),
    (EngineRule.CMSIS_S64, cmsis_s64, 48),
    (EngineRule.PULP, single_round, 32),
    (EngineRule.NEMO, nemo, 32),
]


def near_powers(bits: int) -> st.SearchStrategy[int]:
    """Signed integers of that width, many of them near powers of two, where ties and carries live."""
    limit = 2 ** (bits - 1)
    near = st.builds(lambda p, d, sign: sign * (2**p + d), st.integers(0, bits - 2), st.integers(-3, 2), st.just(1))
    return st.one_of(st.integers(-40_000, 40_000), near, near.map(lambda x: -x), st.integers(-limit, limit - 1))


multipliers = st.one_of(
    st.integers(2**30, 2**31 - 1), st.sampled_from([2**30, 3 * 2**29, 2**31 - 2**16, 2**31 - 1, 0]), st.integers(0, 99)
)


@pytest.mark.parametrize(("rule", "formula", "acc_bits"), FORMULAS)
@given(st.data())
def test_a_rule_is_the_engines_formula(
    rule: EngineRule, formula: Callable[[int, int, int], int], acc_bits: int, data: st.DataObject
) -> None:
    acc = data.draw(near_powers(acc_bits))
    multiplier, exponent = data.draw(multipliers), data.draw(st.integers(-31, 7))
    left_shift_fits = -(2**31) <= acc << max(exponent, 0) < 2**31
    expected = formula(acc, multiplier, exponent)
    if abs(expected) < 2**30 and (left_shift_fits or acc_bits > 32):
        assert engine_round(acc, multiplier, exponent, rule) == expected
        code = requantize_multiplier(acc, multiplier, 31 - exponent, -3, S8, rule)
        assert code == min(max(expected - 3, -128), 127)


@given(near_powers(48), st.integers(0, 2**15 - 1), st.integers(2, 62))
def test_tosa_scale16(acc: int, multiplier: int, shift: int) -> None:
    expected = (acc * multiplier + (1 << (shift - 1))) >> shift
    if abs(expected) < 2**31:
        assert engine_round(acc, multiplier, 31 - shift, EngineRule.TOSA_SCALE16) == expected


@given(near_powers(32), multipliers, st.integers(-31, 7))
def test_hawq_dyadic_is_python_float_arithmetic(acc: int, multiplier: int, exponent: int) -> None:
    expected = round(float(acc) * multiplier / 2.0 ** (31 - exponent))
    assert engine_round(acc, multiplier, exponent, EngineRule.HAWQ_DYADIC) == expected


def test_the_rules_differ_where_they_are_known_to() -> None:
    """-3/2**1 and ties after the first rounding: away from zero, up, and what rounding twice makes of 0.49."""
    half = 2**30  # a multiplier of one half
    rules = (EngineRule.GEMMLOWP_DOUBLE, EngineRule.RUY, EngineRule.SINGLE_ROUND, EngineRule.NEMO)

    def quarter(acc: int) -> list[int]:
        return [int(engine_round(acc, half, -1, rule)) for rule in rules]

    assert quarter(-3 * 2) == [-2, -1, -1, -2]  # -1.5: a tie
    assert quarter(1) == [1, 1, 0, 0]  # 0.25 becomes 0.5 (half up: 1) and then one
    assert quarter(-4) == [-1, -1, -1, -1]


def test_a_reduced_multiplier_stays_below_one() -> None:
    for rule in (EngineRule.TFLITE_INT16, EngineRule.CMSIS_S64):
        assert engine_round(2**20, 2**31 - 1, 0, rule) == 2**20 * 0x7FFF // 2**15


@pytest.mark.parametrize(
    ("rule", "acc", "multiplier", "exponent"),
    [
        (EngineRule.GEMMLOWP_DOUBLE, 2**31, 2**30, 0),
        (EngineRule.RUY, 2**30, 2**30, 1),
        (EngineRule.SINGLE_ROUND, 2**31 - 1, 2**31 - 1, 1),
        (EngineRule.TFLITE_INT16, 2**47, 2**30, -20),
        (EngineRule.CMSIS_S64, 2**30, 2**30, 2),
        (EngineRule.HAWQ_DYADIC, 2**31 - 1, 2**31 - 1, 31 + 32),
    ],
)
def test_what_overflows_in_the_engine_is_an_error(rule: EngineRule, acc: int, multiplier: int, exponent: int) -> None:
    with pytest.raises(OverflowError):
        engine_round(acc, multiplier, exponent, rule)


@pytest.mark.parametrize(
    ("rule", "multiplier"),
    [(EngineRule.RUY, -1), (EngineRule.RUY, 2**31), (EngineRule.TOSA_SCALE16, 2**15)],
)
def test_a_multiplier_that_the_engine_cannot_hold_is_refused(rule: EngineRule, multiplier: int) -> None:
    with pytest.raises(ValueError, match="a multiplier must be in"):
        engine_round(1, multiplier, 0, rule)


# LiteRT rounds in three ways, by kernel library and operator; None stands for float32. AUTO and BUILTIN both apply the
# XNNPACK delegate, so that the optimised builtin kernels are seen only without the default delegates.
LITERT_RULES = [
    ("BUILTIN_REF", "CONV_2D", EngineRule.GEMMLOWP_DOUBLE),
    ("BUILTIN_REF", "FULLY_CONNECTED", EngineRule.SINGLE_ROUND),
    ("BUILTIN_WITHOUT_DEFAULT_DELEGATES", "CONV_2D", EngineRule.RUY),
    ("BUILTIN_WITHOUT_DEFAULT_DELEGATES", "FULLY_CONNECTED", EngineRule.RUY),
    ("AUTO", "CONV_2D", None),
    ("AUTO", "FULLY_CONNECTED", None),
]


def litert_run(model: Path, resolver: str) -> Any:
    """LiteRT after one invocation on random codes, every intermediate tensor kept."""
    litert = pytest.importorskip("ai_edge_litert.interpreter", reason="needs ai-edge-litert")
    interpreter = litert.Interpreter(
        str(model),
        experimental_op_resolver_type=litert.OpResolverType[resolver],
        experimental_preserve_all_tensors=True,
        num_threads=1,
    )
    interpreter.allocate_tensors()
    entry = interpreter.get_input_details()[0]
    codes = np.random.default_rng(0).integers(-128, 128, entry["shape"])
    interpreter.set_tensor(entry["index"], codes.astype(np.int8))
    interpreter.invoke()
    return interpreter


def multipliers_of(rule: EngineRule | None, scale_x: np.float32, scale_w: Any, scale_y: np.float32, op: str) -> Any:
    """float32 factors for XNNPACK; else the Q31 pair of each channel, the product of FULLY_CONNECTED being float32."""
    if rule is None:
        return scale_x * scale_w / scale_y
    wide = np.float32 if op == "FULLY_CONNECTED" else np.float64
    pairs = [quantize_multiplier(float(wide(scale_x) * wide(w)) / float(scale_y)) for w in scale_w]
    multiplier, exponent = np.array(pairs).T
    return multiplier, 31 - exponent


@pytest.mark.filterwarnings("ignore:.*experimental_preserve_all_tensors")
@pytest.mark.parametrize(("resolver", "op", "rule"), LITERT_RULES)
def test_litert_rounds_by_this_rule(shared: Path, resolver: str, op: str, rule: EngineRule | None) -> None:
    """Every 1x1 convolution of VWW, and every fully connected layer of AD01, from the tensors that LiteRT kept."""
    model = shared / "tflite" / ("vww_96_int8.tflite" if op == "CONV_2D" else "ad01_int8.tflite")
    interpreter = litert_run(model, resolver)
    tensors = {tensor["index"]: tensor for tensor in interpreter.get_tensor_details()}
    compared = 0
    for node in interpreter._get_ops_details():
        if node["op_name"] != op or (op == "CONV_2D" and tuple(tensors[node["inputs"][1]]["shape"][1:3]) != (1, 1)):
            continue
        x, weight, bias = (interpreter.get_tensor(index).astype(np.int64) for index in node["inputs"])
        expected = interpreter.get_tensor(node["outputs"][0])
        quantization = [tensors[i]["quantization_parameters"] for i in [*node["inputs"][:2], *node["outputs"]]]
        (scale_x,), scale_w, (scale_y,) = (parameters["scales"] for parameters in quantization)
        (zero_x,), _, (zero_y,) = (parameters["zero_points"] for parameters in quantization)

        acc = (x - zero_x).reshape(-1, weight.shape[-1]) @ weight.reshape(weight.shape[0], -1).T + bias
        scale = multipliers_of(rule, scale_x, scale_w, scale_y, op)
        if rule is None:
            codes = requantize_float32(acc, scale, zero_y, S8)
        else:
            multiplier, shift = (part if part.size > 1 else part[0] for part in scale)
            codes = requantize_multiplier(acc, multiplier, shift, zero_y, S8, rule)
        np.testing.assert_array_equal(codes, expected.reshape(codes.shape))
        compared += codes.size
    assert compared > (100_000 if op == "CONV_2D" else 1_000)
