"""The smallest grid that clips nothing that calibration saw."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from intsim.calibrate.method import Decision, Problem, method
from intsim.calibrate.nearest import Rows, covering, decide_nearest
from intsim.calibrate.observers import Observation
from intsim.calibrate.options import NoOptions
from intsim.calibrate.settings import Settings
from intsim.dtypes import IntType
from intsim.ir.types import Grid, Scale


@method("minmax", "scales from the extremes of weights and activations")
def minmax(problem: Problem, _: NoOptions) -> Decision:
    return decide_nearest(problem, activation_grid, weight_rows)


def activation_grid(observation: Observation, element: IntType, power_of_two: bool) -> Grid:
    low, high = np.array([observation.low]), np.array([observation.high])
    rows = covering(low, high, element, element.signed, power_of_two)
    return Grid(element, Scale.of(rows.scales, power_of_two), (int(rows.zero_points[0]),))


def weight_rows(x: NDArray[np.float64], element: IntType, settings: Settings) -> Rows:
    symmetric = settings.weight_grid == "symmetric"
    return covering(x.min(axis=1), x.max(axis=1), element, symmetric, settings.power_of_two)
