"""Integer types: their names, ranges and storage."""

from __future__ import annotations

import numpy as np
import pytest

from intsim.dtypes import S32, S64, IntType


@pytest.mark.parametrize("bits", range(1, 65))
def test_a_type_prints_and_parses_back_and_knows_its_range(bits: int) -> None:
    unsigned, signed = IntType.parse(f"u{bits}"), IntType.parse(f"s{bits}")
    assert (str(unsigned), str(signed)) == (f"u{bits}", f"s{bits}")
    assert (unsigned.min, unsigned.max) == (0, 2**bits - 1)
    assert (signed.min, signed.max) == (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


@pytest.mark.parametrize("bits", range(1, 65))
def test_storage_is_the_smallest_that_holds_every_code(bits: int) -> None:
    for kind in (IntType(False, bits), IntType(True, bits)):
        limits = np.iinfo(kind.storage)
        assert limits.min <= kind.min
        assert kind.max <= limits.max
        assert kind.storage.itemsize == 1 or kind.storage.itemsize * 4 < bits


def test_types_are_values() -> None:
    assert IntType.parse("s32") == S32
    assert {S64, IntType(True, 64)} == {S64}


@pytest.mark.parametrize("name", ["", "u", "8", "i8", "u08", "s0", "u65", "s128", "u-1", " u8", "u8 ", "U8", "s8\n"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"is written like u4 or s8|1 to 64 bits"):
        IntType.parse(name)
