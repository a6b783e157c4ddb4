"""Calibration: from a float graph and calibration data to the quantized graph, by one of METHODS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from intsim.calibrate import (  # noqa: F401  (register their methods)
    adaquant,
    adaround,
    least_squares,
    minmax,
    mse,
    percentile,
    rapq,
    uwc,
)
from intsim.calibrate.equalize import equalize
from intsim.calibrate.finish import finish
from intsim.calibrate.input_u8 import fold_pixels, pixel_levels
from intsim.calibrate.method import METHODS, Problem, method_of
from intsim.calibrate.observers import check_inputs, observe
from intsim.calibrate.place import place
from intsim.calibrate.settings import LayerWidths, Pixels, Settings
from intsim.calibrate.widths import layer_widths, read_widths
from intsim.ir.float_graph import FloatGraph
from intsim.ir.quantized import MADE_FROM, QuantizedGraph, Quantizer
from intsim.progress import Progress, silent

if TYPE_CHECKING:
    from torch import Tensor

    Images = Tensor | NDArray[Any]

__all__ = ["METHODS", "LayerWidths", "Pixels", "Settings", "method_of", "quantize_graph", "read_widths"]


def quantize_graph(
    graph: FloatGraph,
    inputs: Images | Sequence[Images],
    settings: Settings,
    progress: Progress = silent,
    resume: Path | None = None,
) -> QuantizedGraph:
    """Calibrate a float network.

    inputs    calibration data, one tensor (N, ...) for each graph input: float32, or uint8 with settings.pixels
    progress  called with (what, steps done, steps in all)
    resume    folder in which methods that train keep their state, and from which a stopped one goes on
    raises    CalibrationError for settings, widths or data from which no quantized graph can be made
    """
    method, options = method_of(settings)
    import torch

    made_from = graph.digest()
    tensors = tuple(map(torch.as_tensor, inputs if isinstance(inputs, Sequence) else (inputs,)))
    fixed: dict[str, Quantizer] = {}
    check_inputs(graph, tensors, "float32" if settings.pixels is None else "uint8")
    if settings.pixels is not None:
        graph, fixed = fold_pixels(graph, settings.pixels)
        tensors = tuple(pixel_levels(tensor, fixed[name].grid) for name, tensor in zip(fixed, tensors, strict=True))
    widths = layer_widths(graph, settings)
    if settings.equalize:
        graph = equalize(graph, tensors, widths, settings, progress)
    placed = place(graph, widths, settings, fixed)
    observations = observe(placed, tensors, settings.seed, progress)
    problem = Problem(placed, widths, observations, tensors, settings, progress, resume)
    decision = method.decide(problem, options)
    if settings.tune != "none":
        from intsim.calibrate.statistics import tune

        decision = tune(problem, decision)
    quantized = finish(placed, decision, settings)
    return replace(quantized, metadata={**quantized.metadata, MADE_FROM: made_from})
