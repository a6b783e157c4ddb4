"""What a converter reads, a traced call, and what it says, nodes of the float graph; and the table of converters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.fx import Node

from intsim.errors import CaptureError
from intsim.ir.types import Grid, Shape

Step = tuple[str, Mapping[str, Any], Mapping[str, NDArray[np.float32]], Shape]
"""Operator, attributes, arrays and shape of one node."""


@dataclass(frozen=True)
class Converted:
    """Nodes in a row: the first reads `inputs`, each other one its predecessor; `grid` is that of a layer's weights."""

    inputs: tuple[str, ...]
    steps: tuple[Step, ...]
    grid: Grid | None = None


@dataclass(frozen=True)
class Call:
    """One traced operator.

    grids  of constants that quantizers made
    value  gives the name of the graph value that an argument is
    """

    node: Node
    constants: Mapping[Node, Tensor]
    grids: Mapping[Node, Grid]
    shapes: Mapping[str, Shape]
    value: Callable[[Any], str]

    @property
    def schema(self) -> Any:
        return self.node.target._schema  # type: ignore[union-attr]

    def __getitem__(self, name: str) -> Any:
        """An argument by its schema name, or its default."""
        for position, argument in enumerate(self.schema.arguments):
            if argument.name == name:
                if position < len(self.node.args):
                    return self.node.args[position]
                return self.node.kwargs.get(name, argument.default_value)
        raise KeyError(name)

    @property
    def shape(self) -> Shape:
        return self.shape_of(self.node)

    def shape_of(self, node: Node) -> Shape:
        extents = node.meta["val"].shape
        if any(not isinstance(e, int) for e in list(extents)[1:]):
            raise CaptureError(f"an extent other than the batch depends on the input: {tuple(extents)}")
        return tuple(None if i == 0 else int(e) for i, e in enumerate(extents))

    def array(self, name: str) -> NDArray[np.float32] | None:
        """A constant argument as float32, None where it is not given."""
        found = self[name]
        if found is None:
            return None
        if found not in self.constants:
            raise CaptureError(f"{name} is computed at run time; expected a parameter or a buffer")
        return self.constants[found].detach().float().cpu().numpy().copy()

    def constant(self, name: str) -> NDArray[np.float32] | None:
        """A number or a constant tensor, None for a value computed from the input."""
        found = self[name]
        if isinstance(found, int | float):
            return np.asarray(found, np.float32)
        return self.array(name) if found in self.constants else None

    def one(self, op: str, attributes: Mapping[str, Any] | None = None, **arrays: NDArray[np.float32]) -> Converted:
        """A single node that reads the first argument."""
        return Converted((self.value(self.node.args[0]),), ((op, attributes or {}, arrays, self.shape),))

    def weighted(self, op: str, attributes: Mapping[str, Any] | None = None) -> Converted:
        """A single node with a weight and, where there is one, a bias."""
        arrays = {name: found for name in ("weight", "bias") if (found := self.array(name)) is not None}
        step: Step = (op, attributes or {}, arrays, self.shape)
        return Converted((self.value(self.node.args[0]),), (step,), self.grids.get(self["weight"]))


Converter = Callable[[Call], Converted | list[Converted]]
CONVERTERS: dict[str, Converter] = {}
IDENTITIES = frozenset(
    f"aten.{name}"
    for name in ("dropout.default", "clone.default", "contiguous.default", "detach.default", "alias.default",
                 "feature_dropout.default", "lift_fresh_copy.default", "_assert_tensor_metadata.default")
)  # fmt: skip


def converts(*names: str) -> Callable[[Converter], Converter]:
    """Register a converter for ATen operators."""

    def register(converter: Converter) -> Converter:
        CONVERTERS.update({name if name.startswith("intsim.") else f"aten.{name}": converter for name in names})
        return converter

    return register


def supported() -> str:
    """The operators that have an integer meaning, for error messages."""
    return ", ".join(sorted({name.split(".")[1].rstrip("_") for name in CONVERTERS}))


def pair(value: int | Sequence[int]) -> tuple[int, int]:
    values = [value] if isinstance(value, int) else list(value)
    return (values[0], values[-1])


def axis_of(axis: int, rank: int) -> int:
    """The axis counted from the first one."""
    return axis + rank if axis < 0 else axis
