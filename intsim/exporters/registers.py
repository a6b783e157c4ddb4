"""A layer as the words that the arrays of costing/rtl are set up with; systolic_pkg.sv says what each word means."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from intsim.arithmetic.accumulate import Accumulator
from intsim.arithmetic.requantize import EngineRule
from intsim.arithmetic.rounding import Rounding
from intsim.dtypes import S32
from intsim.exporters.product import Epilogue, Geometry, Product
from intsim.ir.ops.requantize_multiplier import RequantizeMultiplier
from intsim.ir.ops.requantize_shift import RequantizeShift
from intsim.ir.ops.threshold import Threshold
from intsim.ir.types import Value

Words = NDArray[np.int64]

# Engines whose rule is one exact rounding of the product, and those that first round half up at bit 31.
ONE_STEP = {
    EngineRule.SINGLE_ROUND: Rounding.HALF_UP,
    EngineRule.TOSA_SCALE16: Rounding.HALF_UP,
    EngineRule.PULP: Rounding.HALF_UP,
    EngineRule.NEMO: Rounding.FLOOR,
}
TWO_STEP = {EngineRule.GEMMLOWP_DOUBLE: Rounding.HALF_AWAY, EngineRule.RUY: Rounding.HALF_UP}
ROUNDINGS = tuple(Rounding)


class NotInHardwareError(Exception):
    """The arrays of costing/rtl cannot run the layer; the message says why."""


def layer_registers(product: Product) -> Words:
    """All words of layer_t. NotInHardwareError for accumulators or a requantization that the arrays do not have."""
    _expect_accumulator(product.accumulator)
    geometry = product.geometry
    words = [
        *(geometry.groups, geometry.m, geometry.k, geometry.n),
        geometry.k * geometry.n,
        geometry.channels // geometry.groups,
        *(geometry.height, geometry.width, geometry.height * geometry.width * geometry.channels),
        *_pixels(geometry),
        *_taps(geometry),
        *_epilogue(product.epilogue),
    ]
    if not all(S32.min <= word <= S32.max for word in words):
        raise NotInHardwareError("an extent, an address or a code leaves 32 bits")
    return np.array(words, np.int64)


def channel_words(product: Product) -> tuple[Words, Words]:
    """(output channels, 7): the words of channel_t; and (output channels, L): the thresholds in use, filled with 0."""
    epilogue, channels = product.epilogue, len(product.bias)
    words: dict[str, Words | int] = {
        "bias": product.bias,
        "multiplier": 1,
        "shift": 0,
        "base": 0,
        "levels": 0,
        "strict": 0,
        "descending": 0,
    }
    thresholds = np.zeros((channels, 0), np.int64)
    match epilogue:
        case Epilogue(op=RequantizeShift(), parameters=(shift,)):
            words |= {"shift": shift.levels}
        case Epilogue(op=RequantizeMultiplier(), parameters=(multiplier, shift)):
            words |= {"multiplier": multiplier.levels, "shift": shift.levels}
        case Epilogue(op=Threshold(), parameters=(rows, base, strict, descending)):
            thresholds, levels, always = _in_32_bits(rows, descending, channels)
            flags = {"strict": strict.codes, "descending": descending.codes}
            words |= {"base": base.levels + always, "levels": levels, **flags}
    columns = [np.broadcast_to(np.asarray(word, np.int64), channels) for word in words.values()]
    return np.stack(columns, axis=1), thresholds


def _expect_accumulator(accumulator: Accumulator) -> None:
    fits = accumulator.bits <= 32 if accumulator.overflow == "exact" else str(accumulator) == "s32 wrap"
    if not fits:
        raise NotInHardwareError(f"accumulators are {accumulator}, the array's are s32 and wrap")


def _pixels(geometry: Geometry) -> list[int]:
    (down, right), (top, _, left, _) = geometry.stride, geometry.padding
    column, line = geometry.channels, geometry.width * geometry.channels
    image = geometry.height * line + (geometry.channels if geometry.padded else 0)
    start = [-left, -top, -top * line - left * column]
    strides = [right * column, down * line, image, geometry.out_channels]
    return [geometry.out_width, geometry.out_height, *start, right, down, *strides]


def _taps(geometry: Geometry) -> list[int]:
    (height, width), (down, right) = geometry.kernel, geometry.dilation
    column, line = geometry.channels, geometry.width * geometry.channels
    return [width, height, 0, 0, 0, right, down, right * column, down * line, 1, geometry.n]


def _epilogue(epilogue: Epilogue | None) -> list[int]:
    """threshold, rounding, two_step, zero_point, zero_point_first, low, high"""
    match epilogue:
        case None:
            return [0] * 7
        case Epilogue(op=Threshold()):
            return [1] + [0] * 6
        case Epilogue(op=RequantizeShift() | RequantizeMultiplier() as op, out=out):
            rounding, two_step = _rounding(op.rounding)
            low = out.element.min if op.low is None else op.low
            high = out.element.max if op.high is None else op.high
            before = int(op.zero_point_first)
            return [0, ROUNDINGS.index(rounding), two_step, out.zero_point[0], before, low, high]
    raise NotInHardwareError(f"{epilogue.op.mnemonic}: the unit multiplies integers and shifts, or counts thresholds")


def _rounding(rule: Rounding | EngineRule) -> tuple[Rounding, int]:
    """The rounding of the last step, and whether there is one before it."""
    if isinstance(rule, Rounding):
        return rule, 0
    if rule in ONE_STEP:
        return ONE_STEP[rule], 0
    if rule in TWO_STEP:
        return TWO_STEP[rule], 1
    raise NotInHardwareError(f"the unit does not round by the rule {rule}")


def _in_32_bits(thresholds: Value, descending: Value, channels: int) -> tuple[Words, Words, Words]:
    """Thresholds that sums of 32 bits can tell from others, how many, and how many of the rest are always reached."""
    rows = np.broadcast_to(thresholds.levels, (channels, thresholds.levels.shape[1]))
    falls = np.broadcast_to(descending.codes.astype(bool), channels)
    kept = (rows >= S32.min) & (rows <= S32.max)
    levels = kept.sum(axis=1)
    always = np.where(falls[:, np.newaxis], rows > S32.max, rows < S32.min).sum(axis=1)
    narrowed = np.zeros((channels, int(levels.max(initial=0))), np.int64)
    for channel in range(channels):
        narrowed[channel, : levels[channel]] = rows[channel, kept[channel]]
    return narrowed, levels, always
