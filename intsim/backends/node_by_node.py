"""Running a graph one node after the other on NumPy codes, some images at a time, on several threads."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intsim.backends.base import Backend
from intsim.errors import BackendError, GraphError
from intsim.ir.graph import Graph, Node
from intsim.ir.types import Value

MOST_IMAGES = 8
ELEMENTS_AT_ONCE = 1 << 21  # of the largest value: beyond that, int64 intermediates are new memory each time


class NodeByNode(Backend):
    """A backend that is a way to evaluate one node. Images do not depend on each other, so neither do threads."""

    def __init__(self, graph: Graph, threads: int | None = None):
        super().__init__(graph, threads)
        largest = max(type.elements() for type in graph.types.values())
        self._images = min(MOST_IMAGES, max(1, ELEMENTS_AT_ONCE // largest))
        self._last_use = {name: node.name for node in graph.nodes for name in node.inputs}

    @abstractmethod
    def evaluate(self, node: Node, operands: Sequence[Value]) -> NDArray[Any]:
        """Codes of a node's result."""

    def execute(self, inputs: Mapping[str, Value], wanted: Collection[str]) -> dict[str, NDArray[Any]]:
        batched = all(value.type.shape[0] is None for value in inputs.values())
        count = len(next(iter(inputs.values())).codes)
        step = self._images if batched else count
        batches = [{k: Value(v.type, v.codes[i : i + step]) for k, v in inputs.items()} for i in range(0, count, step)]
        with ThreadPoolExecutor(self.threads or len(os.sched_getaffinity(0))) as pool:
            parts = list(pool.map(lambda batch: self._run(batch, wanted), batches))
        return {name: np.concatenate([part[name] for part in parts]) for name in wanted} if len(parts) > 1 else parts[0]

    def _run(self, inputs: Mapping[str, Value], wanted: Collection[str]) -> dict[str, NDArray[Any]]:
        values = {**self.graph.constants, **inputs}
        for node in self.graph.nodes:
            try:
                codes = self.evaluate(node, [values[name] for name in node.inputs])
            except (GraphError, OverflowError) as error:
                raise BackendError(f"{node.mnemonic} '{node.name}': {error}") from None
            values[node.name] = Value(self.graph.types[node.name], codes)
            for name in node.inputs:
                if self._last_use[name] == node.name and name not in wanted:
                    values.pop(name, None)
        return {name: values[name].codes for name in wanted}
