"""Requantization by comparison: any monotone chain of float steps becomes integers to compare with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from intsim.arithmetic.threshold import apply_thresholds
from intsim.errors import GraphError
from intsim.ir.op import Op, expect, register
from intsim.ir.ops._channels import channels_of, expect_parameter, expect_plain
from intsim.ir.ops._codes import expect_codes
from intsim.ir.types import Grid, TensorType, Value


@register
@dataclass(frozen=True)
class Threshold(Op):
    """Codes by counting the thresholds that a level reaches.

    x           accumulators or codes
    thresholds  plain integers (1, L) or (C, L), ascending in each row, duplicates legal; the greatest value of their
                type fills a row that is shorter, or the least one in front where descending
    base        plain integers (1,) or (C,): the code below all thresholds
    strict      u1 (1,) or (C,): compare by > (and <) in place of >= (and <=)
    descending  u1 (1,) or (C,): a falling channel counts the thresholds that the level is at or below
    returns     codes of `out`
    Exact:      q = base + #{k : level >= T_k}
    Source:     Umuroglu et al. 2017 (FINN) for the operator; the direction per channel serves negative slopes.
    """

    mnemonic: ClassVar[str] = "threshold"
    out: Grid

    def infer(
        self, x: TensorType, thresholds: TensorType, base: TensorType, strict: TensorType, descending: TensorType
    ) -> TensorType:
        expect_codes(self.out)
        channels = channels_of(x)
        rows = thresholds.rank == 2 and thresholds.shape[0] in (1, channels)
        expect(rows, f"thresholds: expected shape [1 or {channels}, L], got {thresholds}")
        expect_plain(thresholds, "thresholds")
        for parameter, what in ((base, "base"), (strict, "strict"), (descending, "descending")):
            expect_parameter(parameter, x, what)
        flags = strict.integer.element.bits == descending.integer.element.bits == 1
        expect(flags, f"strict and descending are u1 flags, got {strict.grid} and {descending.grid}")
        return TensorType(self.out, x.shape)

    def evaluate(self, x: Value, thresholds: Value, base: Value, strict: Value, descending: Value) -> NDArray[Any]:
        flags = strict.codes.astype(bool), descending.codes.astype(bool)
        axis, out = x.type.integer.axis, self.out.element
        return apply_thresholds(x.levels, thresholds.levels, base.levels, out, *flags, axis=axis)

    def parameters_from(self, operands: int) -> int:
        return 1

    def check_parameters(self, thresholds: Value, base: Value, strict: Value, descending: Value) -> None:
        rows, element, out = thresholds.levels, thresholds.type.integer.element, self.out.element
        falls = (rows[:, 1:] < rows[:, :-1]).any(axis=1)
        if falls.any():
            raise GraphError(f"thresholds of channel {int(falls.argmax())} are not sorted")
        never_reached = np.where(descending.codes[:, np.newaxis] != 0, element.min, element.max)
        last = base.levels + (rows != never_reached).sum(axis=1)
        if base.levels.min() < out.min or last.max() > out.max:
            raise GraphError(f"codes from {base.levels.min()} to {last.max()}, base and thresholds, leave {out}")
