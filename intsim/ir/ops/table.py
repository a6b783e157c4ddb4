"""Any function of one code, by look-up: sigmoid, tanh, GELU, hard-swish."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from intsim.ir.op import Op, expect, register
from intsim.ir.types import Grid, TensorType, Value, plain


@register
@dataclass(frozen=True)
class Table(Op):
    """Codes by look-up.

    x        codes of at most 12 bits
    table    plain codes (2**bits,), entry i for the code x.min + i
    returns  codes of `out`
    Exact:   q = table[code(x) - x.min]
    """

    mnemonic: ClassVar[str] = "table"
    out: Grid

    def infer(self, x: TensorType, table: TensorType) -> TensorType:
        bits = x.integer.element.bits
        expect(bits <= 12, f"a table of 2**{bits} entries is too large: requantize to at most 12 bits first")
        expect(table.shape == (1 << bits,), f"expected a table of {1 << bits} entries, got {table}")
        expect(table.integer == plain(self.out.element), f"expected {self.out.element} entries, got {table.grid}")
        return TensorType(self.out, x.shape)

    def evaluate(self, x: Value, table: Value) -> NDArray[Any]:
        return table.codes[x.codes.astype(np.int64) - x.type.integer.element.min]

    def parameters_from(self, operands: int) -> int:
        return 1
