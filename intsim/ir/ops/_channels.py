"""Parameters per tensor or per channel: operands (1,) or (C,) that lie along the channel axis of the operand's grid."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from intsim.errors import GraphError
from intsim.ir.op import expect
from intsim.ir.types import TensorType, Value, plain


def channels_of(x: TensorType) -> int | None:
    """Extent of the channel axis; None where x has no such axis, or where it is the batch."""
    axis = x.integer.axis
    return x.shape[axis] if axis < x.rank else None


def expect_parameter(parameter: TensorType, x: TensorType, what: str) -> None:
    """One plain integer for all of x, or one for each of its channels."""
    channels = channels_of(x)
    expected = "shape [1]" if channels is None else f"shape [1] or [{channels}]"
    expect(parameter.rank == 1 and parameter.shape[0] in (1, channels), f"{what}: expected {expected}, got {parameter}")
    expect_plain(parameter, what)


def expect_plain(parameter: TensorType, what: str) -> None:
    """Codes that are their own levels."""
    plainly = parameter.integer == plain(parameter.integer.element)
    expect(plainly, f"{what}: expected plain integers, got {parameter.grid}")


def by_channel(parameter: Value, x: Value) -> NDArray[np.int64]:
    """Levels of a parameter, int64, shaped to broadcast along the channels of x."""
    return x.type.integer.along(parameter.levels, x.codes.ndim)


def expect_within(parameter: Value, low: int, high: int, what: str) -> None:
    """GraphError where a constant leaves low..high."""
    least, greatest = int(parameter.codes.min()), int(parameter.codes.max())
    if least < low or greatest > high:
        raise GraphError(f"{what} {least}..{greatest} leave {low}..{high}")
