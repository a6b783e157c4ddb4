"""New elements around a tensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from intsim.errors import GraphError
from intsim.ir.op import Op, expect, register
from intsim.ir.ops._movement import expect_one_grid
from intsim.ir.types import TensorType, Value


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

    def infer(self, x: TensorType) -> TensorType:
        expect_one_grid(x)
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

    def evaluate(self, x: Value) -> NDArray[Any]:
        amounts = list(zip(self.before, self.after, strict=True))
        return np.pad(x.codes, amounts, constant_values=self.fill(x.type))
