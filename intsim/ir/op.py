"""The operator: a frozen dataclass with a type rule, a reference meaning and a cost, registered under its mnemonic.

A new operator is one file in ir/ops/: subclass Op, decorate with @register. Its fields are its attributes; integers
with one entry per channel are operands (constants of the graph), so that files hold them packed.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, TypeVar

from numpy.typing import NDArray

from intsim.errors import GraphError
from intsim.ir.types import TensorType, Value, plain


class Op(ABC):
    """One operator with its attributes filled in."""

    mnemonic: ClassVar[str]

    @abstractmethod
    def infer(self, *operands: TensorType) -> TensorType:
        """Type of the result, or GraphError that says which operand does not fit and why."""

    @abstractmethod
    def evaluate(self, *operands: Value) -> NDArray[Any]:
        """Reference meaning: codes of the result, in the storage type of `infer`. Plain integers, nothing fast."""

    def macs(self, *operands: TensorType) -> int:
        """Multiply-accumulates for one image."""
        return 0


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


def expect_parameter(parameter: TensorType, channels: int | None, what: str) -> None:
    """A per-tensor (1,) or per-channel (C,) integer operand."""
    fits = parameter.rank == 1 and parameter.shape[0] in (1, channels)
    expect(fits, f"{what}: expected shape [1] or [{channels}], got {parameter}")
    expect(
        parameter.integer == plain(parameter.integer.element), f"{what}: expected plain integers, got {parameter.grid}"
    )


def channels_of(operand: TensorType) -> int | None:
    return operand.shape[1] if operand.rank > 1 else None
