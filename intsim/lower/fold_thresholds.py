"""Chains that are monotone in one accumulator become thresholds on it, by bisection over what it can reach.

Each step of a chain is monotone in floating point too, so for every channel and level there is one smallest accumulator
at which the chain emits at least that level. Bisection finds it, and with it every tie and every rounding of the chain.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from intsim.arithmetic.accumulate import signed_bits
from intsim.dtypes import IntType
from intsim.errors import LoweringError
from intsim.ir.chain import Chain, Clamp, CountThresholds, Divide, Multiply, Offset, PRelu, Terms, ToCodes
from intsim.ir.graph import Graph, Node
from intsim.ir.ops import Threshold
from intsim.lower.bounds import reach
from intsim.lower.constants import parameter
from intsim.lower.float_chain import FloatChain, Replacement, replace_chains

ENUMERATED = 1 << 20  # accumulators per channel that a chain without a certificate is checked on, at most


def fold_thresholds(graph: Graph) -> Graph:
    """Replace every chain of the form "threshold"."""
    return replace_chains(graph, "threshold", _rewrite)


def _rewrite(graph: Graph, node: Node, op: FloatChain) -> Replacement:
    if len(node.inputs) != 1:
        raise LoweringError("thresholds compare one operand: additions of several need multipliers")
    low, high = reach(graph, node.inputs[0])
    channels = max(len(low), *(p.size for step in op.chain.steps for p in _parameters(step)), 1)
    low, high = np.broadcast_to(low, (channels,)), np.broadcast_to(high, (channels,))
    rising = directions(op.chain, low, high)
    first, last = op.chain.tail.low, _last_code(op.chain)
    crossings = bisect(op.chain, low, high, rising, np.arange(first + 1, last + 1))
    always = np.where(rising[:, None], crossings <= low[:, None], crossings >= high[:, None])
    never = np.where(rising[:, None], crossings > high[:, None], crossings < low[:, None])
    element = IntType(True, signed_bits(int(low.min()) - 1, int(high.max()) + 1))
    rows = [
        np.sort(row[~(a | n)]) for row, a, n in zip(crossings, always, never, strict=True)
    ]  # falling channels list their crossings from the highest level down
    count = max(1, *map(len, rows))  # where all channels are constant, a threshold beyond them
    table = np.where(rising[:, None], element.max, element.min) * np.ones((1, count), np.int64)
    for channel, row in enumerate(rows):
        # What is left over lies beyond every accumulator: at the end of a rising row, in front of a falling one.
        table[channel, slice(0, len(row)) if rising[channel] else slice(count - len(row), count)] = row
    flag = IntType(False, 1)
    return Threshold(op.out), {
        "thresholds": parameter(table, element),
        "base": parameter(first + always.sum(axis=1)),
        "strict": parameter(np.zeros(1, np.int64), flag),
        "descending": parameter((~rising).astype(np.int64), flag),
    }


def bisect(
    chain: Chain, low: NDArray[np.int64], high: NDArray[np.int64], rising: NDArray[np.bool_], codes: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Where each channel's code first reaches each of `codes`, int64 (C, len(codes)).

    Rising: the smallest accumulator in low..high with chain >= code, high + 1 for none.
    Falling: the largest accumulator with chain >= code, low - 1 for none.
    """
    # Searched along the direction in which the code grows: distance d from the end where it is least.
    origin = np.where(rising, low, high)[:, None]
    sign = np.where(rising, 1, -1)[:, None]
    span = (high - low)[:, None]
    shape = (len(low), len(codes))
    least, beyond = np.zeros(shape, np.int64), np.broadcast_to(span + 1, shape).copy()
    while (least < beyond).any():
        middle = (least + beyond) // 2
        reached = chain.evaluate([origin + sign * np.minimum(middle, span)], axis=0) >= codes
        open_ = least < beyond
        beyond = np.where(open_ & reached, middle, beyond)
        least = np.where(open_ & ~reached, middle + 1, least)
    return origin + sign * beyond


def directions(chain: Chain, low: NDArray[np.int64], high: NDArray[np.int64]) -> NDArray[np.bool_]:
    """True for channels in which the code rises with the accumulator, False where it falls.

    A chain is monotone by the signs of its factors; a channel without that certificate is enumerated over low..high.
    LoweringError names a channel that rises and falls.
    """
    sign = np.ones(len(low), np.int64)
    certain = np.ones(len(low), bool)
    for step in chain.steps:
        match step:
            case Terms((factor,)) | Multiply(factor) | Divide(factor):
                sign = sign * np.where(factor < 0, -1, 1)
            case PRelu(slope):
                certain &= slope >= 0
            case Offset() | Clamp() | ToCodes() | CountThresholds():
                pass
            case _:
                certain[:] = False
    rising = sign > 0
    for channel in np.flatnonzero(~certain):
        rising[channel] = _enumerate(chain, int(channel), int(low[channel]), int(high[channel]))
    return rising


def _enumerate(chain: Chain, channel: int, low: int, high: int) -> bool:
    """Whether a channel's code rises, from every accumulator between low and high."""
    if high - low >= ENUMERATED:
        raise LoweringError(
            f"channel {channel} has a negative slope over {high - low + 1} accumulators: too many to check"
        )
    steps = np.diff(chain.at_channel(channel).evaluate([np.arange(low, high + 1)], axis=0))
    if (steps >= 0).all() or (steps <= 0).all():
        return bool((steps >= 0).all())
    raise LoweringError(
        f"channel {channel} rises and falls over its accumulators (a negative PReLU slope): no thresholds do that"
    )


def _parameters(step: object) -> list[NDArray[np.float64]]:
    match step:
        case Terms(coefficients):
            return list(coefficients)
        case Multiply(p) | Divide(p) | Offset(p) | PRelu(p):
            return [p]
    return []


def _last_code(chain: Chain) -> int:
    tail = chain.tail
    return tail.high if isinstance(tail, ToCodes) else tail.low + len(tail.thresholds)
