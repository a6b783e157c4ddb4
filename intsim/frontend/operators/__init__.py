"""ATen operators in normal form: one converter each, registered under the operator's name.

A converter reads the call's arguments by their names in the ATen schema and says which nodes of the float graph it is.
"""

from intsim.frontend.operators import (  # noqa: F401  (register converters)
    contractions,
    elementwise,
    movement,
    pooling,
)
from intsim.frontend.operators.call import CONVERTERS, IDENTITIES, Call, Converted, supported
from intsim.frontend.operators.quantizers import WEIGHT_GRIDS

__all__ = ["CONVERTERS", "IDENTITIES", "WEIGHT_GRIDS", "Call", "Converted", "supported"]
