"""Quantizers that the network brings along: calibration takes them as they are."""

from __future__ import annotations

import numpy as np

from intsim.dtypes import IntType
from intsim.errors import CalibrationError
from intsim.ir.float_graph import FloatNode
from intsim.ir.quantized import Quantizer
from intsim.ir.types import Grid, Scale, TensorType, Value

OFF_GRID = 1e-2
"""How far from a level a weight may lie, in steps: float32 arithmetic stays far below."""


def given_quantizer(node: FloatNode) -> Quantizer:
    """The quantizer of one of the network's own `quantize` nodes."""
    scale, zero_point = Scale.of(node.arrays["scale"].astype(np.float64)), (node.attributes["zero_point"],)
    if "thresholds" not in node.arrays:
        low, high = node.attributes["low"], node.attributes["high"]
        element = IntType(low < 0, (high - low).bit_length())
        return Quantizer(Grid(element, scale, zero_point))
    thresholds = node.arrays["thresholds"].astype(np.float64)
    element = IntType(False, len(thresholds).bit_length())
    return Quantizer(Grid(element, scale, zero_point), thresholds=thresholds, strict=True)


def given_weight(node: FloatNode) -> Value:
    """The codes of weights that have a grid.

    raises  CalibrationError for weights that are not on it
    """
    assert node.grid is not None
    weight, grid = node.arrays["weight"], node.grid
    levels = weight / grid.along(grid.scale.array, weight.ndim)
    codes = (levels + grid.along(grid.zero_point, weight.ndim)) / grid.step
    rounded = np.rint(codes)
    worst = float(np.abs(codes - rounded).max())
    if worst > OFF_GRID or rounded.min() < grid.element.min or rounded.max() > grid.element.max:
        raise CalibrationError(f"{node}: its weights are up to {worst:.2g} steps off the grid that it has for them")
    return Value(TensorType(grid, weight.shape), rounded.astype(grid.element.storage))
