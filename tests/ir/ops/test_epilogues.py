"""Requantization, thresholds, tables, additions and slopes equal the same arithmetic in PyTorch's float64.

The numbers stay below 2**53 and are divided by powers of two, so float64 rounds only where the operator does.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from intsim.arithmetic.accumulate import Accumulator
from intsim.arithmetic.requantize import EngineRule
from intsim.arithmetic.rounding import Rounding
from intsim.dtypes import S32, IntType
from intsim.ir.ops import (
    Add,
    Mul,
    PRelu,
    Quantize,
    RequantizeFloat32,
    RequantizeMultiplier,
    RequantizeShift,
    Table,
    Threshold,
)
from intsim.ir.types import Grid, Scale, TensorType, Value, plain
from tests.ir.ops.values import evaluate, grids, random_value, same, tensor

S20, U1 = IntType(True, 20), IntType(False, 1)
ROUND: dict[Rounding, Callable[[torch.Tensor], torch.Tensor]] = {
    Rounding.HALF_EVEN: torch.round,
    Rounding.HALF_UP: lambda v: torch.floor(v + 0.5),
    Rounding.FLOOR: torch.floor,
    Rounding.CEIL: torch.ceil,
    Rounding.TOWARD_ZERO: torch.trunc,
}
roundings = st.sampled_from(list(ROUND))
axes = st.sampled_from([1, 2])


def parameter(values: object, element: IntType = S32) -> Value:
    codes = np.atleast_1d(np.asarray(values)).astype(element.storage)
    return Value(TensorType(plain(element), codes.shape), codes)


def accumulators(axis: int, seed: int = 0) -> Value:
    """Accumulators (2, 4, 5) whose channels lie along the axis."""
    return random_value(Grid(S20, Scale((1.0,)), axis=axis), (2, 4, 5), np.random.default_rng(seed))


def along(parameter: Value, axis: int) -> torch.Tensor:
    return tensor(parameter).reshape([-1 if i == axis else 1 for i in range(3)])


@st.composite
def per_channel(draw: st.DrawFn, axis: int, low: int, high: int) -> Value:
    """A parameter for all of a tensor (2, 4, 5), or one for each channel."""
    count = draw(st.sampled_from([1, 3 + axis]))
    return parameter(draw(st.lists(st.integers(low, high), min_size=count, max_size=count)))


def clamped(level: torch.Tensor, out: Grid, low: int | None, high: int | None) -> torch.Tensor:
    codes = torch.clamp(level, out.element.min, out.element.max)
    return torch.clamp(codes, out.element.min if low is None else low, out.element.max if high is None else high)


@given(axes, grids(steps=(1,)), roundings, st.booleans(), st.booleans(), st.data())
def test_requantize_shift(
    axis: int, out: Grid, rounding: Rounding, first: bool, relu: bool, data: st.DataObject
) -> None:
    shift, low = data.draw(per_channel(axis, -31, 31), label="shift"), 0 if relu else None
    acc, zero = accumulators(axis), out.zero_point[0]
    scaled = tensor(acc) / 2 ** along(shift, axis)
    level = ROUND[rounding](scaled + zero) if first else ROUND[rounding](scaled) + zero
    same(evaluate(RequantizeShift(out, rounding, first, low), acc, shift), clamped(level, out, low, None))


@given(axes, grids(steps=(1,)), roundings, st.integers(0, 3), st.data())
def test_requantize_multiplier(axis: int, out: Grid, rounding: Rounding, high: int, data: st.DataObject) -> None:
    multiplier = data.draw(per_channel(axis, -(1 << 30), 1 << 30), label="multiplier")
    shift = data.draw(per_channel(axis, 0, 62), label="shift")
    acc, low = accumulators(axis), min(high, max(out.element.min, -1))
    top = min(high, out.element.max)
    scaled = tensor(acc) * along(multiplier, axis) / 2 ** along(shift, axis)
    op = RequantizeMultiplier(out, rounding, False, low, top)
    same(evaluate(op, acc, multiplier, shift), clamped(ROUND[rounding](scaled) + out.zero_point[0], out, low, top))


def test_requantize_by_the_rule_of_an_engine() -> None:
    """Two roundings of 3 * 2**29 / 2**32, first to 1 and then half of that to 1, where one gives 0."""
    acc = Value(TensorType(Grid(S20, Scale((1.0,))), (None, 1)), np.array([[3]], np.int32))
    out = Grid(IntType(True, 8), Scale((1.0,)))
    operands = acc, parameter(1 << 29), parameter(32)
    assert evaluate(RequantizeMultiplier(out, EngineRule.GEMMLOWP_DOUBLE), *operands).item() == 1
    assert evaluate(RequantizeMultiplier(out, Rounding.HALF_AWAY), *operands).item() == 0


@given(axes, grids(steps=(1,)), st.booleans())
def test_requantize_float32(axis: int, out: Grid, per_tensor: bool) -> None:
    acc = accumulators(axis)
    factors = np.random.default_rng(0).uniform(1e-5, 1e-3, 1 if per_tensor else 3 + axis)
    op = RequantizeFloat32(out, tuple(factors), low=-2 if out.element.signed else 1)
    shape = [-1 if i == axis else 1 for i in range(3)]
    scaled = tensor(acc).float() * torch.from_numpy(factors.astype(np.float32)).reshape(shape)
    same(evaluate(op, acc), clamped(torch.round(scaled).double() + out.zero_point[0], out, op.low, None))


@given(axes, grids(), st.data())
def test_threshold(axis: int, out: Grid, data: st.DataObject) -> None:
    channels = data.draw(st.sampled_from([1, 3 + axis]), label="channels")
    levels = st.lists(st.integers(-(1 << 19), 1 << 19), min_size=3, max_size=3).map(sorted)
    rows = data.draw(st.lists(levels, min_size=channels, max_size=channels), label="thresholds")
    flags = st.lists(st.integers(0, 1), min_size=channels, max_size=channels)
    strict, descending = data.draw(flags, label="strict"), data.draw(flags, label="descending")
    acc, base = accumulators(axis), parameter([1] * channels)
    rows[0][0] = int(acc.levels.flat[5])
    rows[0].sort()
    shape = (*(channels if i == axis else 1 for i in range(3)), 3)
    v, t = tensor(acc)[..., None], torch.tensor(rows, dtype=torch.float64).reshape(shape)
    s, d = (torch.tensor(f, dtype=torch.bool).reshape(*shape[:3], 1) for f in (strict, descending))
    reached = torch.where(d, torch.where(s, v < t, v <= t), torch.where(s, v > t, v >= t))
    op = Threshold(Grid(IntType(False, 3), Scale((1.0,))))
    operands = parameter(rows), base, parameter(strict, U1), parameter(descending, U1)
    op.check_parameters(*operands)
    same(evaluate(op, acc, *operands), 1 + reached.sum(-1).double())


@given(grids(), st.integers(0, 1000))
def test_a_table_is_indexed_from_the_smallest_code(grid: Grid, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = random_value(grid, (3, 4), rng)
    table = random_value(plain(IntType(True, 6)), (1 << grid.element.bits,), rng, batched=False)
    codes = evaluate(Table(Grid(IntType(True, 6), Scale((1.0,)))), x, table)
    by_code = dict(zip(range(grid.element.min, grid.element.max + 1), table.codes, strict=True))
    assert codes.tolist() == [[by_code[int(c)] for c in row] for row in x.codes]


@given(axes, grids(steps=(1,)), roundings, st.integers(1, 3), st.data())
def test_an_addition_rounds_once(axis: int, out: Grid, rounding: Rounding, count: int, data: st.DataObject) -> None:
    terms = [accumulators(axis, seed) for seed in range(count)]
    multipliers = [data.draw(per_channel(axis, -(1 << 30), 1 << 30), label="multiplier") for _ in terms]
    shift = data.draw(per_channel(axis, 0, 62), label="shift")
    products = [tensor(t) * along(m, axis) for t, m in zip(terms, multipliers, strict=True)]
    level = ROUND[rounding](torch.stack(products).sum(0) / 2 ** along(shift, axis)) + out.zero_point[0]
    same(evaluate(Add(out, rounding), *terms, *multipliers, shift), clamped(level, out, None, None))


def test_an_addition_out_of_int64_is_an_error() -> None:
    wide = Value(TensorType(plain(IntType(True, 64)), (None, 1)), np.array([[1 << 62]]))
    op = Add(Grid(S32, Scale((1.0,))), Rounding.FLOOR)
    with pytest.raises(OverflowError, match="a sum of products leaves int64"):
        op.evaluate(wide, wide, parameter(1), parameter(1), parameter(0))


@given(axes, st.integers(0, 8), st.data())
def test_prelu_scales_the_negative_levels(axis: int, fraction_bits: int, data: st.DataObject) -> None:
    slope, acc = data.draw(per_channel(axis, -500, 500), label="slope"), accumulators(axis)
    codes = evaluate(PRelu(fraction_bits), acc, slope)
    weight = (along(slope, axis) / 2**fraction_bits).expand(2, 4, 5)
    same(codes, torch.where(tensor(acc) >= 0, tensor(acc), tensor(acc) * weight) * 2**fraction_bits)
    if axis == 1:
        same(codes, F.prelu(tensor(acc), along(slope, axis).flatten() / 2**fraction_bits) * 2**fraction_bits)


@given(axes, st.booleans())
def test_mul_by_constants_on_a_grid_of_their_own(axis: int, per_tensor: bool) -> None:
    factors = Grid(IntType(True, 4), Scale((0.5,)), (-3,), axis=0)
    factor = random_value(factors, (1 if per_tensor else 3 + axis,), np.random.default_rng(0), batched=False)
    acc = accumulators(axis)
    same(evaluate(Mul(Accumulator(40)), acc, factor), tensor(acc) * along(factor, axis))
    result = Mul().infer(acc.type, factor.type).integer
    assert (result.scale.values, result.axis) == ((0.5,), axis)


@given(
    st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=20),
    st.floats(2.0**-20, 2.0**20, width=32),
    grids(steps=(1,)),
)
def test_quantize_equals_pytorch(reals: list[float], scale: float, out: Grid) -> None:
    out = Grid(out.element, Scale((scale,)), out.zero_point[:1])
    x = Value(TensorType(None, (None, len(reals))), np.array([reals], np.float32))
    level = torch.round(torch.from_numpy(x.codes) / torch.tensor(scale, dtype=torch.float32)).double()
    same(evaluate(Quantize(out), x), clamped(level + out.zero_point[0], out, None, None))
