"""A range of indices along every axis; splits and chunks are several of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import NDArray

from intsim.ir.op import Op, expect, register
from intsim.ir.ops._movement import expect_one_grid
from intsim.ir.types import TensorType, Value


@register
@dataclass(frozen=True)
class Slice(Op):
    """x[starts[0]:stops[0]:steps[0], ...]; steps are positive. The entry of an unknown batch is ignored."""

    mnemonic: ClassVar[str] = "slice"
    starts: tuple[int, ...]
    stops: tuple[int, ...]
    steps: tuple[int, ...]

    def infer(self, x: TensorType) -> TensorType:
        expect_one_grid(x)
        each = len(self.starts) == len(self.stops) == len(self.steps) == x.rank
        expect(each, f"expected one range for each axis of {x}")
        shape: list[int | None] = []
        for extent, start, stop, step in zip(x.shape, self.starts, self.stops, self.steps, strict=True):
            fits = extent is None or (0 <= start < stop <= extent and step >= 1)
            expect(fits, f"range {start}:{stop}:{step} leaves an axis of {extent}")
            shape.append(None if extent is None else len(range(start, stop, step)))
        return x.with_shape(tuple(shape))

    def evaluate(self, x: Value) -> NDArray[Any]:
        ranges = [slice(*r) for r in zip(self.starts, self.stops, self.steps, strict=True)]
        if x.type.shape[0] is None:
            ranges[0] = slice(None)
        return x.codes[tuple(ranges)].copy()
