"""Random values on awkward grids, and their levels as integer-valued float64 tensors."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from numpy.typing import NDArray

from intsim.dtypes import IntType
from intsim.ir.types import Grid, Scale, TensorType, Value


def random_value(grid: Grid, shape: tuple[int, ...], rng: np.random.Generator, batched: bool = True) -> Value:
    """Codes over the whole range of a grid, its two ends among them."""
    element = grid.element
    codes = rng.integers(element.min, element.max, shape, endpoint=True).astype(element.storage)
    codes.flat[0], codes.flat[-1] = element.min, element.max
    return Value(TensorType(grid, (None, *shape[1:]) if batched else shape), codes)


def evaluate(op: Any, *values: Value) -> NDArray[Any]:
    """Codes of an operator, checked against the type that it infers."""
    result = Value(op.infer(*(value.type for value in values)), op.evaluate(*values))
    result.check(op.mnemonic)
    return result.codes


def tensor(value: Value | NDArray[Any]) -> torch.Tensor:
    """Levels as float64: exact, and so is every sum of products below 2**53."""
    levels = value.levels if isinstance(value, Value) else value
    return torch.from_numpy(levels.astype(np.float64))


def same(codes: NDArray[Any], expected: torch.Tensor) -> None:
    assert codes.shape == tuple(expected.shape)
    np.testing.assert_array_equal(codes.astype(np.float64), expected.numpy())


elements = st.builds(IntType, st.booleans(), st.integers(2, 8))


@st.composite
def grids(draw: st.DrawFn, axis: int = 1, channels: int = 1, steps: tuple[int, ...] = (1, 2)) -> Grid:
    """Grids of 2 to 8 bits with zero points, one per tensor or one per channel; step 2 has no zero where it is odd."""
    zeros = tuple(draw(st.integers(-9, 9)) for _ in range(draw(st.sampled_from((1, channels)))))
    return Grid(draw(elements), Scale((0.25,)), zeros, draw(st.sampled_from(steps)), axis)
