"""Requantization by comparison: any monotone chain of float steps becomes integers to compare with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from numpy.typing import NDArray

from intsim.arithmetic.threshold import apply_thresholds
from intsim.ir.op import Op, channels_of, expect, expect_parameter, register
from intsim.ir.types import Grid, TensorType, Value, plain


@register
@dataclass(frozen=True)
class Threshold(Op):
    """Codes by counting the thresholds that a level reaches.

    x           accumulators or codes, channel axis 1
    thresholds  plain integers (1, L) or (C, L), ascending in each row, duplicates legal
    base        plain integers (1,) or (C,): the code below all thresholds
    strict      u1 (1,) or (C,): compare by > (and <) in place of >= (and <=)
    descending  u1 (1,) or (C,): a falling channel counts the thresholds that the level is at or below
    returns     codes of `out`
    Exact:      q = base + #{k : level >= T_k}
    Source:     Umuroglu et al. 2017 (FINN) for the operator; the direction per channel serves negative slopes.
    """

    mnemonic: ClassVar[str] = "threshold"
    out: Grid

    def infer(self, *operands: TensorType) -> TensorType:
        x, thresholds, base, strict, descending = operands
        expect(self.out.per_tensor and self.out.step == 1, f"the result needs one scale and step 1, got {self.out}")
        channels = channels_of(x)
        expect(thresholds.rank == 2 and thresholds.shape[0] in (1, channels) and
               thresholds.integer == plain(thresholds.integer.element),
               f"thresholds: expected plain integers [1 or {channels}, L], got {thresholds}")  # fmt: skip
        for parameter, what in ((base, "base"), (strict, "strict"), (descending, "descending")):
            expect_parameter(parameter, channels, what)
        expect(
            strict.integer.element.bits == descending.integer.element.bits == 1, "strict and descending are u1 flags"
        )
        expect(x.grid is not None, "expected integer codes, got float32")
        return TensorType(self.out, x.shape)

    def evaluate(self, *operands: Value) -> NDArray[Any]:
        x, thresholds, base, strict, descending = operands
        return apply_thresholds(
            x.levels,
            thresholds.levels,
            base.levels,
            self.out.element,
            strict.codes.astype(bool),
            descending.codes.astype(bool),
        )
