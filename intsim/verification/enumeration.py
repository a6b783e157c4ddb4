"""Equality by trying every integer that can occur."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from intsim.arithmetic.requantize import requantize_divide
from intsim.ir.chain import Divide
from intsim.ir.ops import AdaptiveAveragePool, AveragePool
from intsim.verification.epilogue import Epilogue, Evidence, UnprovedError, expect_equal
from intsim.verification.reach import cells_inside

LARGEST_ENUMERATION = 1 << 24  # integers that are tried for one epilogue


def every_accumulator(epilogue: Epilogue, low: NDArray[np.int64], high: NDArray[np.int64]) -> Evidence:
    """All accumulators between low and high, (C,): for chains without a certificate that they are monotone."""
    longest = int((high - low).max()) + 1
    _expect_feasible(longest * len(low))
    accumulators = np.minimum(low[:, None] + np.arange(longest), high[:, None])
    expect_equal(accumulators, epilogue.integers(accumulators), epilogue.floats(accumulators))
    return {"method": "enumeration", "integers": int((high - low + 1).sum())}


def every_code(epilogue: Epilogue) -> Evidence:
    """All codes of the operand's type, in every channel."""
    grid, channels = epilogue.operand.integer, epilogue.channels
    _expect_feasible(channels << grid.element.bits)
    codes = np.tile(np.arange(grid.element.min, grid.element.max + 1), (channels, 1))
    levels = grid.step * codes - np.asarray(grid.zero_point, np.int64)[:, None]
    expect_equal(codes, epilogue.integers(codes), epilogue.floats(levels))
    return {"method": "enumeration", "integers": codes.size}


def every_sum(epilogue: Epilogue) -> Evidence:
    """All sums of every kind of window of an average pool.

    Windows differ in the cells inside the image, in the count that the integers divide by, and in what the chain does.
    """
    op, x, chain = epilogue.op, epilogue.operand, epilogue.chain
    assert isinstance(op, AveragePool | AdaptiveAveragePool)
    inside, counted = cells_inside(op, x), op.cells(x)
    divisors = [np.asarray(step.divisor) for step in chain.steps if isinstance(step, Divide)]
    if len(divisors) != 1 or divisors[0].size > 1 and divisors[0].shape != counted.shape:
        raise UnprovedError(
            f"the chain has to divide once, by one number or by one for each of {counted.shape} windows"
        )
    divided = np.broadcast_to(divisors[0], counted.shape)
    (low, high), (multiplier, shift) = x.integer.level_range(), op.rescale
    kinds = sorted(set(zip(inside.ravel().tolist(), counted.ravel().tolist(), divided.ravel().tolist(), strict=True)))
    _expect_feasible(sum(cells * (high - low) + 1 for cells, _, _ in kinds))
    for cells, count, divisor in kinds:
        sums = np.arange(cells * low, cells * high + 1)[None]
        steps = [replace(s, divisor=np.asarray(divisor)) if isinstance(s, Divide) else s for s in chain.steps]
        floats = replace(chain, steps=tuple(steps)).evaluate([sums], axis=0)
        integers = requantize_divide(sums, count, op.out.zero_point[0], op.out.element, op.rounding, multiplier, shift)
        expect_equal(sums, integers.astype(np.int64), floats)
    return {"method": "enumeration", "integers": sum(cells * (high - low) + 1 for cells, _, _ in kinds)}


def _expect_feasible(integers: int) -> None:
    if integers > LARGEST_ENUMERATION:
        raise UnprovedError(f"{integers} integers are too many to try, and no other proof applies")
