"""Operators that move codes and change none: concat, slice, permute, reshape, pad, nearest upsampling.

Their results keep the operand's grid. A grid with one scale or zero point per channel may only move along other axes.
Splitting and chunking are slices, channel shuffle is reshape, permute, reshape.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from intsim.errors import GraphError
from intsim.ir.op import Op, expect, register
from intsim.ir.types import Shape, TensorType, Value


def _one_grid(x: TensorType) -> None:
    expect(x.integer.per_tensor, f"expected one scale and zero point per tensor, got {x.grid}: requantize first")


@register
@dataclass(frozen=True)
class Concat(Op):
    """Tensors of one grid, one after the other along `axis` (not the batch)."""

    mnemonic: ClassVar[str] = "concat"
    axis: int

    def infer(self, *operands: TensorType) -> TensorType:
        first, axis = operands[0], self.axis
        _one_grid(first)
        expect(1 <= axis < first.rank, f"axis {axis} of {first}: expected 1..{first.rank - 1}")
        for other in operands[1:]:
            expect(other.grid == first.grid, f"grids differ: {first.grid} and {other.grid}; requantize to one first")
            same = other.shape[:axis] == first.shape[:axis] and other.shape[axis + 1 :] == first.shape[axis + 1 :]
            expect(other.rank == first.rank and same, f"{first} and {other} do not fit along axis {axis}")
        extent = sum(int(t.shape[axis] or 0) for t in operands)
        return first.with_shape((*first.shape[:axis], extent, *first.shape[axis + 1 :]))

    def evaluate(self, *operands: Value) -> NDArray[Any]:
        return np.concatenate([v.codes for v in operands], axis=self.axis)


@register
@dataclass(frozen=True)
class Slice(Op):
    """x[starts[0]:stops[0]:steps[0], ...]; the batch's entry is ignored, steps are positive."""

    mnemonic: ClassVar[str] = "slice"
    starts: tuple[int, ...]
    stops: tuple[int, ...]
    steps: tuple[int, ...]

    def infer(self, x: TensorType) -> TensorType:  # type: ignore[override]
        _one_grid(x)
        expect(
            len(self.starts) == len(self.stops) == len(self.steps) == x.rank, f"expected one range for each axis of {x}"
        )
        shape: list[int | None] = []
        for extent, start, stop, step in zip(x.shape, self.starts, self.stops, self.steps, strict=True):
            if extent is None:
                shape.append(None)
                continue
            expect(0 <= start < stop <= extent and step >= 1, f"range {start}:{stop}:{step} leaves an axis of {extent}")
            shape.append(len(range(start, stop, step)))
        return x.with_shape(tuple(shape))

    def evaluate(self, x: Value) -> NDArray[Any]:  # type: ignore[override]
        ranges = [slice(*r) for r in zip(self.starts, self.stops, self.steps, strict=True)]
        if x.type.shape[0] is None:
            ranges[0] = slice(None)
        return x.codes[tuple(ranges)].copy()


@register
@dataclass(frozen=True)
class Permute(Op):
    """Axes in another order; the batch stays first."""

    mnemonic: ClassVar[str] = "permute"
    order: tuple[int, ...]

    def infer(self, x: TensorType) -> TensorType:  # type: ignore[override]
        _one_grid(x)
        expect(sorted(self.order) == list(range(x.rank)), f"order {self.order} is no permutation of {x.rank} axes")
        expect(x.shape[0] is not None or self.order[0] == 0, "the batch stays the first axis")
        return x.with_shape(tuple(x.shape[axis] for axis in self.order))

    def evaluate(self, x: Value) -> NDArray[Any]:  # type: ignore[override]
        return np.ascontiguousarray(x.codes.transpose(self.order))


@register
@dataclass(frozen=True)
class Reshape(Op):
    """The same codes in row-major order under another shape; None keeps the batch."""

    mnemonic: ClassVar[str] = "reshape"
    shape: Shape

    def infer(self, x: TensorType) -> TensorType:  # type: ignore[override]
        _one_grid(x)
        expect((x.shape[0] is None) == (self.shape[0] is None), "the batch stays the first axis")
        result = x.with_shape(self.shape)
        expect(
            x.elements() == result.elements(), f"{x} has {x.elements()} elements an image, {result} {result.elements()}"
        )
        return result

    def evaluate(self, x: Value) -> NDArray[Any]:  # type: ignore[override]
        return x.codes.reshape([len(x.codes) if e is None else e for e in self.shape])


@register
@dataclass(frozen=True)
class Pad(Op):
    """New elements around a tensor, all with one code.

    before, after  elements in front of and behind each axis (0 for the batch)
    code           what they hold; None is the code of real zero
    """

    mnemonic: ClassVar[str] = "pad"
    before: tuple[int, ...]
    after: tuple[int, ...]
    code: int | None = None

    def infer(self, x: TensorType) -> TensorType:  # type: ignore[override]
        _one_grid(x)
        expect(len(self.before) == len(self.after) == x.rank, f"expected one amount for each axis of {x}")
        expect(min(self.before + self.after) >= 0, "amounts of padding are not negative")
        expect(self.before[0] == self.after[0] == 0, "the batch cannot be padded")
        element = x.integer.element
        expect(element.min <= self.fill(x) <= element.max, f"code {self.code} is not a {element}")
        total = zip(x.shape[1:], self.before[1:], self.after[1:], strict=True)
        return x.with_shape((x.shape[0], *(int(extent or 0) + b + a for extent, b, a in total)))

    def fill(self, x: TensorType) -> int:
        """The code of the new elements."""
        if self.code is not None:
            return self.code
        zero = x.integer.zero_codes()
        if zero is None:
            raise GraphError(f"the grid {x.grid} has no zero to pad with: give a code")
        return zero[0]

    def evaluate(self, x: Value) -> NDArray[Any]:  # type: ignore[override]
        amounts = list(zip(self.before, self.after, strict=True))
        return np.pad(x.codes, amounts, constant_values=self.fill(x.type))


@register
@dataclass(frozen=True)
class Upsample(Op):
    """Nearest-neighbour upsampling of the last axes by integer factors."""

    mnemonic: ClassVar[str] = "upsample"
    factors: tuple[int, ...]

    def infer(self, x: TensorType) -> TensorType:  # type: ignore[override]
        _one_grid(x)
        expect(0 < len(self.factors) < x.rank and min(self.factors) >= 1, f"factors {self.factors} do not fit {x}")
        kept = x.rank - len(self.factors)
        grown = (int(e or 0) * f for e, f in zip(x.shape[kept:], self.factors, strict=True))
        return x.with_shape((*x.shape[:kept], *grown))

    def evaluate(self, x: Value) -> NDArray[Any]:  # type: ignore[override]
        codes = x.codes
        for axis, factor in enumerate(self.factors, start=codes.ndim - len(self.factors)):
            codes = np.repeat(codes, factor, axis=axis)
        return codes
