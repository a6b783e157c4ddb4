"""Equality over all accumulators: both sides are monotone, and cross every code at the same accumulator."""

from __future__ import annotations

import base64
import zlib

import numpy as np
from numpy.typing import NDArray

from intsim.arithmetic.rounding import Rounding
from intsim.ir.chain import Chain, CountThresholds, Function, PRelu, Terms
from intsim.ir.op import Op
from intsim.ir.ops import RequantizeMultiplier, RequantizeShift, Threshold
from intsim.verification.epilogue import Epilogue, Evidence, expect_equal


def same_crossings(epilogue: Epilogue, low: NDArray[np.int64], high: NDArray[np.int64]) -> Evidence:
    """Evidence that two monotone sides agree on every accumulator between low and high.

    low, high  int64 (C,)
    returns    codes: the least and the greatest; falling: channels whose code falls as the accumulator rises;
               distances (C, codes): how far from the end where the code is least the float chain first gives at least
               each code, one more than the interval is long where it never does
    raises     UnprovedError

    The float chain is bisected. The integers have its code at both ends, so they turn the same way, at every crossing,
    and one accumulator before it; being monotone too, they cannot differ anywhere between.
    """

    def same(accumulators: NDArray[np.int64]) -> NDArray[np.int64]:
        return expect_equal(accumulators, epilogue.integers(accumulators), epilogue.floats(accumulators))

    ends = same(np.stack([low, high], axis=1))
    falls = ends[:, 0] > ends[:, 1]
    sign = np.where(falls, -1, 1)[:, None]
    origin, span = np.where(falls, high, low)[:, None], (high - low)[:, None]
    codes = np.arange(ends.min() + 1, ends.max() + 1)
    least, beyond = np.zeros((len(low), len(codes)), np.int64), np.repeat(span + 1, len(codes), axis=1)
    while (open_ := least < beyond).any():
        middle = (least + beyond) // 2
        reached = epilogue.floats(origin + sign * np.minimum(middle, span)) >= codes
        beyond = np.where(open_ & reached, middle, beyond)
        least = np.where(open_ & ~reached, middle + 1, least)
    same(origin + sign * np.concatenate([0 * span, np.minimum(beyond, span), np.maximum(beyond - 1, 0)], axis=1))
    return {
        "method": "crossings",
        "codes": [int(ends.min()), int(ends.max())],
        "falling": np.flatnonzero(falls).tolist(),
        "distances": encode_distances(beyond),
    }


def encode_distances(distances: NDArray[np.int64]) -> str:
    """Distances (C, codes) as text: differences along the codes, little-endian int64, deflated, base64."""
    differences = np.diff(distances, axis=1, prepend=0).astype("<i8")
    return base64.b64encode(zlib.compress(differences.tobytes())).decode()


def chain_is_monotone(chain: Chain) -> bool:
    """Whether the code of every channel only rises, or only falls, with the accumulator.

    Every step is monotone in floating point as it is in the reals: products and quotients by a constant, sums, bounds,
    roundings and counts always, PReLU where its slopes are not negative. So is what they make together.
    """
    for step in chain.steps:
        match step:
            case Function():
                return False
            case PRelu(slope) if (slope < 0).any():
                return False
            case CountThresholds(thresholds) if (np.diff(thresholds) < 0).any():
                return False
            case Terms(coefficients) if len(coefficients) > 1:
                return False
    return True


def integers_are_monotone(op: Op) -> bool:
    """The same for the integers: shifts, products rounded once, and counts of thresholds on one side."""
    if isinstance(op, RequantizeMultiplier):
        return isinstance(op.rounding, Rounding)
    return isinstance(op, RequantizeShift | Threshold)
