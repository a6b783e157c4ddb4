"""A sensitivity that needs no labels and no calibration: how much noise rounding puts into a layer, times its products.

A stand-in for measured sensitivities: it ranks widths within a layer well, and layers among each other roughly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intsim.costing.workload import Layer

CLIPS = np.linspace(0.2, 1.0, 17)
"""Fractions of the largest magnitude at which a grid may clip; the best for each width is taken."""


def relative_noise(values: NDArray[np.floating[Any]], bits: int) -> float:
    """Noise over signal when values are rounded to `bits` bits: mean squared error over mean square, 0 for all zeros.

    The grid is symmetric where there are negative values, 2^bits - 1 levels, and unsigned otherwise, 2^bits levels; the
    best of 17 clipping ranges.
    Exact:   min over r in CLIPS of mean((v - s * clip(rint(v / s), low, high))^2) / mean(v^2), s = r * max|v| / high
    """
    flat = values.astype(np.float64).ravel()
    power, largest = float(np.mean(flat**2)), float(np.abs(flat).max(initial=0.0))
    if power == 0:
        return 0.0
    signed = bool((flat < 0).any())
    high = max(2 ** (bits - signed) - 1, 1)
    low = -high if signed else 0
    steps = CLIPS * largest / high
    errors = (np.mean((flat - step * np.clip(np.rint(flat / step), low, high)) ** 2) for step in steps)
    return float(min(errors)) / power


def noise_sensitivities(
    layers: Sequence[Layer],
    pairs: Iterable[tuple[int, int]],
    weights: Mapping[str, NDArray[np.floating[Any]]],
    activations: Mapping[str, NDArray[np.floating[Any]]],
) -> dict[str, dict[tuple[int, int], float]]:
    """Loss of every layer that has weights, at each pair of widths: the noise in its results, summed over its products.

    pairs         (weight bits, activation bits)
    weights       by layer, any shape
    activations   by layer, a sample of what it reads; where one is missing, uniform on [0, 1]: 4^-bits / 4
    Exact:        macs * (relative_noise(weights, w) + relative_noise(activations, a))
    """
    pairs = list(pairs)
    table: dict[str, dict[tuple[int, int], float]] = {}
    for layer in layers:
        if layer.name not in weights:
            continue
        read = activations.get(layer.name)
        by_weight = {w: relative_noise(weights[layer.name], w) for w, _ in pairs}
        by_act = {a: 4.0**-a / 4 if read is None else relative_noise(read, a) for _, a in pairs}
        table[layer.name] = {(w, a): layer.macs * (by_weight[w] + by_act[a]) for w, a in pairs}
    return table
