"""Integer least squares: the grids and codes of weights that change a layer's results least, layer by layer.

What a rounded weight does to a result depends on what it multiplies. Neighbouring pixels are nearly alike, so a filter
whose errors add up to nothing hardly errs, however large each is; and to those of a channel that always comes with
another, the other's can answer. The covariance of what a layer reads knows all that, and no image is needed twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from intsim.calibrate import mse
from intsim.calibrate.method import Decision, Problem, method
from intsim.calibrate.nearest import SMALLEST_SHARE, Rows, decide_nearest, round_scales
from intsim.calibrate.observers import watch
from intsim.calibrate.options import NoOptions
from intsim.calibrate.settings import Settings
from intsim.dtypes import IntType
from intsim.ir.float_graph import FloatNode
from intsim.ir.types import Value

if TYPE_CHECKING:
    from torch import Generator, Tensor

WIDEST = 7
"""Bits of weights that are fitted: errors of 8 bits are below those of everything else."""
POSITIONS = 512
"""Positions of each image's results that are looked at."""
RIDGE = 0.01
"""What the covariance's diagonal gets added, as a share of its mean: calibration data leave some directions out."""
SWEEPS = 4
"""Visits to every weight; most have their code after two."""
BLOCK = 64
"""Weights of a row that are visited before the slopes of all others follow."""
REFITS = 3
"""How often real scales are fitted to codes, and codes to scales."""
OCTAVES, EXPONENTS = (-0.25, 0.0, 0.25, 0.5, 1.0), (-1, 0, 1)
"""Scales that are tried, real ones and powers of two, beside those of the least error of the weights themselves."""


@method("least_squares", "grids and codes of weights that change each layer's results least", NoOptions)
def least_squares(problem: Problem, _: NoOptions) -> Decision:
    """Activations as mse has them; no gradient, and no more than one look at the calibration data.

    Biases keep every channel's mean result the float network's.
    Source: coordinate descent for one layer's objective, as COMQ (Zhang et al. 2024, arXiv 2403.07134) and QuantEase
            (Behdin et al. 2023, arXiv 2309.01885) have it; scales, exponents and zero points searched with it are ours
    """
    reads = watch_layers(problem)
    return fit_weights(problem, decide_nearest(problem, mse.activation_grid, mse.weight_rows), reads)


class Reads:
    """Moments of what the outputs of a layer read, added up.

    sums    float64 (G, K): of each of the K inputs of an output, in each of G groups
    gram    float64 (G, K, K): of their products
    """

    def __init__(self) -> None:
        self.count = 0
        self.sums: NDArray[np.float64] = np.zeros(())
        self.gram: NDArray[np.float64] = np.zeros(())

    def add(self, rows: NDArray[np.float64]) -> None:
        """rows (G, n, K)."""
        self.count += rows.shape[1]
        self.sums = self.sums + rows.sum(axis=1)
        self.gram = self.gram + rows.swapaxes(1, 2) @ rows

    @property
    def means(self) -> NDArray[np.float64]:
        return self.sums / self.count

    @property
    def covariance(self) -> NDArray[np.float64]:
        """float64 (G, K, K), with the ridge: positive definite, or the identity where nothing ever differs."""
        covariance = self.gram / self.count - self.means[:, :, None] * self.means[:, None, :]
        size = covariance.shape[1]
        level = np.trace(covariance, axis1=1, axis2=2) / size
        level = np.where(level > 0, level, level.max() if level.max() > 0 else 1.0)
        return covariance + RIDGE * level[:, None, None] * np.eye(size)


def watch_layers(problem: Problem) -> dict[str, Reads]:
    """Moments of what the float network's open layers of at most WIDEST bits read, over all calibration data."""
    import torch

    graph = problem.placed.graph
    layers = [node for node in problem.placed.open_layers if problem.widths[node.name].weight_bits <= WIDEST]
    reads = {node.name: Reads() for node in layers}
    generator = torch.Generator().manual_seed(problem.settings.seed)

    def visit(name: str, value: Tensor) -> None:
        for node in layers:
            if node.inputs[0] == name:
                for image in value:
                    reads[node.name].add(_rows(node, image, generator))

    with torch.no_grad():
        for name, images in zip(graph.inputs, problem.inputs, strict=True):
            visit(name, images)
        watch(graph, problem.inputs, visit, problem.progress, "what layers read")
    return reads


def _rows(node: FloatNode, image: Tensor, generator: Generator) -> NDArray[np.float64]:
    """What some positions of a layer's results read of one image, (G, n, K)."""
    import torch
    from torch.nn import functional

    if node.op == "linear":
        rows = image.reshape(1, -1, image.shape[-1])
    else:
        how, kernel = node.attributes, node.arrays["weight"].shape[2:]
        top, bottom, left, right = how["padding"]
        padded = functional.pad(image[None], (left, right, top, bottom))
        columns = functional.unfold(padded, kernel, how["dilation"], 0, how["stride"])
        rows = columns.reshape(how["groups"], -1, columns.shape[-1]).transpose(1, 2)
    if rows.shape[1] > POSITIONS:
        rows = rows[:, torch.randint(rows.shape[1], (POSITIONS,), generator=generator)]
    found: NDArray[np.float64] = rows.double().numpy()
    return found


def fit_weights(problem: Problem, decision: Decision, reads: Mapping[str, Reads]) -> Decision:
    """The decision with the grids, codes and biases of these layers by least squares."""
    weights, biases = dict(decision.weights), dict(decision.biases)
    for done, (name, read) in enumerate(reads.items()):
        arrays = problem.placed.graph.by_name[name].arrays
        weight, bias = arrays["weight"], arrays.get("bias", np.zeros(len(arrays["weight"]), np.float32))
        weights[name] = fitted = fit(weight, decision.weights[name], read, problem.settings)
        lost = _grouped(weight - fitted.reals, read)
        biases[name] = bias + np.einsum("grk,gk->gr", lost, read.means).ravel()
        problem.progress("least squares", done + 1, len(reads))
    return replace(decision, weights=weights, biases=biases)


def fit(weight: NDArray[np.floating], start: Value, read: Reads, settings: Settings) -> Value:
    """The weights (O, ...) of a layer on grids near those of `start`, with no larger error of its results than there.

    Exact:  least e = d C d' with d = w - w^ for every output, C the covariance of what it reads, over codes (descend),
            zero points and scales, or exponents beside that of `start`; one grid for all outputs stays as it is
    """
    grid = start.type.integer
    element, x, covariance = grid.element, _grouped(weight, read), read.covariance
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


def _grouped(weight: NDArray[np.floating], read: Reads) -> NDArray[np.float64]:
    """Weights (O, ...) as (G, O / G, K)."""
    groups, size = read.sums.shape
    return weight.astype(np.float64).reshape(groups, -1, size)
