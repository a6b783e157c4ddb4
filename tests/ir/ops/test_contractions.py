"""conv2d, linear and matmul equal PyTorch on integer-valued float64; registers equal a loop over the products."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from intsim.arithmetic.accumulate import Accumulator
from intsim.dtypes import S32, S64, IntType
from intsim.errors import GraphError
from intsim.ir.ops import Conv2d, Linear, Matmul
from intsim.ir.types import Grid, Scale, TensorType, Value, plain
from tests.ir.ops.values import elements, evaluate, grids, random_value, same, tensor


def bias_of(outputs: int, rng: np.random.Generator) -> Value:
    return Value(TensorType(plain(S32), (outputs,)), rng.integers(-5000, 5000, outputs).astype(np.int32))


def conv2d_of_levels(op: Conv2d, x: Value, weight: Value, bias: Value | None) -> torch.Tensor:
    """The convolution as PyTorch has it, on an image padded with level 0 or with the level of the pad code."""
    top, bottom, left, right = op.padding
    inside = F.pad(torch.zeros(x.codes.shape), (left, right, top, bottom), value=1.0)
    levels = F.pad(tensor(x), (left, right, top, bottom))
    if op.pad_code is not None:
        filled = x.type.integer.levels(np.full((1, x.codes.shape[1], 1, 1), op.pad_code))
        levels = torch.where(inside == 1, torch.from_numpy(filled.astype(np.float64)), levels)
    start = None if bias is None else tensor(bias)
    return F.conv2d(levels, tensor(weight), start, op.stride, 0, op.dilation, op.groups)


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[Conv2d, Value, Value, Value | None]:
    small = st.integers(1, 3)
    groups, depth, each = draw(st.sampled_from([1, 1, 2, 5])), draw(small), draw(small)
    kernel, stride, dilation = ((draw(small), draw(small)) for _ in range(3))
    padding = draw(st.tuples(*[st.integers(0, 4)] * 4))
    least = [
        max(1, d * (k - 1) + 1 - before - after)
        for d, k, before, after in zip(dilation, kernel, padding[::2], padding[1::2], strict=True)
    ]
    height, width = (n + draw(st.integers(0, 5)) for n in least)
    rng = np.random.default_rng(draw(st.integers(0, 1 << 32)))
    channels, outputs = groups * depth, groups * each
    x_grid, weight_grid = draw(grids(channels=channels)), draw(grids(axis=0, channels=outputs))
    code = st.integers(x_grid.element.min, x_grid.element.max)
    pad_code = draw(code if x_grid.zero_codes() is None else st.none() | code)
    x = random_value(x_grid, (draw(small), channels, height, width), rng)
    weight = random_value(weight_grid, (outputs, depth, *kernel), rng, batched=False)
    bias = draw(st.sampled_from([None, bias_of(outputs, rng)]))
    return Conv2d(stride, padding, dilation, groups, pad_code), x, weight, bias


@given(convolutions())
def test_conv2d_equals_pytorch(case: tuple[Conv2d, Value, Value, Value | None]) -> None:
    op, x, weight, bias = case
    acc = evaluate(op, x, weight, *([] if bias is None else [bias]))
    same(acc, conv2d_of_levels(op, x, weight, bias))


@pytest.mark.parametrize(
    ("op", "image", "weight_shape"),
    [
        pytest.param(Conv2d(), (1, 7, 1, 1), (5, 7, 1, 1), id="one pixel"),
        pytest.param(Conv2d(padding=(2, 2, 2, 2)), (2, 3, 2, 1), (4, 3, 5, 5), id="kernel larger than the image"),
        pytest.param(Conv2d(padding=(0, 1, 0, 1), stride=(2, 2)), (33, 3, 6, 6), (4, 3, 3, 3), id="batch 33"),
        pytest.param(Conv2d(padding=(1, 1, 1, 1), groups=6), (2, 6, 5, 5), (6, 1, 3, 3), id="depthwise"),
        pytest.param(Conv2d(groups=3), (2, 6, 4, 4), (9, 2, 2, 2), id="grouped"),
        pytest.param(Conv2d(padding=(3, 3, 3, 3), dilation=(3, 3)), (1, 2, 7, 9), (3, 2, 3, 3), id="dilated"),
    ],
)
def test_conv2d_of_the_hard_shapes(op: Conv2d, image: tuple[int, ...], weight_shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    x = random_value(Grid(IntType(False, 8), Scale((0.5,)), (128,)), image, rng)
    weight = random_value(Grid(IntType(True, 4), Scale((0.5,)), axis=0), weight_shape, rng, batched=False)
    bias = bias_of(weight_shape[0], rng)
    same(evaluate(op, x, weight, bias), conv2d_of_levels(op, x, weight, bias))


def test_the_odd_grid_has_no_zero_and_pads_with_a_code() -> None:
    odd = Grid(IntType(True, 2), Scale((0.5,)), (-1,), step=2)
    x = Value(TensorType(odd, (None, 1, 1, 1)), np.zeros((1, 1, 1, 1), np.int8))
    weight = Value(TensorType(plain(IntType(True, 8)), (1, 1, 3, 3)), np.ones((1, 1, 3, 3), np.int8))
    with pytest.raises(GraphError, match="has no zero to pad with"):
        Conv2d(padding=(1, 1, 1, 1)).infer(x.type, weight.type)
    # The pixel's level is 2 * 0 + 1, and each of the eight around it is 2 * -2 + 1.
    assert evaluate(Conv2d(padding=(1, 1, 1, 1), pad_code=-2), x, weight).item() == 1 + 8 * -3


def test_every_activation_at_its_maximum_against_every_weight_at_its_minimum() -> None:
    x = Value(
        TensorType(Grid(IntType(False, 8), Scale((1.0,))), (None, 64, 3, 3)), np.full((1, 64, 3, 3), 255, np.uint8)
    )
    weight = Value(TensorType(plain(IntType(True, 8)), (1, 64, 3, 3)), np.full((1, 64, 3, 3), -128, np.int8))
    assert evaluate(Conv2d(), x, weight).item() == 255 * -128 * 64 * 9


@given(grids(), st.data())
def test_linear_equals_pytorch(x_grid: Grid, data: st.DataObject) -> None:
    shape = tuple(data.draw(st.lists(st.integers(1, 5), min_size=2, max_size=4), label="shape"))
    outputs = data.draw(st.integers(1, 6), label="outputs")
    weight_grid = data.draw(grids(axis=0, channels=outputs), label="weight")
    rng = np.random.default_rng(0)
    x = random_value(x_grid, shape, rng)
    weight, bias = random_value(weight_grid, (outputs, shape[-1]), rng, batched=False), bias_of(outputs, rng)
    same(evaluate(Linear(), x, weight, bias), F.linear(tensor(x), tensor(weight), tensor(bias)))
    same(evaluate(Linear(), x, weight), F.linear(tensor(x), tensor(weight)))


def test_channels_of_a_linear_result_lie_along_its_last_axis() -> None:
    weight_grid = Grid(IntType(True, 4), Scale((0.5, 0.25, 2.0)), axis=0)
    result = Linear().infer(TensorType(Grid(S32, Scale((3.0,))), (None, 7, 5)), TensorType(weight_grid, (3, 5)))
    assert result.integer.axis == 2 and result.integer.scale.values == (1.5, 0.75, 6.0)


@given(grids(), grids(), st.lists(st.integers(1, 4), min_size=4, max_size=5))
def test_matmul_equals_pytorch(a_grid: Grid, b_grid: Grid, extents: list[int]) -> None:
    *batch, m, k, n = extents
    rng = np.random.default_rng(2)
    a, b = random_value(a_grid, (*batch, m, k), rng), random_value(b_grid, (*batch, k, n), rng)
    same(evaluate(Matmul(), a, b), tensor(a) @ tensor(b))


def register(start: int, terms: list[int], accumulator: Accumulator) -> int:
    """What a register holds after adding the terms one by one, in Python integers."""
    low, high = accumulator.type.min, accumulator.type.max
    acc = start
    for term in [0, *terms]:
        acc += term
        acc = (
            min(max(acc, low), high)
            if accumulator.overflow == "saturate"
            else (acc - low) % (1 << accumulator.bits) + low
        )
    return acc


@given(
    st.builds(
        Accumulator,
        st.integers(2, 64),
        st.sampled_from(["wrap", "saturate"]),
        st.sampled_from(["channel_major", "pixel_major"]),
    ),
    elements,
    st.integers(0, 1 << 32),
)
def test_registers_of_a_convolution_add_in_the_stated_order(accumulator: Accumulator, kind: IntType, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = random_value(Grid(kind, Scale((1.0,)), (1,)), (2, 4, 3, 3), rng)
    weight = random_value(plain(IntType(True, 8)), (2, 2, 2, 2), rng, batched=False)
    bias = bias_of(2, rng)
    acc = evaluate(Conv2d(groups=2, padding=(1, 0, 0, 0), stride=(2, 1), accumulator=accumulator), x, weight, bias)
    levels = np.pad(x.levels, ((0, 0), (0, 0), (1, 0), (0, 0)))
    loops = [range(2)] * 3  # c, kh, kw
    order = list(product(*loops))
    if accumulator.order == "pixel_major":
        order = [(c, i, j) for i, j, c in order]
    for n, o, y, z in np.ndindex(acc.shape):
        terms = [int(levels[n, 2 * o + c, 2 * y + i, z + j] * weight.levels[o, c, i, j]) for c, i, j in order]
        assert acc[n, o, y, z] == register(int(bias.levels[o]), terms, accumulator)


@pytest.mark.parametrize("overflow", ["wrap", "saturate"])
@pytest.mark.parametrize("bits", [1, 7, 12, 16, 32, 64])
def test_registers_of_linear_and_matmul(bits: int, overflow: str) -> None:
    accumulator = Accumulator.parse(f"s{bits} {overflow}")
    rng = np.random.default_rng(bits)
    x = random_value(Grid(IntType(True, 8), Scale((1.0,)), (5,)), (3, 2, 6), rng)
    weight = random_value(plain(IntType(True, 8)), (4, 6), rng, batched=False)
    bias = bias_of(4, rng)
    acc = evaluate(Linear(accumulator), x, weight, bias)
    for n, m, o in np.ndindex(acc.shape):
        terms = [int(t) for t in x.levels[n, m] * weight.levels[o]]
        assert acc[n, m, o] == register(int(bias.levels[o]), terms, accumulator)
    b = random_value(Grid(IntType(False, 8), Scale((1.0,))), (3, 6, 2), rng)
    acc = evaluate(Matmul(accumulator), x, b)
    for n, m, k in np.ndindex(acc.shape):
        assert acc[n, m, k] == register(0, [int(t) for t in x.levels[n, m] * b.levels[n, :, k]], accumulator)


def test_an_exact_accumulator_that_overflows_is_an_error() -> None:
    x = Value(TensorType(plain(IntType(True, 8)), (None, 2)), np.full((1, 2), 127, np.int8))
    weight = Value(TensorType(plain(IntType(True, 8)), (1, 2)), np.full((1, 2), 127, np.int8))
    assert evaluate(Linear(Accumulator(16)), x, weight).item() == 2 * 127 * 127
    with pytest.raises(GraphError, match="overflow s15: use more accumulator bits"):
        Linear(Accumulator(15)).evaluate(x, weight)


def test_a_bias_that_takes_a_sum_out_of_int64_is_an_error() -> None:
    x = Value(TensorType(plain(IntType(True, 8)), (None, 1)), np.ones((1, 1), np.int8))
    weight = Value(TensorType(plain(IntType(True, 8)), (1, 1)), np.ones((1, 1), np.int8))
    bias = Value(TensorType(plain(S64), (1,)), np.array([S64.max]))
    with pytest.raises(OverflowError, match="a bias takes sums out of int64"):
        Linear(Accumulator(64)).evaluate(x, weight, bias)
