"""What the values of a network look like on calibration data: extremes and a sample, in bounded memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from intsim.calibrate.place import Placed
from intsim.errors import CalibrationError
from intsim.ir.float_graph import FloatGraph
from intsim.ir.types import format_shape
from intsim.progress import Progress

if TYPE_CHECKING:
    from torch import Tensor

    from intsim.frontend.execute import Visit

SAMPLE = 1 << 16
"""Values kept of each tensor."""
BATCH = 25
"""Images at a time, small enough for ImageNet's activations."""


@dataclass(frozen=True, eq=False)
class Observation:
    """The values that quantizers on one grid will see.

    low, high  extremes of all calibration data
    sample     float32 (n,), drawn evenly from all of it
    """

    low: float
    high: float
    sample: NDArray[np.float32]


def check_inputs(graph: FloatGraph, inputs: tuple[Tensor, ...], dtype: str = "float32") -> None:
    """CalibrationError unless there is one finite tensor for each graph input, of its shape, with an image in it."""
    if len(inputs) != len(graph.inputs):
        raise CalibrationError(f"calibration data: expected {len(graph.inputs)} tensors, got {len(inputs)}")
    for (name, shape), tensor in zip(graph.inputs.items(), inputs, strict=True):
        kind = str(tensor.dtype).removeprefix("torch.")
        got = f"{kind} {format_shape(tuple(tensor.shape))}"
        if kind != dtype or tuple(tensor.shape[1:]) != shape[1:]:
            raise CalibrationError(f"calibration data for '{name}': expected {dtype} {format_shape(shape)}, got {got}")
        if len(tensor) == 0:
            raise CalibrationError(f"calibration data for '{name}' is empty: {got}")
        if len(tensor) != len(inputs[0]):
            raise CalibrationError(f"calibration data for '{name}' has {len(tensor)} images, not {len(inputs[0])}")
        _check_finite(f"calibration data for '{name}'", tensor, "")


def _check_finite(what: str, tensor: Tensor, why: str) -> None:
    bad = int((~tensor.isfinite()).sum())
    if bad:
        raise CalibrationError(f"{what}: {bad} of {tensor.numel()} values are NaN or infinite{why}")


def watch(
    graph: FloatGraph, inputs: tuple[Tensor, ...], visit: Visit, progress: Progress, what: str, batch: int = BATCH
) -> None:
    """Run the float network over the calibration data, some images at a time, and show every value to `visit`."""
    from intsim.frontend.execute import run_float

    images = len(inputs[0])
    for start in range(0, images, batch):
        run_float(graph, *(tensor[start : start + batch] for tensor in inputs), visit=visit)
        progress(what, min(start + batch, images), images)


def observe(
    placed: Placed, inputs: tuple[Tensor, ...], seed: int, progress: Progress, batch: int = BATCH
) -> dict[str, Observation]:
    """Run the float network over the calibration data and look at every value that gets a quantizer.

    inputs   float32 tensors, checked
    returns  one observation for each quantize node; tied nodes have one in common
    raises   CalibrationError where the network makes NaN or infinity
    """
    random = np.random.default_rng(seed)
    images = len(inputs[0])
    # Tied quantizers are calibrated on what they make together: the concatenation.
    watched = {name: name for name in placed.elements}
    watched |= {name: concat for concat, names in placed.ties.items() for name in names}
    low = dict.fromkeys(watched.values(), np.inf)
    high = dict.fromkeys(watched.values(), -np.inf)
    samples: dict[str, list[NDArray[np.float32]]] = {name: [] for name in low}

    def visit(name: str, value: Tensor) -> None:
        if name not in samples:
            return
        _check_finite(f"'{name}'", value, " on calibration data: the float network itself overflows there")
        low[name] = min(low[name], float(value.min()))
        high[name] = max(high[name], float(value.max()))
        values = value.numpy().ravel()
        share = -(-SAMPLE * len(value) // images)  # of the sample, what this batch has of all images
        samples[name].append(values[random.integers(0, len(values), share)] if share < len(values) else values.copy())

    watch(placed.graph, inputs, visit, progress, "observing", batch)
    seen = {name: Observation(low[name], high[name], np.concatenate(parts)) for name, parts in samples.items()}
    return {name: seen[source] for name, source in watched.items()}
