"""Parameters of integer operators as constants of the smallest type that holds them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from intsim.arithmetic.accumulate import signed_bits
from intsim.dtypes import IntType
from intsim.ir.types import TensorType, Value, plain


def parameter(values: NDArray[Any], element: IntType | None = None) -> Value:
    """A plain integer constant; one row where all channels agree, and the smallest signed type unless one is given.

    values  integers, channels along the first axis
    """
    values = np.atleast_1d(values)
    if len(values) > 1 and (values == values[:1]).all():
        values = values[:1]
    if element is None:
        low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
        element = IntType(True, signed_bits(low, high))
    return Value(TensorType(plain(element), values.shape), values.astype(element.storage))
