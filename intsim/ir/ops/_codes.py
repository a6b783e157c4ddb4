"""What operators that end in codes of a new grid share: one grid, and optional bounds on the codes."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from intsim.ir.op import expect
from intsim.ir.types import Grid


def expect_codes(out: Grid, low: int | None = None, high: int | None = None) -> None:
    """The result has one scale, one zero point and step 1, and the bounds lie in its type."""
    expect(out.per_tensor and out.step == 1, f"the result needs one scale, one zero point and step 1, got {out}")
    expect_bounds(out, low, high)


def expect_bounds(grid: Grid, low: int | None, high: int | None) -> None:
    """Bounds on codes lie in the grid's type; None is no bound."""
    element = grid.element
    least, greatest = element.min if low is None else low, element.max if high is None else high
    expect(element.min <= least <= greatest <= element.max, f"bounds {low}..{high} leave {element}")


def bound(codes: NDArray[Any], low: int | None, high: int | None) -> NDArray[Any]:
    """Codes clamped to the optional bounds: ReLU is low = the zero point, ReLU6 has a high one as well."""
    return codes if low is None and high is None else np.clip(codes, low, high)
