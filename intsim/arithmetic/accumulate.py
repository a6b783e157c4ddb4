"""Accumulators: exact, wrapping or saturating sums of any width, and the interval that a sum can reach."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from intsim.arithmetic.rounding import as_int64
from intsim.dtypes import IntType

Overflow = Literal["exact", "wrap", "saturate"]
Order = Literal["channel_major", "pixel_major"]


@dataclass(frozen=True)
class Accumulator:
    """A signed register that sums products: its width, what happens beyond it, and the order of the additions.

    bits        1..64
    overflow    exact: it is an error that any order of additions could leave the type; wrap; or saturate after each
    order       of the products of a convolution: channel_major is (c, kh, kw), pixel_major is (kh, kw, c)

    The bias is the initial value. Only saturation depends on the order. Written "s32", "s16 saturate pixel_major".
    """

    bits: int = 32
    overflow: Overflow = "exact"
    order: Order = "channel_major"

    def __post_init__(self) -> None:
        if self.overflow not in get_args(Overflow) or self.order not in get_args(Order) or not 1 <= self.bits <= 64:
            raise ValueError(f"no such accumulator: {self.bits} bits, {self.overflow!r}, {self.order!r}")

    @classmethod
    def parse(cls, text: str) -> Accumulator:
        """The accumulator that a text such as "s16 wrap" stands for; ValueError for any other text."""
        name, *words = text.split(" ")
        overflow, order = cls.overflow, cls.order
        if words and words[0] in get_args(Overflow):
            overflow = cast(Overflow, words.pop(0))
        if words and words[0] in get_args(Order):
            order = cast(Order, words.pop(0))
        if words or not IntType.parse(name).signed:
            raise ValueError(f'an accumulator is written like "s32" or "s16 saturate pixel_major", got {text!r}')
        return cls(IntType.parse(name).bits, overflow, order)

    def __str__(self) -> str:
        words = [str(self.type)]
        words += [self.overflow] if self.overflow != Accumulator.overflow else []
        words += [self.order] if self.order != Accumulator.order else []
        return " ".join(words)

    @property
    def type(self) -> IntType:
        return IntType(True, self.bits)


def accumulate(products: ArrayLike, initial: ArrayLike, accumulator: Accumulator) -> NDArray[np.int64]:
    """Sum products along the last axis in a register.

    products    integer (..., K), in the order of the additions
    initial     integer, broadcasts against (...): the bias
    returns     int64 (...)
    raises      OverflowError for an exact accumulator if the positive or the negative terms alone leave its type, so
                that some order of the additions would
    Exact:      exact: initial + sum(products);  wrap: the same modulo 2**bits;
                saturate: acc = clip(initial), then acc = clip(acc + p) for each p in turn
    """
    products, initial = as_int64(products, "products"), as_int64(initial, "initial")
    initial = np.broadcast_to(initial, np.broadcast_shapes(initial.shape, products.shape[:-1]))
    match accumulator.overflow:
        case "exact":
            return _exact_sum(products, initial, accumulator.type)
        case "wrap":
            spare = 64 - accumulator.bits  # int64 sums wrap modulo 2**64, and a shift there and back extends the sign
            return np.add(initial, products.sum(axis=-1)) << spare >> spare
        case "saturate":
            return _saturating_sum(products, initial, accumulator.type)


def matmul_exact(a: ArrayLike, b: ArrayLike) -> NDArray[np.int64]:
    """Multiply matrices of integers.

    a           integer (..., M, K)
    b           integer (..., K, N)
    returns     int64 (..., M, N)
    raises      OverflowError if K products of the largest magnitudes leave int64
    Exact:      sum over k of a[m, k] * b[k, n]
    """
    a, b = as_int64(a, "a"), as_int64(b, "b")
    bound = _largest(a) * _largest(b) * a.shape[-1]
    if bound >= 1 << 63:
        raise OverflowError(f"sums of {a.shape[-1]} products may reach {bound}, beyond int64")
    # On integers einsum is twice as fast as np.matmul: 2 GMAC/s on a core. BLAS has only floats, and its own threads.
    return np.einsum("...mk,...kn->...mn", a, b)


@dataclass(frozen=True)
class Interval:
    """What the accumulators of each output channel can reach, as Python integers of any size.

    minimum, maximum                    of the complete sum; both are reached by some input
    partial_minimum, partial_maximum    of any sum of some of the terms, the initial value being one of them
    """

    minimum: list[int]
    maximum: list[int]
    partial_minimum: list[int]
    partial_maximum: list[int]


def interval(levels: ArrayLike, low: ArrayLike, high: ArrayLike, initial: ArrayLike) -> Interval:
    """Bound sums of weights times inputs, over every input between `low` and `high`.

    levels      integer (O, K): the weights of each output channel
    low, high   integer (), (K,) or (O, K): the least and the greatest level of each input
    initial     integer () or (O,): the bias
    returns     Interval of O channels
    raises      ValueError if a low is above its high
    Exact:      maximum = initial + sum over k of max(w * low, w * high), minimum likewise; the partial bounds take only
                the terms of one sign
    """
    levels, initial = as_int64(levels, "levels"), as_int64(initial, "initial")
    low, high = as_int64(low, "low"), as_int64(high, "high")
    if np.any(low > high):
        raise ValueError("an input's least level is above its greatest")
    bound = _largest(levels) * max(_largest(low), _largest(high)) * levels.shape[1] + _largest(initial)
    exact = np.dtype(np.int64 if bound < 1 << 63 else object)  # object arrays hold Python integers
    weights, start = levels.astype(exact), np.broadcast_to(initial, len(levels)).astype(exact)
    at_low, at_high = weights * low.astype(exact), weights * high.astype(exact)
    least, greatest = np.minimum(at_low, at_high), np.maximum(at_low, at_high)
    return Interval(
        minimum=(start + least.sum(axis=1)).tolist(),
        maximum=(start + greatest.sum(axis=1)).tolist(),
        partial_minimum=(np.minimum(start, 0) + np.minimum(least, 0).sum(axis=1)).tolist(),
        partial_maximum=(np.maximum(start, 0) + np.maximum(greatest, 0).sum(axis=1)).tolist(),
    )


def signed_bits(low: int, high: int) -> int:
    """The smallest two's complement width that holds low..high: 4096 needs 14 bits, -4096 needs 13.

    Exact: 1 + the greater bit_length of v, taken of -v - 1 where v is negative. ValueError if low > high.
    """
    if low > high:
        raise ValueError(f"no integers lie in {low}..{high}")
    return 1 + max((v if v >= 0 else ~v).bit_length() for v in (int(low), int(high)))


def _exact_sum(products: NDArray[np.int64], initial: NDArray[np.int64], kind: IntType) -> NDArray[np.int64]:
    if _largest(products) * products.shape[-1] + _largest(initial) >= 1 << 63:
        products, initial = products.astype(object), initial.astype(object)
    highest = np.asarray(np.maximum(initial, 0) + np.maximum(products, 0).sum(axis=-1))
    lowest = np.asarray(np.minimum(initial, 0) + np.minimum(products, 0).sum(axis=-1))
    low, high = (int(lowest.min()), int(highest.max())) if highest.size else (0, 0)
    if low < kind.min or high > kind.max:
        raise OverflowError(
            f"sums of {products.shape[-1]} products reach {low}..{high} in some order, "
            f"which needs s{signed_bits(low, high)}, but the accumulator is {kind}"
        )
    return (highest + lowest).astype(np.int64)


def _saturating_sum(products: NDArray[np.int64], initial: NDArray[np.int64], kind: IntType) -> NDArray[np.int64]:
    acc = np.clip(initial, kind.min, kind.max)
    for k in range(products.shape[-1]):
        term = products[..., k]
        total = np.add(acc, term)  # the ufunc: unlike +, it wraps without a warning where there is one element
        wrapped = ((acc ^ total) & (term ^ total)) < 0  # the sum left int64 on the side of the term's sign
        limit = np.where(term < 0, kind.min, kind.max)
        acc = np.where(wrapped, limit, np.clip(total, kind.min, kind.max))
    return acc


def _largest(values: NDArray[np.int64]) -> int:
    """The greatest magnitude, 0 where there is none."""
    return max(abs(int(values.min())), abs(int(values.max()))) if values.size else 0
