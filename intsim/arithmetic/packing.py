"""Dense packing: codes of 1 to 64 bits as a little-endian bit stream without gaps.

Element i of b bits is bits [i * b, i * b + b) of the stream, in two's complement, and bit j of the stream is bit j % 8
of byte j // 8. Eight elements of b bits fill exactly b bytes, so the work goes by groups of eight: each byte of a group
takes bits from the few elements that overlap it, for all groups at once.

    b = 3     byte 0            byte 1            byte 2
    bits      7 6 5 4 3 2 1 0   7 6 5 4 3 2 1 0   7 6 5 4 3 2 1 0
    element   2 2 1 1 1 0 0 0   5 4 4 4 3 3 3 2   7 7 7 6 6 6 5 5
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from intsim.dtypes import IntType

GROUP = 8


def pack_bits(codes: ArrayLike, type: IntType) -> NDArray[np.uint8]:
    """Pack codes densely.

    codes       integer, any shape, taken in row-major order
    type        IntType
    returns     uint8 (ceil(codes.size * bits / 8),), the bits after the last code zero
    raises      ValueError if a code is outside `type`; TypeError if codes are not integers
    """
    codes = np.asarray(codes).ravel()
    if codes.dtype.kind not in "iu":
        raise TypeError(f"codes must be integer, got {codes.dtype}")
    if codes.size and not (type.min <= codes.min() and codes.max() <= type.max):
        raise ValueError(f"codes are in {codes.min()}..{codes.max()}, outside {type}")

    groups = -(-codes.size // GROUP)
    elements = np.zeros((groups, GROUP), _unsigned(type))
    elements.ravel()[: codes.size] = codes.astype(type.storage).view(_unsigned(type))
    elements &= _mask(type)
    packed = np.zeros((groups, type.bits), np.uint8)
    for element, byte, up in _overlaps(type.bits):
        packed[:, byte] |= _shifted(elements[:, element], up).astype(np.uint8)
    return packed.ravel()[: packed_size(codes.size, type)]


def unpack_bits(data: NDArray[np.uint8], type: IntType, count: int) -> NDArray:
    """Unpack what `pack_bits` packed.

    data        uint8 (ceil(count * bits / 8),)
    type        IntType
    count       number of codes
    returns     type.storage (count,)
    raises      ValueError if the data have another length, or a bit after the last code is set
    """
    size = packed_size(count, type)
    if count < 0 or data.shape != (size,) or data.dtype != np.uint8:
        raise ValueError(f"{count} codes of {type} are uint8 ({size},), got {data.dtype} {data.shape}")
    pad_bits = size * 8 - count * type.bits
    if pad_bits and data[-1] >> (8 - pad_bits):
        raise ValueError(f"the last {pad_bits} bits after {count} codes of {type} must be zero")

    if GROUP % type.bits:
        return _unpack_groups(data, type)[:count]
    # Whole codes lie in each byte: a look-up of all of them at once.
    of_byte = _unpack_groups(np.arange(256, dtype=np.uint8), type).view(f"u{GROUP // type.bits}")
    return np.take(of_byte, data).view(type.storage)[:count]


def packed_size(count: int, type: IntType) -> int:
    """Bytes that `count` codes take."""
    return -(-count * type.bits // 8)


def _unpack_groups(data: NDArray[np.uint8], type: IntType) -> NDArray:
    """The codes in some bytes, and those of zero bits up to the next whole group."""
    packed = np.zeros((-(-len(data) // type.bits), type.bits), np.uint8)
    packed.ravel()[: len(data)] = data
    elements = np.zeros((len(packed), GROUP), _unsigned(type))
    for element, byte, up in _overlaps(type.bits):
        elements[:, element] |= _shifted(packed[:, byte].astype(_unsigned(type)), -up)
    elements &= _mask(type)
    if type.signed:  # flipping the sign bit and subtracting it again extends it to the storage's width
        sign = _unsigned(type).type(1 << (type.bits - 1))
        elements = (elements ^ sign) - sign
    return elements.ravel().view(type.storage)


def _overlaps(bits: int) -> Iterator[tuple[int, int, int]]:
    """Each element of a group with each byte that it overlaps, and how far up its bits move to lie in that byte."""
    for element in range(GROUP):
        first = element * bits
        for byte in range(first // 8, (first + bits - 1) // 8 + 1):
            yield element, byte, first - byte * 8


def _shifted(values: NDArray, up: int) -> NDArray:
    return values << up if up >= 0 else values >> -up


def _unsigned(type: IntType) -> np.dtype:
    return np.dtype(f"u{type.storage.itemsize}")


def _mask(type: IntType) -> np.unsignedinteger:
    return _unsigned(type).type((1 << type.bits) - 1)
