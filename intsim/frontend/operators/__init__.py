"""ATen operators in normal form: one converter each, registered under the operator's name.

A converter reads the call's arguments by their names in the ATen schema and says which nodes of the float graph it is.
"""

from intsim.frontend.operators import contractions, elementwise, movement, pooling  # noqa: F401  (register converters)
from intsim.frontend.operators.call import CONVERTERS, IDENTITIES, Call, Converted, supported

__all__ = ["CONVERTERS", "IDENTITIES", "Call", "Converted", "supported"]
