"""Arrays one after the other in one tensor of a file."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from intsim.arithmetic.accumulate import signed_bits
from intsim.arithmetic.packing import pack_bits, unpack_bits
from intsim.dtypes import IntType
from intsim.errors import GraphError


class Blob:
    """Arrays one after the other in one tensor: integers packed to the bits that they need, powers of two likewise."""

    def __init__(self, data: bytes = b""):
        self.data = bytearray(data)

    def put(self, array: NDArray[Any]) -> list[Any]:
        array = np.asarray(array)
        if array.dtype.kind != "f":
            low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
            return self._append(array.shape, *self._packed(array, IntType(True, signed_bits(low, high))))
        mantissas, exponents = np.frexp(array)
        if array.dtype == np.float64 and (mantissas == 0.5).all():
            kind, raw = self._packed(exponents - 1, IntType(True, 11))
            return self._append(array.shape, kind.replace("s", "e"), raw)
        return self._append(array.shape, f"f{array.itemsize * 8}", array.astype(f"<f{array.itemsize}").tobytes())

    def put_codes(self, codes: NDArray[Any], element: IntType) -> int:
        """Codes of a known type and number; their place is all that has to be said."""
        return self._append(codes.shape, *self._packed(codes, element))[0]

    def get_codes(self, offset: Any, element: IntType, count: int) -> NDArray[Any]:
        return self.get([offset, [count], str(element)])

    @staticmethod
    def _packed(array: NDArray[Any], element: IntType) -> tuple[str, bytes]:
        return str(element), pack_bits(array.ravel(), element).tobytes()

    def _append(self, shape: tuple[int, ...], kind: str, raw: bytes) -> list[Any]:
        token = [len(self.data), list(shape), kind]
        self.data += raw
        return token

    def get(self, token: Any) -> NDArray[Any]:
        match token:
            case [int(offset), list(shape), str(kind)] if all(isinstance(e, int) and e >= 0 for e in shape):
                count = int(np.prod(shape, dtype=object))
                bits = int(kind[1:]) if kind[1:].isdigit() and len(kind) <= 3 else 0
                end = offset + (count * bits + 7) // 8
                if bits and 0 <= offset <= end <= len(self.data):
                    raw = np.frombuffer(bytes(self.data[offset:end]), np.uint8)
                    return self._unpack(raw, kind, count).reshape(shape)
        raise GraphError(f"expected an array inside the parameters, got {str(token)[:60]}")

    @staticmethod
    def _unpack(raw: NDArray[np.uint8], kind: str, count: int) -> NDArray[Any]:
        if kind == "e11":  # powers of two by their exponents
            return np.ldexp(1.0, unpack_bits(raw, IntType(True, 11), count))
        if kind in ("f32", "f64"):
            return raw.view(f"<f{int(kind[1:]) // 8}").astype(np.float32 if kind == "f32" else np.float64)
        try:
            return unpack_bits(raw, IntType.parse(kind), count).astype(np.int64)
        except ValueError as error:
            raise GraphError(str(error)) from None
