"""What accuracy is compared by: McNemar's test image by image, and the error of every layer in decibels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from intsim.backends import load_backend
from intsim.ir.float_graph import FloatGraph
from intsim.ir.graph import Graph


def mcnemar(ours: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> float:
    """The probability that two equally good classifiers differ as much on the same images.

    ours, theirs  bool (N,): which images each gets right
    Exact:        two-sided binomial test of b against b + c with p = 1/2; b, c: images that only one gets right
    Source:       McNemar 1947, exact form
    """
    from scipy.stats import binomtest

    only_ours, only_theirs = int((ours & ~theirs).sum()), int((theirs & ~ours).sum())
    both = only_ours + only_theirs
    return float(binomtest(only_ours, both).pvalue) if both else 1.0


def sqnr(wanted: NDArray[np.floating], found: NDArray[np.floating]) -> float:
    """Signal to quantization noise in dB; infinite for no noise.

    Exact: 10 log10(sum wanted**2 / sum (found - wanted)**2)
    """
    noise = float(np.square(found - wanted, dtype=np.float64).sum())
    signal = float(np.square(wanted, dtype=np.float64).sum())
    if noise == 0:
        return float("inf")
    return 10 * float(np.log10(signal / noise)) if signal else float("-inf")


def float_layers(graph: FloatGraph, inputs: tuple[NDArray[np.float32], ...]) -> dict[str, NDArray[np.float32]]:
    """What every layer with weights computes in the float network, by name."""
    from intsim.frontend.execute import as_tensor, run_float

    layers = {node.name for node in graph.weighted}
    found: dict[str, NDArray[np.float32]] = {}
    run_float(
        graph,
        *map(as_tensor, inputs),
        visit=lambda name, value: found.update({name: value.numpy()}) if name in layers else None,
    )
    return found


def layer_sqnr(
    graph: Graph, inputs: tuple[NDArray[np.float32], ...], wanted: Mapping[str, NDArray[np.float32]]
) -> dict[str, float]:
    """SQNR of the results of layers in an integer graph, errors of all layers before them included.

    wanted  the float network's results on the same inputs, by layer
    """
    found = load_backend("native", graph).run(*inputs, wanted=tuple(wanted))
    return {name: sqnr(value, found[name].reals) for name, value in wanted.items()}
