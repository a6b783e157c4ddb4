"""The grid that clips the rarest values: a baseline of its own, and a defence against single outliers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from intsim.calibrate.method import Decision, Problem, method
from intsim.calibrate.nearest import Rows, covering, decide_nearest
from intsim.calibrate.observers import Observation
from intsim.calibrate.settings import Settings
from intsim.dtypes import IntType
from intsim.errors import CalibrationError
from intsim.ir.types import Grid, Scale


@dataclass(frozen=True)
class PercentileOptions:
    """How much of each tensor the grid reaches, in percent: what is left is clipped, half at either end.

    act     of activations, of a sample of the calibration data
    weight  of a channel's weights
    """

    act: float = 99.9
    weight: float = 100.0

    def __post_init__(self) -> None:
        for name in ("act", "weight"):
            if not 50 <= getattr(self, name) <= 100:
                raise CalibrationError(f"{name}: expected a percentage from 50 to 100, got {getattr(self, name)}")


@method("percentile", "scales that clip the rarest values of activations and weights", PercentileOptions)
def percentile(problem: Problem, options: PercentileOptions) -> Decision:
    """Exact: low, high = the (100 - p) / 2 and (100 + p) / 2 percentiles; then as `covering`."""
    return decide_nearest(problem, partial(activation_grid, options.act), partial(weight_rows, options.weight))


def activation_grid(share: float, observation: Observation, element: IntType, power_of_two: bool) -> Grid:
    low, high = _reach(observation.sample[None].astype(np.float64), share)
    rows = covering(low, high, element, element.signed, power_of_two)
    return Grid(element, Scale.of(rows.scales, power_of_two), (int(rows.zero_points[0]),))


def weight_rows(share: float, x: NDArray[np.float64], element: IntType, settings: Settings) -> Rows:
    low, high = _reach(x, share)
    return covering(low, high, element, settings.weight_grid == "symmetric", settings.power_of_two)


def _reach(x: NDArray[np.float64], share: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What the middle `share` percent of each row reaches from and to, (R,)."""
    low, high = np.percentile(x, [50 - share / 2, 50 + share / 2], axis=1)
    return low, high
