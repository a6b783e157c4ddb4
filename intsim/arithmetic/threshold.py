"""Thresholds: a code is a base plus the number of thresholds that the accumulator reaches."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from intsim.arithmetic.rounding import as_int64
from intsim.dtypes import IntType


def apply_thresholds(
    acc: ArrayLike,
    thresholds: ArrayLike,
    base: ArrayLike,
    out: IntType,
    strict: ArrayLike,
    descending: ArrayLike,
    axis: int = 1,
) -> NDArray:
    """Count per channel the thresholds that each accumulator reaches.

    acc         integer (N, C, ...), channels along `axis`
    thresholds  integer (C, L), or (1, L) for all channels; ascending along L, duplicates legal, L may be 0
    base        integer (C,) or (): the code where no threshold is reached
    out         IntType
    strict      bool (C,) or (): > in place of >=, or < in place of <= where descending
    descending  bool (C,) or (): the code grows as the accumulator falls
    returns     out.storage, the shape of acc
    raises      ValueError for thresholds that are not sorted or parameters that do not fit the channels;
                OverflowError if a code is outside `out`
    Exact:      code = base + #{k: acc >= T_k}, or base + #{k: acc <= T_k} where descending
    Source:     Umuroglu et al. 2017 (FINN), QONNX MultiThreshold; Liu et al. 2022 (N2UQ), whose code compares with >.

    A channel with fewer thresholds than L fills its row with 2**63 - 1, or at the front with -2**63 where descending;
    always-true ones are counted in the base.
    """
    acc, thresholds, base = as_int64(acc, "acc"), as_int64(thresholds, "thresholds"), as_int64(base, "base")
    check_thresholds(thresholds)
    parameters = {"thresholds": thresholds, "base": base, "strict": strict, "descending": descending}
    lengths = {name: 1 if np.ndim(value) == 0 else len(np.asarray(value)) for name, value in parameters.items()}
    shared = all(length == 1 for length in lengths.values())
    by_channel = acc[np.newaxis] if shared else np.moveaxis(acc, axis, 0)
    channels = len(by_channel)
    for name, length in lengths.items():
        if length not in (1, channels):
            raise ValueError(f"{name} is for {length} channels, but axis {axis} of the accumulator has {channels}")

    rows = np.broadcast_to(thresholds, (channels, thresholds.shape[1]))
    strict, descending = np.broadcast_to(strict, channels), np.broadcast_to(descending, channels)
    codes = np.empty(by_channel.shape, np.int64)
    for channel, start in enumerate(np.broadcast_to(base, channels)):
        codes[channel] = start + _reached(by_channel[channel], rows[channel], strict[channel], descending[channel])

    if codes.size and not (out.min <= codes.min() and codes.max() <= out.max):
        raise OverflowError(f"thresholds give codes {codes.min()}..{codes.max()}, outside {out}")
    codes = codes[0] if shared else np.moveaxis(codes, 0, axis)
    return codes.astype(out.storage)


def check_thresholds(thresholds: NDArray[np.int64]) -> None:
    """Raise ValueError unless thresholds are (C, L) and ascending in every channel; duplicates are legal."""
    if thresholds.ndim != 2:
        raise ValueError(f"thresholds must be (C, L) or (1, L), got shape {thresholds.shape}")
    falls = thresholds[:, 1:] < thresholds[:, :-1]
    if falls.any():
        channel, k = (int(index) for index in np.argwhere(falls)[0])
        before, after = thresholds[channel, k : k + 2]
        raise ValueError(f"thresholds of channel {channel} must ascend, but T_{k} = {before} > T_{k + 1} = {after}")


def _reached(acc: NDArray[np.int64], row: NDArray[np.int64], strict: bool, descending: bool) -> NDArray[np.int64]:
    # Bisection counts the thresholds on one side: T <= acc with "right", T < acc with "left". Descending asks for the
    # complement, T >= acc or T > acc, so that there strictness goes with the other side.
    below = np.searchsorted(row, acc, side="left" if strict != descending else "right")
    return row.size - below if descending else below
