"""Values of a network on all calibration data: made when they are asked for, kept while they are needed."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor

from intsim.ir.float_graph import FloatGraph, FloatNode

BATCH = 32
"""Images at a time."""
MEMORY_BUDGET = 5 << 29
"""Bytes that a set of values may have in memory, 2.5 GiB; what is beyond lies in memory-mapped files."""

Evaluate = Callable[..., Tensor]
"""(node, *operands) -> its value"""


class Values:
    """What nodes of a graph compute from the calibration data, float32 (N, ...) each.

    evaluate  what a node computes; it must not change for the values in front of a node that is kept
    budget    bytes in memory
    """

    def __init__(self, graph: FloatGraph, inputs: Sequence[Tensor], evaluate: Evaluate, budget: int = MEMORY_BUDGET):
        self.graph, self.evaluate, self.budget = graph, evaluate, budget
        self.images = len(inputs[0])
        self.kept: dict[str, Tensor] = dict(zip(graph.inputs, inputs, strict=True))
        self.folder = TemporaryDirectory(prefix="intsim-calibration-")

    def get(self, names: Iterable[str]) -> list[Tensor]:
        """The values of these names; those that are not kept yet are computed from those that are."""
        names = tuple(names)
        missing = [name for name in names if name not in self.kept]
        self.kept |= dict(zip(missing, self.look(missing), strict=True))
        return [self.kept[name] for name in names]

    def look(self, names: Sequence[str]) -> list[Tensor]:
        """The same without keeping them, because what computes them is about to change."""
        nodes, results = self._nodes_behind(names), {name: self._allocate(name) for name in names}
        for start in range(0, self.images if names else 0, BATCH):
            rows = slice(start, start + BATCH)
            for name, value in self._run(nodes, rows, names).items():
                results[name][rows] = value
        return list(results.values())

    def forget_all_but(self, names: Collection[str]) -> None:
        """Give back the memory of what neither is among these names nor will be computed from; inputs stay."""
        needed = {name for node in self._nodes_behind(names) for name in node.inputs} | {*names, *self.graph.inputs}
        for name in [name for name in self.kept if name not in needed]:
            del self.kept[name]
            (Path(self.folder.name) / f"{name}.f32").unlink(missing_ok=True)

    def forget_before(self, node: FloatNode) -> None:
        """The same for what no layer with weights behind this node will be computed from."""
        nodes = self.graph.nodes
        behind = {other.name for other in nodes[nodes.index(node) + 1 :]}
        self.forget_all_but({name for layer in self.graph.weighted if layer.name in behind for name in layer.inputs})

    def _nodes_behind(self, names: Iterable[str]) -> list[FloatNode]:
        """What is computed for these names, from what is kept."""
        needed, pending = set[str](), list(names)
        while pending:
            name = pending.pop()
            if name not in needed and name not in self.kept:
                needed.add(name)
                pending.extend(self.graph.by_name[name].inputs)
        return [node for node in self.graph.nodes if node.name in needed]

    def _run(self, nodes: Sequence[FloatNode], rows: slice, wanted: Sequence[str]) -> dict[str, Tensor]:
        last_use = {name: node.name for node in nodes for name in node.inputs}
        values = {name: value[rows] for name, value in self.kept.items() if name in last_use}
        with torch.no_grad():
            for node in nodes:
                values[node.name] = self.evaluate(node, *(values[name] for name in node.inputs))
                for name in set(node.inputs):
                    if last_use[name] == node.name and name not in wanted:
                        del values[name]
        return {name: values[name] for name in wanted}

    def _allocate(self, name: str) -> Tensor:
        shape = (self.images, *(extent or 1 for extent in self.graph.shapes[name][1:]))
        in_memory = sum(value.nbytes for value in self.kept.values())
        if in_memory + 4 * math.prod(shape) <= self.budget:
            return torch.empty(shape)
        path = Path(self.folder.name) / f"{name}.f32"
        return torch.from_numpy(np.memmap(path, np.float32, "w+", shape=shape))
