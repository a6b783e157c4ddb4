"""Pooling equals PyTorch: maxima, and averages as exact rationals rounded once."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given
from hypothesis import strategies as st

from intsim.arithmetic.rounding import Rounding
from intsim.dtypes import IntType
from intsim.ir.ops import AdaptiveAveragePool, AveragePool, MaxPool
from intsim.ir.types import Grid, Scale, TensorType, Value
from tests.ir.ops.values import evaluate, grids, random_value, same, tensor

WIDE = Grid(IntType(True, 32), Scale((1.0,)))
pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))


@given(grids(channels=3), pairs, pairs, pairs, st.tuples(*[st.integers(0, 2)] * 4), pairs)
def test_max_pool_equals_pytorch(
    grid: Grid,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    padding: tuple[int, int, int, int],
    more: tuple[int, int],
) -> None:
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    assume(max(padding[:2]) < reach[0] and max(padding[2:]) < reach[1])
    height, width = (r + m - 1 for r, m in zip(reach, more, strict=True))
    x = random_value(grid, (2, 3, height, width), np.random.default_rng(0))
    top, bottom, left, right = padding
    codes = F.pad(tensor(x.codes), (left, right, top, bottom), value=-torch.inf)
    expected = F.max_pool2d(codes, kernel, stride, 0, dilation)
    same(evaluate(MaxPool(kernel, stride, padding, dilation), x), expected)


@pytest.mark.parametrize("include", [True, False])
@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 2, 1), (2, 2, 0), (5, 1, 2), (3, 3, 1)])
def test_average_pool_equals_pytorch(kernel: int, stride: int, padding: int, include: bool) -> None:
    """A scale of 1 / 2**20 shows the average before it is rounded, well beyond the reach of float32."""
    x = random_value(Grid(IntType(False, 8), Scale((1.0,)), (7,)), (2, 3, 6, 5), np.random.default_rng(0))
    op = AveragePool(WIDE, Rounding.HALF_EVEN, (kernel,) * 2, (stride,) * 2, (padding,) * 4, include, 1 << 20)
    mean = F.avg_pool2d(tensor(x), kernel, stride, padding, count_include_pad=include)
    same(evaluate(op, x), torch.round(mean * 2**20))


@given(grids(steps=(1,)), st.tuples(*[st.integers(0, 2)] * 4), st.booleans())
def test_average_pool_with_unequal_sides_equals_its_fraction(
    grid: Grid, padding: tuple[int, int, int, int], include: bool
) -> None:
    x = random_value(grid, (1, 1, 4, 3), np.random.default_rng(1))
    op = AveragePool(WIDE, Rounding.FLOOR, (3, 3), (2, 1), padding, include, multiplier=-5, shift=3)
    codes = evaluate(op, x)
    top, bottom, left, right = padding
    for i, j in np.ndindex(codes.shape[2:]):
        rows, columns = range(2 * i - top, 2 * i - top + 3), range(j - left, j - left + 3)
        cells = [(y, z) for y in rows for z in columns if 0 <= y < 4 and 0 <= z < 3]
        total = sum(int(x.levels[0, 0, y, z]) for y, z in cells)
        assert codes[0, 0, i, j] == Fraction(-5 * total, 8 * (9 if include else len(cells))).__floor__()
    assert codes.shape[2:] == ((4 + top + bottom - 3) // 2 + 1, 3 + left + right - 3 + 1)


@given(grids(steps=(1,)), st.integers(1, 9), st.integers(1, 9), st.data())
def test_adaptive_average_pool_equals_pytorch(grid: Grid, height: int, width: int, data: st.DataObject) -> None:
    output = data.draw(st.tuples(st.integers(1, height), st.integers(1, width)), label="output")
    x = random_value(grid, (2, 2, height, width), np.random.default_rng(3))
    codes = evaluate(AdaptiveAveragePool(WIDE, Rounding.HALF_EVEN, output, 1 << 20), x)
    same(codes, torch.round(F.adaptive_avg_pool2d(tensor(x), output) * 2**20))


def test_a_global_average_rounds_once_adds_the_zero_point_and_saturates() -> None:
    codes = np.array([[[[1, 2], [3, 4]]], [[[255, 255], [255, 255]]]], np.uint8)
    x = Value(TensorType(Grid(IntType(False, 8), Scale((1.0,))), (None, 1, 2, 2)), codes)
    out = Grid(IntType(False, 4), Scale((1.0,)), (5,))
    assert evaluate(AveragePool(out, Rounding.HALF_EVEN, (2, 2), (1, 1)), x).ravel().tolist() == [2 + 5, 15]
    assert evaluate(AveragePool(out, Rounding.HALF_UP, (2, 2), (1, 1)), x).ravel().tolist() == [3 + 5, 15]
