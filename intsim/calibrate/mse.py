"""The grid with the least rounding and clipping error, tensor by tensor: a search over scales and zero points."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from intsim.calibrate.method import Decision, Problem, method
from intsim.calibrate.nearest import SMALLEST_SHARE, Rows, covering, decide_nearest, round_scales
from intsim.calibrate.observers import Observation
from intsim.calibrate.options import NoOptions
from intsim.calibrate.settings import Settings
from intsim.dtypes import IntType
from intsim.ir.types import Grid, Scale

NORM = 2.0
HALVINGS = 6
"""The finest scale that is tried is the covering one over 2**HALVINGS."""


@method("mse", "scales of the least rounding and clipping error, exponents where they are powers of two")
def mse(problem: Problem, _: NoOptions) -> Decision:
    return decide_nearest(problem, activation_grid, weight_rows)


def activation_grid(observation: Observation, element: IntType, power_of_two: bool) -> Grid:
    low, high = np.array([observation.low]), np.array([observation.high])
    sample = observation.sample[None].astype(np.float64)
    rows = search(sample, low, high, element, element.signed, power_of_two)
    return Grid(element, Scale.of(rows.scales, power_of_two), (int(rows.zero_points[0]),))


def weight_rows(x: NDArray[np.float64], element: IntType, settings: Settings) -> Rows:
    symmetric = settings.weight_grid == "symmetric"
    return search(x, x.min(axis=1), x.max(axis=1), element, symmetric, settings.power_of_two)


def search(x: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64], element: IntType,
           symmetric: bool, power_of_two: bool) -> Rows:  # fmt: skip
    """For each row the grid with the least error among shrunk versions of the covering one.

    x          float64 (R, K)
    low, high  float64 (R,): the extremes that the covering grid reaches
    returns    the best of: scales s * 2**(-i / 8), then s * 2**(j / 64) around the best of those (whole exponents only
               where scales are powers of two), each with zero points from "keeps low" to "keeps high"
    Exact:     error = mean |x - q(x)|**NORM over the row
    Source:    the shrinking search of BRECQ's "mse" initialisation (Li et al. 2021), with zero points searched too
    """
    best = covering(low, high, element, symmetric, power_of_two)
    least = _error(x, best, element)
    floor = best.scales.max() * SMALLEST_SHARE

    def consider(scales: NDArray[np.float64]) -> None:
        nonlocal best, least
        scales = np.maximum(scales, floor)
        for zeros in _zero_points(low, high, scales, element, symmetric):
            rows = Rows(scales, zeros)
            error = _error(x, rows, element)
            better = error < least
            least = np.where(better, error, least)
            best = Rows(np.where(better, scales, best.scales), np.where(better, zeros, best.zero_points))

    start = best.scales
    if power_of_two:
        for halvings in range(HALVINGS + 1):
            consider(start * 2.0**-halvings)
        return best
    for eighth in range(8 * HALVINGS + 1):
        consider(round_scales(start * 2.0 ** (-eighth / 8)))
    start = best.scales
    for part in range(-7, 8):
        consider(round_scales(start * 2.0 ** (part / 64)))
    return best


def _zero_points(low: NDArray[np.float64], high: NDArray[np.float64], scales: NDArray[np.float64], element: IntType,
                 symmetric: bool) -> Iterator[NDArray[np.int64]]:  # fmt: skip
    """Zero points for a scale: from the one that clips nothing below to the one that clips nothing above."""
    if symmetric:
        yield np.zeros(len(scales), np.int64)
        return
    keeps_low = np.clip(element.min - np.minimum(low, 0.0) / scales, element.min, element.max)
    keeps_high = np.clip(element.max - np.maximum(high, 0.0) / scales, element.min, element.max)
    previous = None
    for share in np.linspace(0, 1, 9):
        zeros = np.rint(keeps_low + share * (keeps_high - keeps_low)).astype(np.int64)
        if previous is None or (zeros != previous).any():
            yield zeros
        previous = zeros


def _error(x: NDArray[np.float64], rows: Rows, element: IntType) -> NDArray[np.float64]:
    distance = np.abs(x - rows.reals(rows.codes(x, element)))
    return (distance**NORM).mean(axis=1)
