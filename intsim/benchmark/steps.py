"""Where the time of one graph goes: every step of the native backend, on random images."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

import numpy as np

from intsim.backends.native import NativeBackend
from intsim.ir.graph import Graph
from intsim.progress import Progress, silent

WARM_UP = 2


@dataclass(frozen=True)
class Step:
    """A step of a run: a layer with what is fused into its tiles, or what moves and converts codes.

    ms     median
    share  of all steps' medians, 0..1
    gmacs  GMAC/s; 0 for steps without weights
    """

    name: str
    kernel: str
    ms: float
    share: float
    gmacs: float


def step_times(
    graph: Graph, batch: int = 1, threads: int = 1, rounds: int = 31, progress: Progress = silent
) -> list[Step]:
    """Every step of a run, in order, the median of `rounds` runs."""
    rng = np.random.default_rng(0)
    images = []
    for type in graph.inputs.values():
        shape = tuple(batch if extent is None else extent for extent in type.shape)
        if type.grid is None:
            images.append(rng.standard_normal(shape, np.float32))
        else:
            element = type.grid.element
            images.append(rng.integers(element.min, element.max, shape, element.storage, endpoint=True))
    native = NativeBackend(graph, threads)
    runs = []
    for done in range(WARM_UP + rounds):
        progress("runs", done, WARM_UP + rounds)
        runs.append(native.profile(*images))
    names = [name for name, _ in runs[0]]
    medians = [median(ns) for ns in zip(*([ns for _, ns in run] for run in runs[WARM_UP:]), strict=True)]
    macs, kernels, total = graph.macs(), native.kernels, sum(medians)
    # Padding a layer's input and handing out its result are steps of the same name; the longest one is the layer.
    longest = {name: ns for ns, name in sorted(zip(medians, names, strict=True))}
    steps = []
    for name, ns in zip(names, medians, strict=True):
        is_layer = ns == longest[name]
        kernel, rate = (kernels.get(name, ""), batch * macs.get(name, 0) / ns) if is_layer else ("", 0.0)
        steps.append(Step(name, kernel, ns / 1e6, ns / total, rate))
    return steps
