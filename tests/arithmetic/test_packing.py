"""Packing against one big Python integer that is the whole bit stream."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intsim.arithmetic.packing import pack_bits, packed_size, unpack_bits
from intsim.dtypes import IntType

types = st.builds(IntType, st.booleans(), st.integers(1, 64))


@given(types, st.data())
def test_the_stream_is_the_sum_of_shifted_codes(kind: IntType, data: st.DataObject) -> None:
    codes = data.draw(
        st.lists(st.one_of(st.integers(kind.min, kind.max), st.sampled_from([kind.min, kind.max])), max_size=20)
    )
    stream = sum((code % 2**kind.bits) << (i * kind.bits) for i, code in enumerate(codes))

    packed = pack_bits(np.array(codes, kind.storage), kind)

    assert packed.dtype == np.uint8
    assert packed.tobytes() == stream.to_bytes(packed_size(len(codes), kind), "little")
    unpacked = unpack_bits(packed, kind, len(codes))
    assert unpacked.dtype == kind.storage
    assert unpacked.tolist() == codes


@pytest.mark.parametrize("bits", range(1, 65))
def test_a_long_stream_comes_back(bits: int) -> None:
    for kind in (IntType(False, bits), IntType(True, bits)):
        codes = np.random.default_rng(bits).integers(kind.min, kind.max, 1001, kind.storage, endpoint=True)
        np.testing.assert_array_equal(unpack_bits(pack_bits(codes, kind), kind, codes.size), codes)


def test_rows_follow_each_other_without_a_gap() -> None:
    s3 = IntType.parse("s3")
    codes = np.array([[-4, 3, 1], [0, -1, 2]])
    packed = pack_bits(codes[:, ::-1], s3)
    assert int.from_bytes(packed.tobytes(), "little") == 0b000_111_010_100_011_001
    assert unpack_bits(packed, s3, 6).tolist() == [1, 3, -4, 2, -1, 0]


def test_codes_outside_the_type_are_refused() -> None:
    for name, code in (("u4", 16), ("u4", -1), ("s4", 8), ("s4", -9), ("u64", -1), ("s64", 2**63)):
        with pytest.raises(ValueError, match=f"outside {name}"):
            pack_bits(np.array([0, code]) if code < 2**63 else np.array([code], np.uint64), IntType.parse(name))
    with pytest.raises(TypeError, match="must be integer"):
        pack_bits(np.array([0.0]), IntType.parse("u4"))


def test_data_of_another_length_or_with_set_pad_bits_are_refused() -> None:
    u3 = IntType.parse("u3")
    packed = pack_bits(np.array([1, 2, 3]), u3)  # 9 bits, of which the second byte holds one
    for data, count in ((packed[:-1], 3), (packed, 2), (packed, 6), (packed, -3), (packed.reshape(2, 1), 3)):
        with pytest.raises(ValueError, match="codes of u3 are uint8"):
            unpack_bits(data, u3, count)
    with pytest.raises(ValueError, match="the last 7 bits after 3 codes of u3 must be zero"):
        unpack_bits(packed | np.array([0, 0x80], np.uint8), u3, 3)
    assert unpack_bits(np.zeros(0, np.uint8), u3, 0).shape == (0,)
