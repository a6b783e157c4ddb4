"""Moments of what a layer reads, before and after rounding: all that its squared error depends on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from intsim.calibrate.method import Problem
from intsim.calibrate.observers import watch
from intsim.calibrate.place import Placed
from intsim.ir.float_graph import MOVEMENTS, FloatNode
from intsim.ir.quantized import Quantizer
from intsim.ir.types import Grid

if TYPE_CHECKING:
    from torch import Generator, Tensor

POSITIONS = 512
"""Positions of each image's results that are looked at."""
RIDGE = 0.01
"""What the covariance's diagonal gets added, as a share of its mean: calibration data leave some directions out."""


class Moments:
    """Moments of what the outputs of a layer read, added up: x in the float network, and x^ once it is rounded.

    real_sums, sums  float64 (G, K): of each of the K inputs x, x^ of an output, in each of G groups
    cross, gram      float64 (G, K, K): of products x_k x^_l, and x^_k x^_l
    """

    def __init__(self) -> None:
        self.count = 0
        self.real_sums: NDArray[np.float64] = np.zeros(())
        self.sums: NDArray[np.float64] = np.zeros(())
        self.cross: NDArray[np.float64] = np.zeros(())
        self.gram: NDArray[np.float64] = np.zeros(())

    def add(self, reals: NDArray[np.float64], rounded: NDArray[np.float64]) -> None:
        """Both (G, n, K)."""
        self.count += reals.shape[1]
        self.real_sums = self.real_sums + reals.sum(axis=1)
        self.sums = self.sums + rounded.sum(axis=1)
        self.cross = self.cross + reals.swapaxes(1, 2) @ rounded
        self.gram = self.gram + rounded.swapaxes(1, 2) @ rounded

    def look(self, node: FloatNode, reals: Tensor, rounded: Tensor, generator: Generator) -> None:
        """Add what a layer reads of images (N, ...), at POSITIONS of its results in each, drawn by the generator."""
        import torch

        for pair in zip(reals, rounded, strict=True):
            self.add(*_rows(node, torch.stack(pair), generator))

    @property
    def shape(self) -> tuple[int, int]:
        """G and K."""
        groups, size = self.sums.shape
        return groups, size

    @property
    def covariance(self) -> NDArray[np.float64]:
        """float64 (G, K, K), of x^ with the ridge: positive definite, or the identity where nothing ever differs."""
        covariance = self._centered(self.gram, self.sums)
        size = covariance.shape[1]
        level = np.trace(covariance, axis1=1, axis2=2) / size
        level = np.where(level > 0, level, level.max() if level.max() > 0 else 1.0)
        return covariance + RIDGE * level[:, None, None] * np.eye(size)

    def wanted(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """The real weights (G, R, K) on x^ whose results come nearest to those of `weights` on x.

        Exact:  w* = w + w (D - C) (C + ridge)**-1, with C the covariance of x^ and D that of x and x^
        """
        rounding = self._centered(self.cross, self.real_sums) - self._centered(self.gram, self.sums)
        return weights + np.linalg.solve(self.covariance, (weights @ rounding).swapaxes(1, 2)).swapaxes(1, 2)

    def bias(self, weights: NDArray[np.float64], rounded: NDArray[np.float64]) -> NDArray[np.float64]:
        """What (G, R) results of `rounded` weights on x^ lack on the average to those of `weights` on x."""
        sums = np.einsum("grk,gk->gr", weights, self.real_sums) - np.einsum("grk,gk->gr", rounded, self.sums)
        return sums / self.count

    def _centered(self, products: NDArray[np.float64], sums: NDArray[np.float64]) -> NDArray[np.float64]:
        return products / self.count - sums[:, :, None] * self.sums[:, None, :] / self.count**2


def moments_of(
    layers: Sequence[FloatNode], problem: Problem, quantizers: Mapping[str, Quantizer]
) -> dict[str, Moments]:
    """Of what these layers of the float network read, over all calibration data, rounded by the quantizers."""
    import torch

    graph = problem.placed.graph
    found = {node.name: Moments() for node in layers}
    generator = torch.Generator().manual_seed(problem.settings.seed)

    def visit(name: str, value: Tensor) -> None:
        readers = [node for node in layers if node.inputs[0] == name]
        if not readers:
            return
        rounded = value
        for quantizer in _on_the_way(problem.placed, quantizers, name):
            rounded = _round(rounded, quantizer.grid)
        for node in readers:
            found[node.name].look(node, value, rounded, generator)

    with torch.no_grad():
        for name, images in zip(graph.inputs, problem.inputs, strict=True):
            visit(name, images)
        watch(graph, problem.inputs, visit, problem.progress, "what layers read")
    return found


def _on_the_way(placed: Placed, quantizers: Mapping[str, Quantizer], name: str) -> list[Quantizer]:
    """Those between a result and what layers read of it, in order; the network's own have rounded already."""
    found: list[Quantizer] = []
    node = placed.graph.by_name.get(name)
    while node is not None and node.op in MOVEMENTS | {"quantize"}:
        if node.name in quantizers:
            found.insert(0, quantizers[node.name])
        node = placed.graph.by_name.get(node.inputs[0])
    return found


def _round(x: Tensor, grid: Grid) -> Tensor:
    """Movements pass codes on as they are, so that rounding what they give is rounding what they get."""
    scale, zero = float(grid.scale.array[0]), grid.zero_point[0]
    codes = (x / scale).round().add(zero).clamp(grid.element.min, grid.element.max)
    return (codes - zero) * scale


def _rows(node: FloatNode, images: Tensor, generator: Generator) -> NDArray[np.float64]:
    """What the same positions of a layer's results read of each of some images, (N, G, n, K)."""
    import torch
    from torch.nn import functional

    if node.op == "linear":
        rows = images.reshape(len(images), 1, -1, images.shape[-1])
    else:
        how, kernel = node.attributes, node.arrays["weight"].shape[2:]
        top, bottom, left, right = how["padding"]
        padded = functional.pad(images, (left, right, top, bottom))
        columns = functional.unfold(padded, kernel, how["dilation"], 0, how["stride"])
        rows = columns.reshape(len(images), how["groups"], -1, columns.shape[-1]).transpose(2, 3)
    if rows.shape[2] > POSITIONS:
        rows = rows[:, :, torch.randint(rows.shape[2], (POSITIONS,), generator=generator)]
    numbers: NDArray[np.float64] = rows.double().numpy()
    return numbers
