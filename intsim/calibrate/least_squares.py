"""Integer least squares: the grids and codes of weights that change a layer's results least, layer by layer.

What a rounded weight does to a result depends on what it multiplies. Neighbouring pixels are nearly alike, so a filter
whose errors add up to nothing hardly errs, however large each is; and to those of a channel that always comes with
another, the other's can answer. What it multiplies are codes, and by what their neighbours say weights can undo some of
the rounding in them. The moments of what a layer reads, before and after rounding, know all that, and no image is
needed twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from intsim.calibrate import mse
from intsim.calibrate.method import Decision, Problem, method
from intsim.calibrate.moments import ReadMoments, moments_of
from intsim.calibrate.nearest import SMALLEST_SHARE, Rows, decide_nearest, round_scales
from intsim.calibrate.settings import Settings
from intsim.dtypes import IntType
from intsim.ir.float_graph import FloatNode
from intsim.ir.types import Value

WIDEST = 7
"""Bits of weights that are fitted, or of what they multiply: errors of 8 are below those of everything else."""
SWEEPS = 4
"""Visits to every weight; most have their code after two."""
BLOCK = 64
"""Weights of a row that are visited before the slopes of all others follow."""
REFITS = 3
"""How often real scales are fitted to codes, and codes to scales."""
OCTAVES, EXPONENTS = (-0.25, 0.0, 0.25, 0.5, 1.0), (-1, 0, 1)
"""Scales that are tried, real ones and powers of two, beside those of the least error of the weights themselves."""


@dataclass(frozen=True)
class LeastSquaresOptions:
    """Hyper-parameters of least squares.

    mode  sequential: a layer reads what arrives from the fitted layers before it; parallel: what the float network
          gives, rounded, so that layers do not depend on each other, as losses of single layers want it
    """

    mode: Literal["sequential", "parallel"] = "sequential"


@method("least_squares", "grids and codes of weights that change each layer's results least", LeastSquaresOptions)
def least_squares(problem: Problem, options: LeastSquaresOptions) -> Decision:
    """Activations as mse has them; no gradient, and no more than one look at what each layer reads.

    Biases keep every channel's mean result the float network's.
    Source: coordinate descent for one layer's objective, as COMQ (Zhang et al. 2024, arXiv 2403.07134) and QuantEase
            (Behdin et al. 2023, arXiv 2309.01885) have it; scales, exponents and zero points searched with it are ours
    """
    start = decide_nearest(problem, mse.activation_grid, mse.weight_rows)
    widths = problem.widths
    layers = [
        node
        for node in problem.placed.open_layers
        if min(widths[node.name].weight_bits, widths[node.name].act_bits) <= WIDEST
    ]
    if options.mode == "parallel":
        return _fit_in_parallel(problem, start, layers)
    return _fit_in_sequence(problem, start, layers)


def _fit_in_parallel(problem: Problem, start: Decision, layers: Sequence[FloatNode]) -> Decision:
    weights, biases = dict(start.weights), dict(start.biases)
    reads = moments_of(layers, problem, start.quantizers)
    for done, node in enumerate(layers, start=1):
        weights[node.name], biases[node.name] = fit_layer(node, start.weights[node.name], reads[node.name], problem)
        problem.progress("least squares", done, len(layers))
    return replace(start, weights=weights, biases=biases)


def _fit_in_sequence(problem: Problem, start: Decision, layers: Sequence[FloatNode]) -> Decision:
    import torch

    from intsim.calibrate.decided import DecidedNetwork
    from intsim.calibrate.values import Values
    from intsim.frontend.execute import run_node

    graph, network = problem.placed.graph, DecidedNetwork(problem, start)
    values, floats = Values(graph, problem.inputs, network.evaluate), Values(graph, problem.inputs, run_node)
    weights, biases = dict(start.weights), dict(start.biases)
    generator = torch.Generator().manual_seed(problem.settings.seed)
    for done, node in enumerate(layers, start=1):
        read, name = ReadMoments(), node.name
        (arrived,), (reals,) = values.get(node.inputs), floats.get(node.inputs)
        read.look(node, reals, arrived, generator)
        weights[name], biases[name] = fit_layer(node, start.weights[name], read, problem)
        network.change(name, weights[name], biases[name])
        values.forget_before(node)
        floats.forget_before(node)
        problem.progress("least squares", done, len(layers))
    return replace(start, weights=weights, biases=biases)


def fit_layer(node: FloatNode, start: Value, read: ReadMoments, problem: Problem) -> tuple[Value, NDArray[np.float64]]:
    """The codes of a layer's weights, and its bias, by least squares."""
    weight = node.arrays["weight"]
    bias = node.arrays.get("bias", np.zeros(len(weight), np.float32))
    fitted = fit(weight, start, read, problem.settings)
    return fitted, bias + read.bias(_grouped(weight, read), _grouped(fitted.reals, read)).ravel()


def fit(weight: NDArray[np.floating], start: Value, read: ReadMoments, settings: Settings) -> Value:
    """The weights (O, ...) of a layer on grids near those of `start`, with no larger error of its results than there.

    Exact:  least e = d C d' with d = w* - w^ for every output (moments.py), C the covariance of what it reads, over
            codes (descend), zero points and scales, or exponents beside that of `start`; one grid for all outputs stays
            as it is
    """
    grid = start.type.integer
    element, ridge = grid.element, read.ridge(_grouped(weight, read))
    x, covariance = read.whole.wanted(_grouped(weight, read), ridge), read.whole.covariance(ridge)
    scales, zeros = (np.broadcast_to(a, len(weight)).reshape(x.shape[:2]) for a in (grid.scale.array, grid.zero_point))
    best = descend(x, Rows(scales, zeros), element, covariance)
    if len(grid.scale) == 1:
        return replace(start, codes=best.codes.reshape(weight.shape).astype(element.storage))
    least = scales.max() * SMALLEST_SHARE
    for octaves in EXPONENTS if settings.power_of_two else OCTAVES:
        tried = np.maximum(scales * 2.0**octaves, least)
        for points in _zero_points(x, tried, element, settings.weight_grid == "symmetric"):
            best = best.or_better(descend(x, Rows(tried, points), element, covariance, sweeps=1))
    for _ in range(REFITS):
        rows = best.rows
        if not settings.power_of_two:
            levels = best.codes - rows.zero_points[..., None]
            along, own = ((of @ covariance * levels).sum(axis=-1) for of in (x, levels))
            tried = np.where(along > 0, along / np.where(own > 0, own, 1), rows.scales)
            rows = Rows(np.maximum(round_scales(tried), least), rows.zero_points)
        best = best.or_better(descend(x, rows, element, covariance, codes=best.codes))
    return best.rows.value(best.codes, element, weight.shape, settings.power_of_two)


@dataclass(frozen=True, eq=False)
class Fit:
    """Rows (G, R, K) of weights on their grids: codes, and the error of each row's results, (G, R)."""

    rows: Rows
    codes: NDArray[np.float64]
    error: NDArray[np.float64]

    def or_better(self, other: Fit) -> Fit:
        """Row by row the one with the smaller error."""
        better = other.error < self.error
        pairs = ((other.rows.scales, self.rows.scales), (other.rows.zero_points, self.rows.zero_points))
        return Fit(
            Rows(*(np.where(better, theirs, ours) for theirs, ours in pairs)),
            np.where(better[..., None], other.codes, self.codes),
            np.where(better, other.error, self.error),
        )


def descend(
    x: NDArray[np.float64],
    rows: Rows,
    element: IntType,
    covariance: NDArray[np.float64],
    sweeps: int = SWEEPS,
    codes: NDArray[np.float64] | None = None,
) -> Fit:
    """Codes from which no other code of one weight makes the row's error smaller, once a sweep changes nothing.

    x           float64 (G, R, K)
    rows        a scale and a zero point for each of the rows, (G, R)
    covariance  float64 (G, K, K), positive definite
    codes       where to begin; else the nearest ones
    Exact:      weight by weight, code = clip(rint((x_k - d_k + (d C)_k / C_kk) / s) + z), d = x - x^ as it is then
    """
    order = np.argsort(-np.einsum("gkk->k", covariance))  # what matters most first: the others can make up for it
    x, covariance = x[..., order], covariance[:, order[:, None], order]
    codes = rows.codes(x, element) if codes is None else codes[..., order]
    error = x - rows.reals(codes)
    slope = error @ covariance
    step = np.ascontiguousarray(np.einsum("gkk->kg", covariance))[..., None]
    for _ in range(sweeps):
        before = codes.copy()
        for start in range(0, x.shape[-1], BLOCK):
            block = slice(start, start + BLOCK)
            own, here, moved = covariance[:, block, block], slope[..., block].copy(), error[..., block].copy()
            for k in range(own.shape[-1]):
                wanted = x[..., start + k] - moved[..., k] + here[..., k] / step[start + k]
                code = rows.codes(wanted[..., None], element)[..., 0]
                change = (codes[..., start + k] - code) * rows.scales
                codes[..., start + k] = code
                moved[..., k] += change
                here += change[..., None] * own[:, None, k]
            slope += (moved - error[..., block]) @ covariance[:, block]
            error[..., block] = moved
        if np.array_equal(codes, before):
            break
    found = np.empty_like(codes)
    found[..., order] = codes
    return Fit(rows, found, (error @ covariance * error).sum(axis=-1))


def _zero_points(
    x: NDArray[np.float64], scales: NDArray[np.float64], element: IntType, symmetric: bool
) -> Iterator[NDArray[np.int64]]:
    """The zero point with which the grid's middle is that of a row's extremes, and those beside it."""
    if symmetric:
        yield np.zeros(scales.shape, np.int64)
        return
    middle = (x.max(axis=-1) + x.min(axis=-1)) / 2
    for beside in (-1, 0, 1):
        zeros = np.rint((element.max + element.min) / 2 - middle / scales) + beside
        yield np.clip(zeros, element.min, element.max).astype(np.int64)


def _grouped(weight: NDArray[np.floating], read: ReadMoments) -> NDArray[np.float64]:
    """Weights (O, ...) as (G, O / G, K)."""
    groups, size = read.shape
    return weight.astype(np.float64).reshape(groups, -1, size)
