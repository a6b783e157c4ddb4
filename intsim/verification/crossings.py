"""Equality over all accumulators: both sides are monotone, and cross every code at the same accumulator."""

from __future__ import annotations

import base64
import zlib

import numpy as np
from numpy.typing import NDArray

from intsim.arithmetic.rounding import Rounding
from intsim.ir.chain import Chain, Clamp, CountThresholds, Divide, Multiply, Offset, PRelu, Terms, ToCodes
from intsim.ir.ops import RequantizeMultiplier, RequantizeShift, Threshold
from intsim.verification.epilogue import Epilogue, Evidence, UnprovedError, expect_equal


def same_crossings(
    epilogue: Epilogue, low: NDArray[np.int64], high: NDArray[np.int64], rises: NDArray[np.bool_]
) -> Evidence:
    """Evidence that both sides agree on every accumulator between low and high.

    low, high  int64 (C,)
    rises      what `chain_rises` says
    returns    distances (C, codes): how far from the end where the code is least the chain first gives at least each
               code, and one more than the interval is long where it never does
    raises     UnprovedError

    Codes of the float chain are bisected. The integers have the same code there and one accumulator before, and at
    both ends; being monotone too, they cannot differ anywhere between.
    """
    sign = np.where(rises, 1, -1)[:, None]
    origin, span = np.where(rises, low, high)[:, None], (high - low)[:, None]

    def same(distance: NDArray[np.int64]) -> NDArray[np.int64]:
        accumulators = origin + sign * distance
        return expect_equal(accumulators, epilogue.integers(accumulators), epilogue.floats(accumulators))

    first, last = same(np.zeros_like(span))[:, 0], same(span)[:, 0]
    opposed = np.flatnonzero((integers_rise(epilogue) != rises) & (first != last))
    if opposed.size:
        raise UnprovedError(f"channel {opposed[0]}: the integers rise where the float chain falls, or the reverse")
    codes = np.arange(first.min() + 1, last.max() + 1)
    least, beyond = np.zeros((len(low), len(codes)), np.int64), np.repeat(span + 1, len(codes), axis=1)
    while (open_ := least < beyond).any():
        middle = (least + beyond) // 2
        reached = epilogue.floats(origin + sign * np.minimum(middle, span)) >= codes
        beyond = np.where(open_ & reached, middle, beyond)
        least = np.where(open_ & ~reached, middle + 1, least)
    same(np.minimum(beyond, span))
    same(np.maximum(beyond - 1, 0))
    return {
        "method": "crossings",
        "codes": [int(first.min()), int(last.max())],
        "falling": np.flatnonzero(~rises).tolist(),
        "distances": encode_distances(beyond),
    }


def encode_distances(distances: NDArray[np.int64]) -> str:
    """Distances (C, codes) as text: differences along the codes, little-endian int64, deflated, base64."""
    differences = np.diff(distances, axis=1, prepend=0).astype("<i8")
    return base64.b64encode(zlib.compress(differences.tobytes())).decode()


def chain_rises(chain: Chain, channels: int) -> NDArray[np.bool_] | None:
    """For each channel whether the code rises with the accumulator, else it falls; None without a certificate.

    Every step is monotone in floating point as it is in the reals: products and quotients by the sign of the constant,
    sums, bounds, roundings and counts always, PReLU where its slopes are not negative.
    """
    sign = np.ones(channels, np.int64)
    for step in chain.steps:
        match step:
            case Terms((factor,)) | Multiply(factor) | Divide(factor) if factor.ndim < 2:
                sign = sign * np.where(factor < 0, -1, 1)
            case PRelu(slope) if (slope >= 0).all():
                pass
            case CountThresholds(thresholds) if (np.diff(thresholds) >= 0).all():
                pass
            case Offset() | Clamp() | ToCodes():
                pass
            case _:
                return None
    return sign > 0


def integers_rise(epilogue: Epilogue) -> NDArray[np.bool_]:
    """The same for the integers: shifts rise, multipliers by their sign, thresholds by their direction."""
    op, channels = epilogue.op, epilogue.channels
    if isinstance(op, RequantizeShift):
        return np.ones(channels, bool)
    if isinstance(op, RequantizeMultiplier) and isinstance(op.rounding, Rounding):
        return np.broadcast_to(epilogue.parameters[0].levels >= 0, channels)
    if isinstance(op, Threshold):
        return np.broadcast_to(epilogue.parameters[3].codes == 0, channels)
    raise UnprovedError(f"there is no certificate that {epilogue.node.mnemonic} is monotone")
