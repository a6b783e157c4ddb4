"""The operator: a frozen dataclass with a type rule, a reference meaning and a cost, registered under its mnemonic.

A new operator is one file in ir/ops/: subclass Op, decorate with @register. Its fields are its attributes; integers
with one entry per channel are operands (constants of the graph), so that files hold them packed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, TypeVar

from numpy.typing import NDArray

from intsim.errors import GraphError
from intsim.ir.types import TensorType


class Op(ABC):
    """One operator with its attributes filled in.

    Each operator names its operands, as in `infer(self, x, weight, bias=None)`. `*Any, **Any` stands for whatever those
    are: to a type checker it is the one signature that every other may override.
    """

    mnemonic: ClassVar[str]

    @abstractmethod
    def infer(self, *operands: Any, **named: Any) -> TensorType:
        """Type of the result for the operands' types, or GraphError that says which does not fit and why."""

    @abstractmethod
    def evaluate(self, *operands: Any, **named: Any) -> NDArray[Any]:
        """Reference meaning: codes of the result for the operands' Values, in the storage type of `infer`."""

    def macs(self, *operands: Any, **named: Any) -> int:
        """Multiply-accumulates for one image, for the operands' types."""
        return 0

    def parameters_from(self, operands: int) -> int:
        """How many of `operands` may be computed at run time; those behind have to be constants of the graph."""
        return operands

    def check_parameters(self, *parameters: Any, **named: Any) -> None:  # noqa: B027 (most operators define all values)
        """GraphError where the Values of the constant operands hold what the operator does not define."""


OPS: dict[str, type[Op]] = {}
"""Every operator by its mnemonic."""

_OpClass = TypeVar("_OpClass", bound=type[Op])


def register(cls: _OpClass) -> _OpClass:
    OPS[cls.mnemonic] = cls
    return cls


def expect(condition: bool, message: str) -> None:
    """GraphError with `message` unless the condition holds."""
    if not condition:
        raise GraphError(message)
