"""Quantizers that the network has itself: of activations, and of the weights that layers read."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from intsim.dtypes import IntType
from intsim.errors import CaptureError
from intsim.frontend.operators.call import Call, Converted, Step, converts
from intsim.frontend.quantizers import thresholds_of
from intsim.ir.types import Grid, Scale

WIDEST = 8
"""Bits that codes may have."""


@converts("intsim.fake_quantize.default")
def _fake_quantize(call: Call) -> Converted:
    scale, element = _positive(call, "scale"), _element(call)
    if scale.size != 1:
        raise CaptureError(f"expected one scale for all activations, got {scale.size}")
    source, steps = call.value(call.node.args[0]), list[Step]()
    if (element.min, element.max) != (call["low"], call["high"]):
        low, high = (float((call[end] - call["zero_point"]) * scale.reshape(())) for end in ("low", "high"))
        steps.append(("clamp", {"low": low, "high": high}, {}, call.shape))
    attributes = {"zero_point": call["zero_point"], "low": element.min, "high": element.max}
    steps.append(("quantize", attributes, {"scale": scale.reshape(())}, call.shape))
    return Converted((source,), tuple(steps))


@converts("intsim.threshold_quantize.default")
def _threshold_quantize(call: Call) -> Converted:
    scale = _positive(call, "step")
    start, intervals = (call.constants[call[name]].detach().float() for name in ("start", "intervals"))
    thresholds = thresholds_of(start, intervals).cpu().numpy()
    if len(thresholds) >= 2**WIDEST:
        raise CaptureError(f"{len(thresholds)} thresholds make codes of more than {WIDEST} bits")
    attributes = {"zero_point": call["zero_point"]}
    source = call.value(call.node.args[0])
    arrays = {"scale": scale.reshape(()), "thresholds": thresholds}
    return Converted((source,), (("quantize", attributes, arrays, call.shape),))


def _odd_grid(call: Call) -> Grid:
    bits = call["bits"]
    if not 1 <= bits <= WIDEST:
        raise CaptureError(f"expected weights of 1 to {WIDEST} bits, got {bits}")
    scale = _positive(call, "reach").astype(np.float64) / (2**bits - 1)
    return Grid(IntType(True, bits), Scale.of(scale.reshape(-1)), (-1,), step=2, axis=0)


def _uniform_grid(call: Call) -> Grid:
    """Codes as they are stored, signed: those of an unsigned type move down by half of it, the zero point too."""
    element, zero = _element(call), call["zero_point"]
    shift = 0 if element.signed else 1 << (element.bits - 1)
    scale = _positive(call, "scale").astype(np.float64)
    return Grid(IntType(True, element.bits), Scale.of(scale.reshape(-1)), (zero - shift,), axis=0)


WEIGHT_GRIDS: dict[str, Callable[[Call], Grid]] = {
    "intsim.fake_quantize.default": _uniform_grid,
    "intsim.odd_quantize.default": _odd_grid,
}
"""Operators that make weights of constants, and the grid on which they make them."""


def _element(call: Call) -> IntType:
    """The smallest type that holds all codes."""
    low, high = call["low"], call["high"]
    signed = low < 0
    bits = max(-low - 1, high, 0).bit_length() + 1 if signed else max(1, high.bit_length())
    if low >= high or bits > WIDEST:
        raise CaptureError(f"expected codes of 1 to {WIDEST} bits, got {low}..{high}")
    return IntType(signed, bits)


def _positive(call: Call, name: str) -> np.ndarray:
    array = call.array(name)
    assert array is not None
    if not (array > 0).all():
        raise CaptureError(f"expected a positive {name}, got {float(array.min()):.3g}")
    return array
