"""A float chain as an operator: what stands in the graph until a pass puts integers in its place.

It can be evaluated and typed like any other operator, so the graph can be checked, run and compared between passes; it
is not registered, so no file can hold one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from numpy.typing import NDArray

from intsim.errors import LoweringError
from intsim.ir.chain import Chain, CountThresholds
from intsim.ir.graph import Graph, Node
from intsim.ir.op import Op, expect
from intsim.ir.ops import AdaptiveAveragePool, AveragePool
from intsim.ir.types import Grid, TensorType, Value


@dataclass(frozen=True, eq=False)
class FloatChain(Op):
    """Codes of `out` by a float64 chain over its operands' levels, or over the sums of `pool` where that is given."""

    mnemonic: ClassVar[str] = "float_chain"
    chain: Chain
    out: Grid
    pool: AveragePool | AdaptiveAveragePool | None = None

    def infer(self, *operands: TensorType) -> TensorType:
        expect(len(operands) == len(self.chain.sources), f"expected {len(self.chain.sources)} operands")
        expect(all(t.shape == operands[0].shape for t in operands), "the operands differ in shape")
        tail = self.chain.tail
        same = isinstance(tail, CountThresholds) or (tail.zero_point,) == self.out.zero_point
        expect(same, f"the chain and its result {self.out} differ in their zero point")
        shape = operands[0].shape if self.pool is None else self.pool.infer(operands[0]).shape
        return TensorType(self.out, shape)

    def evaluate(self, *operands: Value) -> NDArray[Any]:
        levels = [v.levels for v in operands] if self.pool is None else [self.pool.sums(operands[0])]
        return self.chain.evaluate(levels).astype(self.out.element.storage)


Replacement = tuple[Op, dict[str, Value]]
"""An integer operator and its parameters by the suffix of their names, in operand order."""


def replace_chains(graph: Graph, form: str, rewrite: Callable[[Graph, Node, FloatChain], Replacement]) -> Graph:
    """The graph with every chain of a form replaced by what `rewrite` makes of it.

    Parameters become constants named "<node>.<suffix>". LoweringError carries the node's name.
    """
    nodes: list[Node] = []
    constants = dict(graph.constants)
    for node in graph.nodes:
        if isinstance(node.op, FloatChain) and node.op.chain.form == form:
            try:
                op, parameters = rewrite(graph, node, node.op)
            except LoweringError as error:
                raise LoweringError(f"'{node.name}': {error}") from None
            names = [f"{node.name}.{suffix}" for suffix in parameters]
            constants.update(zip(names, parameters.values(), strict=True))
            node = Node(node.name, op, (*node.inputs, *names))
        nodes.append(node)
    return replace(graph, nodes=tuple(nodes), constants=constants)
