"""An integer epilogue beside its float chain: both evaluated at the same integers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intsim.ir.chain import Chain, Divide, Multiply, Offset, PRelu, Terms
from intsim.ir.graph import Graph, Node
from intsim.ir.op import Op
from intsim.ir.types import Grid, Scale, TensorType, Value

Evidence = dict[str, Any]
"""JSON that says how an epilogue was shown to equal its chain; "method" names the kind."""


class UnprovedError(Exception):
    """Why a proof fails, with the channel and the integer at which it does; `prove` records it with the layer."""


@dataclass(frozen=True, eq=False)
class Epilogue:
    """A node of the integer graph and the float chain that it has to reproduce."""

    graph: Graph
    node: Node
    chain: Chain

    @property
    def op(self) -> Op:
        return self.node.op

    @property
    def out(self) -> Grid:
        """Grid of the result."""
        return self.graph.types[self.node.name].integer

    @property
    def operand(self) -> TensorType:
        """Type of the first operand."""
        return self.graph.types[self.node.inputs[0]]

    @cached_property
    def channels(self) -> int:
        """Extent of the operand's channel axis, along which the parameters of both sides have to lie."""
        shape, axis = self.operand.shape, self.operand.integer.axis
        channels = int(shape[axis] or 1) if axis < len(shape) else 1
        sizes = {parameter.size for parameter in _parameters(self.chain)}
        if self.chain.axis != axis and max(sizes, default=1) > 1:
            raise UnprovedError(f"the float chain has its channels along axis {self.chain.axis}, expected {axis}")
        if not sizes <= {1, channels}:
            raise UnprovedError(f"the float chain is made for {max(sizes)} channels, but there are {channels}")
        return channels

    @property
    def parameters(self) -> list[Value]:
        """The constants among the node's operands."""
        return [self.graph.constants[name] for name in self.node.inputs if name in self.graph.constants]

    def floats(self, levels: NDArray[np.int64]) -> NDArray[np.int64]:
        """The chain's codes for levels (C, P)."""
        return self.chain.evaluate([levels], axis=0)

    def integers(self, codes: NDArray[np.int64]) -> NDArray[np.int64]:
        """The node's codes for codes or accumulators (C, P) of its operand, by the operator's reference meaning."""
        grid = self.operand.integer
        plain = Grid(grid.element, Scale((0,), True), grid.zero_point, grid.step)
        operand = Value(TensorType(plain, (None, *codes.shape)), codes[None])
        try:
            return self.op.evaluate(operand, *self.parameters)[0].astype(np.int64)
        except (OverflowError, ValueError) as error:
            raise UnprovedError(f"the integers have no meaning: {error}") from None


def expect_equal(at: NDArray[np.int64], integers: NDArray[np.int64], floats: NDArray[np.int64]) -> NDArray[np.int64]:
    """The codes of both sides, (C, P); UnprovedError with the first channel and integer where they differ."""
    if (integers != floats).any():
        place = tuple(np.argwhere(integers != floats)[0])
        raise UnprovedError(
            f"channel {place[0]}: at {at[place]} the integers give {integers[place]}, the float chain {floats[place]}"
        )
    return floats


def _parameters(chain: Chain) -> list[NDArray[np.float64]]:
    """What a chain has per channel or per tensor; divisors for each pixel are not among them."""
    found: list[NDArray[np.float64]] = []
    for step in chain.steps:
        match step:
            case Terms(coefficients):
                found.extend(coefficients)
            case Divide(p) if p.ndim == 2:
                pass
            case Multiply(p) | Divide(p) | Offset(p) | PRelu(p):
                found.append(p)
    return found
