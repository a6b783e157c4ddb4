"""Operators that move codes equal PyTorch's on the codes; a channel shuffle is three of them."""

from __future__ import annotations

from math import prod

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from intsim.dtypes import IntType
from intsim.ir.ops import Clamp, Concat, Pad, Permute, Reshape, Slice, Upsample
from intsim.ir.types import Grid, Scale, Value
from tests.ir.ops.values import evaluate, grids, random_value, same, tensor

shapes = st.lists(st.integers(1, 4), min_size=2, max_size=5).map(tuple)


def value(shape: tuple[int, ...], seed: int = 0) -> Value:
    return random_value(Grid(IntType(True, 5), Scale((0.5,)), (-2,)), shape, np.random.default_rng(seed))


@given(shapes, st.data())
def test_concat(shape: tuple[int, ...], data: st.DataObject) -> None:
    axis = data.draw(st.integers(1, len(shape) - 1), label="axis")
    extents = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=4), label="extents")
    parts = [value((*shape[:axis], e, *shape[axis + 1 :]), seed) for seed, e in enumerate(extents)]
    same(evaluate(Concat(axis), *parts), torch.cat([tensor(p.codes) for p in parts], axis))


@given(shapes, st.data())
def test_slice(shape: tuple[int, ...], data: st.DataObject) -> None:
    starts = tuple(data.draw(st.integers(0, e - 1)) for e in shape)
    stops = tuple(data.draw(st.integers(start + 1, e)) for start, e in zip(starts, shape, strict=True))
    steps = tuple(data.draw(st.integers(1, 3)) for _ in shape)
    x = value(shape)
    ranges = [slice(*r) for r in zip(starts, stops, steps, strict=True)]
    same(evaluate(Slice(starts, stops, steps), x), tensor(x.codes)[(slice(None), *ranges[1:])])


def test_chunks_of_channels_are_slices_that_join_again() -> None:
    x = value((2, 5, 3, 3))
    first, second = (Slice((0, low, 0, 0), (0, high, 3, 3), (1, 1, 1, 1)) for low, high in ((0, 3), (3, 5)))
    for op, chunk in zip((first, second), torch.chunk(tensor(x.codes), 2, 1), strict=True):
        same(evaluate(op, x), chunk)


@given(shapes, st.data())
def test_permute(shape: tuple[int, ...], data: st.DataObject) -> None:
    order = (0, *data.draw(st.permutations(range(1, len(shape))), label="order"))
    x = value(shape)
    same(evaluate(Permute(order), x), tensor(x.codes).permute(order))


@given(shapes, st.data())
def test_reshape(shape: tuple[int, ...], data: st.DataObject) -> None:
    x = value(shape)
    cut = data.draw(st.integers(1, len(shape)), label="cut")
    groups = (prod(shape[1:cut]), prod(shape[cut:]))
    same(evaluate(Reshape((None, *groups)), x), tensor(x.codes).reshape(shape[0], *groups))


def test_a_channel_shuffle_is_reshape_permute_reshape() -> None:
    x = value((2, 6, 3, 4))
    codes = evaluate(Reshape((None, 2, 3, 3, 4)), x)
    codes = evaluate(Permute((0, 2, 1, 3, 4)), Value(x.type.with_shape((None, 2, 3, 3, 4)), codes))
    codes = evaluate(Reshape((None, 6, 3, 4)), Value(x.type.with_shape((None, 3, 2, 3, 4)), codes))
    same(codes, F.channel_shuffle(tensor(x.codes), 2))


@given(grids(), shapes, st.data())
def test_pad(grid: Grid, shape: tuple[int, ...], data: st.DataObject) -> None:
    before = (0, *(data.draw(st.integers(0, 2)) for _ in shape[1:]))
    after = (0, *(data.draw(st.integers(0, 2)) for _ in shape[1:]))
    code = st.integers(grid.element.min, grid.element.max)
    zero = grid.zero_codes()
    fill = data.draw(code if zero is None else st.none() | code, label="code")
    x = random_value(grid, shape, np.random.default_rng(0))
    sides = [n for pair in zip(before[::-1], after[::-1], strict=True) for n in pair]
    expected = F.pad(tensor(x.codes), sides, value=float(zero[0] if fill is None and zero else fill or 0))
    codes = evaluate(Pad(before, after, fill), x)
    same(codes, expected)
    if fill is None:
        same(grid.levels(codes), F.pad(tensor(x), sides))


@given(st.lists(st.integers(1, 3), min_size=1, max_size=2))
def test_upsample(factors: list[int]) -> None:
    x = value((2, 3, 4, 5)[: 2 + len(factors)])
    same(evaluate(Upsample(tuple(factors)), x), F.interpolate(tensor(x.codes), scale_factor=tuple(map(float, factors))))


@given(st.none() | st.integers(-16, -1), st.none() | st.integers(0, 15))
def test_clamp(low: int | None, high: int | None) -> None:
    x = value((3, 4))
    expected = tensor(x.codes) if low is None and high is None else torch.clamp(tensor(x.codes), low, high)
    same(evaluate(Clamp(low, high), x), expected)
