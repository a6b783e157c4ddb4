"""What operators that move codes and change none share: their results keep the operand's grid.

Splitting and chunking are slices, channel shuffle is reshape, permute, reshape.
"""

from __future__ import annotations

from intsim.ir.op import expect
from intsim.ir.types import TensorType


def expect_one_grid(x: TensorType) -> None:
    """One scale and zero point per tensor: entries per channel could not follow their channels."""
    expect(x.integer.per_tensor, f"expected one scale and zero point per tensor, got {x.grid}: requantize first")
