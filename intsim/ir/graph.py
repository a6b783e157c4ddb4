"""The integer graph: typed, in single-assignment form, in order of evaluation.

A value is named after the node, input or constant that makes it. Types are inferred from the inputs, never stored, so a
graph cannot contradict itself; `check` says whether it is well-formed at all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intsim.errors import GraphError
from intsim.ir.op import Op
from intsim.ir.types import TensorType, Value


@dataclass(frozen=True)
class Node:
    """One operator applied to named values; its result has the node's name."""

    name: str
    op: Op
    inputs: tuple[str, ...]

    @property
    def mnemonic(self) -> str:
        return self.op.mnemonic


@dataclass(frozen=True, eq=False)
class Graph:
    """An integer network.

    inputs     name -> type, float32 or codes
    constants  name -> weights, biases, multipliers, shifts, thresholds, tables
    nodes      in order of evaluation
    outputs    names of the results
    metadata   what made the graph (method, widths, version): text for people, without meaning for the arithmetic
    """

    inputs: Mapping[str, TensorType]
    constants: Mapping[str, Value]
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    metadata: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def types(self) -> dict[str, TensorType]:
        """Type of every value. GraphError, with the node's name, where an operator does not fit its operands."""
        types: dict[str, TensorType] = dict(self.inputs)
        for name, constant in self.constants.items():
            if name in types:
                raise GraphError(f"'{name}' names both an input and a constant")
            types[name] = constant.type
        for node in self.nodes:
            where = f"{node.mnemonic} '{node.name}'"
            if node.name in types:
                raise GraphError(f"{where}: the name is taken; every value is assigned once")
            missing = [name for name in node.inputs if name not in types]
            if missing:
                raise GraphError(f"{where}: reads '{missing[0]}', which nothing before it makes")
            try:
                types[node.name] = node.op.infer(*(types[name] for name in node.inputs))
            except GraphError as error:
                raise GraphError(f"{where}: {error}") from None
            except TypeError:
                raise GraphError(f"{where}: does not take {len(node.inputs)} operands") from None
        return types

    @cached_property
    def by_name(self) -> dict[str, Node]:
        return {node.name: node for node in self.nodes}

    @cached_property
    def consumers(self) -> dict[str, tuple[Node, ...]]:
        """For every value the nodes that read it."""
        readers: dict[str, list[Node]] = {name: [] for name in self.types}
        for node in self.nodes:
            for name in dict.fromkeys(node.inputs):
                readers[name].append(node)
        return {name: tuple(nodes) for name, nodes in readers.items()}

    def operands(self, node: Node) -> tuple[TensorType, ...]:
        """Types of a node's operands."""
        return tuple(self.types[name] for name in node.inputs)

    def macs(self) -> dict[str, int]:
        """Multiply-accumulates for one image, for every node that has some."""
        counts = {node.name: node.op.macs(*self.operands(node)) for node in self.nodes}
        return {name: count for name, count in counts.items() if count}

    def run(self, *inputs: NDArray[Any], backend: str = "native", threads: int | None = None) -> NDArray[np.float64]:
        """Real values of the first output for float32 (or code) inputs, by a backend: native, numba or reference."""
        from intsim.backends import load_backend

        return load_backend(backend, self, threads=threads).run(*inputs)[self.outputs[0]].reals

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)
