"""What a tensor of integers means: grids (code -> level -> real value), tensor types, and values.

A tensor stores integer *codes*. Its *level* is ``step * code - zero_point``, an integer too, and its real value is
``scale * level``. Arithmetic in the graph is arithmetic on levels; scales only say what the levels stand for.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intsim.dtypes import IntType
from intsim.errors import GraphError

Shape = tuple[int | None, ...]
"""Extents of a tensor; None stands for the batch, which is known only when the graph runs."""


def format_shape(shape: Shape) -> str:
    return "[" + ", ".join("N" if extent is None else str(extent) for extent in shape) + "]"


@dataclass(frozen=True)
class Scale:
    """Real value of one level, per tensor (one entry) or per channel.

    A power-of-two scale is held as its integer exponents, so that products and ratios of such scales stay exact.

    values        positive reals, or integer exponents of two
    power_of_two  which of the two `values` are
    """

    values: tuple[float, ...]
    power_of_two: bool = False

    def __post_init__(self) -> None:
        if self.power_of_two:
            if not all(isinstance(v, int) and -1022 <= v <= 1023 for v in self.values):
                raise GraphError(f"scale: exponents of two are integers in -1022..1023, got {self.values[:4]}")
        elif not all(np.isfinite(v) and v > 0 for v in self.values):
            raise GraphError(f"scale: expected positive finite numbers, got {self.values[:4]}")
        if not self.values:
            raise GraphError("scale: expected one entry per tensor or one per channel, got none")

    @classmethod
    def of(cls, values: NDArray[Any] | float, power_of_two: bool = False) -> Scale:
        """The scale with these real values; with `power_of_two` each must be one exactly, else GraphError."""
        reals = np.atleast_1d(np.asarray(values, np.float64))
        if not power_of_two:
            return cls(tuple(float(v) for v in reals))
        mantissas, exponents = np.frexp(reals)
        if not (mantissas == 0.5).all():
            raise GraphError(f"scale: expected powers of two, got {float(reals[mantissas != 0.5][0])!r}")
        return cls(tuple(int(e) - 1 for e in exponents), True)

    @cached_property
    def array(self) -> NDArray[np.float64]:
        """Real values, float64, shape (1,) or (C,)."""
        values = np.asarray(self.values, np.float64)
        return np.ldexp(1.0, values.astype(np.int64)) if self.power_of_two else values

    def __len__(self) -> int:
        return len(self.values)

    def __mul__(self, other: Scale) -> Scale:
        if self.power_of_two and other.power_of_two:
            exponents = np.asarray(self.values, np.int64) + np.asarray(other.values, np.int64)
            return Scale(tuple(int(e) for e in exponents), True)
        return Scale.of(self.array * other.array)

    def __str__(self) -> str:
        shown = [f"2^{v}" if self.power_of_two else f"{v:.6g}" for v in self.values[:3]]
        return shown[0] if len(self) == 1 else f"({', '.join(shown)}{', ..' if len(self) > 3 else ''})"


@dataclass(frozen=True)
class Grid:
    """The integers that a tensor may hold and the reals that they stand for.

    element     IntType of the codes
    scale       Scale, per tensor or per channel along `axis`
    zero_point  integers, one or one per channel: level = step * code - zero_point
    step        1, or 2 for the odd grids of N2UQ (2 bits: codes -2..1, zero_point -1, levels -3 -1 1 3)
    axis        channel axis: 1 for activations, 0 for weights
    """

    element: IntType
    scale: Scale
    zero_point: tuple[int, ...] = (0,)
    step: int = 1
    axis: int = 1

    def __post_init__(self) -> None:
        if self.step < 1 or not self.zero_point or not all(isinstance(z, int) for z in self.zero_point):
            raise GraphError("grid: expected a positive step and integer zero points")
        if not -(1 << 31) <= min(self.zero_point) <= max(self.zero_point) < 1 << 31:
            raise GraphError("grid: zero points must fit 32 bits")

    @property
    def per_tensor(self) -> bool:
        return len(self.scale) == 1 and len(self.zero_point) == 1

    def level_range(self, channel: int = 0) -> tuple[int, int]:
        """Smallest and largest level of a channel, as Python integers."""
        zero = self.zero_point[channel if len(self.zero_point) > 1 else 0]
        return self.step * self.element.min - zero, self.step * self.element.max - zero

    def zero_codes(self) -> tuple[int, ...] | None:
        """The code(s) of real zero, one per zero point; None where zero is not on the grid (odd and bipolar grids)."""
        codes = tuple(z // self.step for z in self.zero_point)
        exact = all(c * self.step == z for c, z in zip(codes, self.zero_point, strict=True))
        return codes if exact and all(self.element.min <= c <= self.element.max for c in codes) else None

    def along(self, parameter: tuple[float, ...] | NDArray[Any], ndim: int) -> NDArray[Any]:
        """A per-tensor or per-channel parameter, shaped to broadcast against a tensor of `ndim` dimensions."""
        values = np.asarray(parameter)
        shape = [1] * ndim
        if values.size > 1:
            shape[self.axis] = values.size
        return values.reshape(shape)

    def levels(self, codes: NDArray[Any]) -> NDArray[np.int64]:
        """int64 levels of codes: step * code - zero_point."""
        levels = codes.astype(np.int64)  # large for weights, so nothing is done that changes nothing
        if self.step != 1:
            levels *= self.step
        if any(self.zero_point):
            levels -= self.along(np.asarray(self.zero_point, np.int64), codes.ndim)
        return levels

    def reals(self, codes: NDArray[Any]) -> NDArray[np.float64]:
        """float64 real values of codes: scale * level."""
        return self.along(self.scale.array, codes.ndim) * self.levels(codes)

    def __str__(self) -> str:
        zeros = set(self.zero_point)
        zero = "" if zeros == {0} else f" zero {self.zero_point[0]}{', ..' if len(zeros) > 1 else ''}"
        return f"{self.element} scale {self.scale}{zero}{f' step {self.step}' if self.step != 1 else ''}"


def plain(element: IntType) -> Grid:
    """The grid whose levels are its codes: what biases, multipliers, shifts and thresholds are stored on."""
    return Grid(element, Scale((0,), True), axis=0)


@dataclass(frozen=True)
class TensorType:
    """A grid and a shape; grid None is float32, which only graph inputs have."""

    grid: Grid | None
    shape: Shape

    def __post_init__(self) -> None:
        if any(extent is None for extent in self.shape[1:]) or any(e is not None and e < 1 for e in self.shape):
            raise GraphError(
                f"shape {format_shape(self.shape)}: extents are positive and only the first may be the batch"
            )
        if self.grid is not None:
            for what, count in (("scales", len(self.grid.scale)), ("zero points", len(self.grid.zero_point))):
                axis = self.grid.axis
                if count > 1 and (axis >= len(self.shape) or self.shape[axis] != count):
                    raise GraphError(f"{count} {what} do not fit axis {axis} of {format_shape(self.shape)}")

    @property
    def integer(self) -> Grid:
        """The grid; GraphError for a float tensor."""
        if self.grid is None:
            raise GraphError("expected integer codes, got float32: quantize first")
        return self.grid

    @property
    def rank(self) -> int:
        return len(self.shape)

    def elements(self, batch: int = 1) -> int:
        """Number of elements for a batch."""
        count = 1
        for extent in self.shape:
            count *= batch if extent is None else extent
        return count

    def with_shape(self, shape: Shape) -> TensorType:
        return TensorType(self.grid, shape)

    def __str__(self) -> str:
        return f"{'float32' if self.grid is None else self.grid.element}{format_shape(self.shape)}"


@dataclass(frozen=True, eq=False)
class Value:
    """Codes with their type: a constant of a graph, or a tensor while it runs.

    codes  integers of `type.grid.element.storage` (float32 for a float input), of the type's shape with its batch
    """

    type: TensorType
    codes: NDArray[Any]

    @property
    def levels(self) -> NDArray[np.int64]:
        return self.type.integer.levels(self.codes)

    @property
    def reals(self) -> NDArray[np.float64]:
        return self.type.integer.reals(self.codes)

    def check(self, name: str) -> None:
        """GraphError unless shape, storage and range of the codes fit the type."""
        expected = self.type.shape
        fits = self.codes.ndim == len(expected) and all(
            e is None or e == c for e, c in zip(expected, self.codes.shape, strict=True)
        )
        if not fits:
            raise GraphError(f"'{name}': expected shape {format_shape(expected)}, got {format_shape(self.codes.shape)}")
        storage = np.dtype(np.float32) if self.type.grid is None else self.type.grid.element.storage
        if self.codes.dtype != storage:
            raise GraphError(f"'{name}': expected {storage} codes, got {self.codes.dtype}")
        if self.type.grid is not None and self.codes.size:
            element = self.type.grid.element
            low, high = int(self.codes.min()), int(self.codes.max())
            if low < element.min or high > element.max:
                raise GraphError(
                    f"'{name}': codes {low}..{high} leave {element}, which holds {element.min}..{element.max}"
                )
