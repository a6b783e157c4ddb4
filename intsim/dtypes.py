"""Integer types of 1 to 64 bits: "u4" is unsigned with four bits, "s8" is two's complement with eight."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np

_NAME = re.compile(r"([us])([1-9][0-9]?)")


@dataclass(frozen=True)
class IntType:
    """An integer type: signedness and a width of 1 to 64 bits.

    Raises ValueError for a width outside 1..64.
    """

    signed: bool
    bits: int

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 64:
            raise ValueError(f"an integer type has 1 to 64 bits, got {self.bits}")

    @classmethod
    def parse(cls, name: str) -> IntType:
        """The type that a name such as "u4" or "s32" stands for; ValueError for any other text."""
        match = _NAME.fullmatch(name)
        if match is None:
            raise ValueError(f"an integer type is written like u4 or s8, got {name!r}")
        return cls(match[1] == "s", int(match[2]))

    @cached_property
    def min(self) -> int:
        return -(1 << (self.bits - 1)) if self.signed else 0

    @cached_property
    def max(self) -> int:
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1

    @cached_property
    def storage(self) -> np.dtype:
        """The smallest NumPy integer type that holds every code."""
        size = next(size for size in (8, 16, 32, 64) if self.bits <= size)
        return np.dtype(f"{'' if self.signed else 'u'}int{size}")

    def __str__(self) -> str:
        return f"{'s' if self.signed else 'u'}{self.bits}"


S32 = IntType(True, 32)
S64 = IntType(True, 64)
