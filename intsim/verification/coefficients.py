"""Equality by algebra: a float chain that makes no rounding error and has the integers' own coefficients."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np

from intsim.arithmetic.rounding import round_float
from intsim.ir.chain import Clamp, Terms, ToCodes
from intsim.ir.ops import Add, RequantizeMultiplier, RequantizeShift
from intsim.verification.epilogue import Epilogue, Evidence, UnprovedError
from intsim.verification.reach import Reach, of_channel

FLOAT64_BITS = 53  # integers of so many bits are exact in float64


def same_coefficients(epilogue: Epilogue, sources: Sequence[Reach]) -> Evidence:
    """Evidence that the chain is exact in float64 and is the integers' formula, term by term.

    returns  float_bits: the most bits that a float64 intermediate needs, counted in units of the finest coefficient
    raises   UnprovedError

    Every term and sum is then an integer over one power of two, below 2**53: no order of operations rounds it. The
    tail rounds the same rational by the same rule, adds the same zero point and clamps to the same codes.
    """
    op, (first, *between, tail) = epilogue.op, epilogue.chain.steps
    assert isinstance(op, Add | RequantizeShift | RequantizeMultiplier)
    clamps = [step for step in between if isinstance(step, Clamp)]
    if not isinstance(first, Terms) or not isinstance(tail, ToCodes) or len(clamps) < len(between):
        raise UnprovedError("expected the steps Terms, Clamp and ToCodes")
    if (tail.rounding, tail.zero_point_first) != (op.rounding, op.zero_point_first):
        raise UnprovedError(f"the integers round {op.rounding}, the float chain {tail.rounding}")
    if (tail.zero_point,) != op.out.zero_point:
        raise UnprovedError(
            f"the integers have the zero point {op.out.zero_point[0]}, the float chain {tail.zero_point}"
        )
    bits = max(
        _float_bits(coefficients, factors, [reach.magnitude(channel) for reach in sources], tail.zero_point, channel)
        for channel, (coefficients, factors) in enumerate(_by_channel(epilogue, first))
    )
    if bits > FLOAT64_BITS:
        raise UnprovedError(f"the float chain needs {bits} bits, float64 is exact up to {FLOAT64_BITS}")
    element = op.out.element
    codes = [element.min if op.low is None else op.low, element.max if op.high is None else op.high]
    expected = [_code_at(end, clamps, tail) for end in (-np.inf, np.inf)]
    if codes != expected:
        raise UnprovedError(
            f"the integers clamp to {codes[0]}..{codes[1]}, the float chain {expected[0]}..{expected[1]}"
        )
    return {"method": "coefficients", "float_bits": bits, "codes": codes}


def _by_channel(epilogue: Epilogue, first: Terms) -> Iterator[tuple[list[Fraction], list[Fraction]]]:
    """For each channel the chain's coefficient of every operand, and what the integers multiply it by."""
    coefficients = [np.atleast_1d(c).tolist() for c in first.coefficients]
    *multipliers, shifts = (value.levels.tolist() for value in epilogue.parameters)
    for channel in range(epilogue.channels):
        divisor = Fraction(2) ** of_channel(shifts, channel)
        factors = [of_channel(m, channel) / divisor for m in multipliers or [[1]]]
        yield [Fraction(of_channel(c, channel)) for c in coefficients], factors


def _float_bits(
    coefficients: list[Fraction], factors: list[Fraction], largest: list[int], zero_point: int, channel: int
) -> int:
    """Bits of a channel's largest intermediate, in units of its finest coefficient, once the two sides are the same."""
    for operand, (chain, integers) in enumerate(zip(coefficients, factors, strict=True)):
        if chain != integers:
            raise UnprovedError(
                f"channel {channel}: the integers multiply operand {operand} by {float(integers)!r}, the float chain "
                f"by {float(chain)!r}"
            )
    unit = max(c.denominator for c in coefficients)
    total = sum(abs(c) * level for c, level in zip(coefficients, largest, strict=True)) + abs(zero_point)
    return int(total * unit).bit_length()


def _code_at(value: float, clamps: Sequence[Clamp], tail: ToCodes) -> int:
    """The code that the chain gives a value before its clamps.

    Rounding is monotone, so that bounds before it act as the codes do that they round to.
    """
    for clamp in clamps:
        value = min(max(value, clamp.low), clamp.high)
    before, after = (tail.zero_point, 0) if tail.zero_point_first else (0, tail.zero_point)
    return int(np.clip(round_float(np.float64(value + before), tail.rounding) + after, tail.low, tail.high))
