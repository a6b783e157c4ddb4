"""A graph as steps, each made ready once: native where a kernel computes the operator exactly."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from intsim.backends.native_contractions import Contraction, addition_of, fold
from intsim.backends.native_epilogues import epilogue_spec
from intsim.backends.native_movement import Place, concatenated
from intsim.backends.native_steps import prepare
from intsim.backends.nhwc import is_bytes, layouts
from intsim.errors import BackendError
from intsim.ir import ops
from intsim.ir.graph import Graph, Node

if TYPE_CHECKING:
    from intsim.backends.native_program import Segment

Emit = Callable[["Segment"], None]
"""Adds a step to a plan; the values that it reads and makes are known by their names."""


@dataclass(frozen=True)
class Step:
    """What makes one value: native, or None for the operator's own meaning."""

    name: str
    reads: tuple[str, ...]
    emit: Emit | None
    parts: Mapping[str, tuple[str, Place]] = field(default_factory=dict)
    """Values that are written to their place in this one by the steps that make them."""


class Lowering:
    """A graph made ready: packed weights and the steps in order."""

    def __init__(self, graph: Graph, threads: int):
        self.graph = graph
        self.layouts = layouts(graph)
        self.kernels: dict[str, str] = {}
        """Node -> the kernel that computes it; `reference` where none does."""
        self.proofs: dict[str, str] = {}
        """Layer -> its scheme, how often narrow lanes are widened, and why that is exact."""
        with ThreadPoolExecutor(threads) as pool:  # as NumPy works without the GIL
            found = zip(graph.nodes, pool.map(lambda node: fold(graph, node), graph.nodes), strict=True)
            self._folded = {node.name: folded for node, folded in found if folded is not None}
        self._ranges = {name: (folded.low, folded.high) for name, folded in self._folded.items()}
        followers = self._followers()
        self._fused = {follower.name: graph.by_name[name] for name, follower in followers.items()}
        self._unfused: dict[str, Step] = {}
        alone = [node for node in graph.nodes if node.name not in followers]  # others go with what follows them
        with ThreadPoolExecutor(threads) as pool:  # weights are packed without the GIL
            self._steps = list(pool.map(self._step_of, alone))

    def take_folded(self, node: Node) -> Contraction | None:
        """Folded weights for the step that packs them; they are not kept."""
        return self._folded.pop(node.name, None) or fold(self.graph, node)

    def range_of(self, name: str) -> tuple[int, int]:
        """Bounds of what is stored for a value: bytes of its width, accumulators as its weights allow, or its type."""
        element = self.graph.types[name].integer.element
        stored = (0, (1 << element.bits) - 1) if is_bytes(self.graph.types[name]) else (element.min, element.max)
        return self._ranges.get(name, stored)

    def steps_for(self, wanted: Collection[str]) -> list[Step]:
        """The steps that the wanted values need; accumulators that are fused away get a step of their own."""
        hidden = {node.name: node for node in self._fused.values() if node.name in wanted}
        for name in hidden.keys() - self._unfused.keys():
            self._unfused[name] = self._prepare(hidden[name], None)
        needed, steps = set(wanted), []
        for step in reversed([*self._steps, *(self._unfused[name] for name in hidden)]):
            if step.name in needed:
                needed.update(step.reads)
                steps.append(step)
        return steps[::-1]

    def _followers(self) -> dict[str, Node]:
        """Convolution -> the requantization, threshold or addition that alone reads it and that its tiles can apply."""
        result = {}
        for name, folded in self._folded.items():
            readers = self.graph.consumers[name]
            if len(readers) != 1 or name in self.graph.outputs:
                continue
            follower = readers[0]
            if epilogue_spec(self, follower) is not None:
                result[name] = follower
            elif isinstance(follower.op, ops.Add) and folded.adds_in_tiles:
                total = addition_of(self, follower)
                if total is not None and total.a == name:
                    result[name] = follower
        return result

    def _step_of(self, node: Node) -> Step:
        source = self._fused.get(node.name)
        return self._prepare(source, node) if source else self._prepare(node, None)

    def _prepare(self, node: Node, follower: Node | None) -> Step:
        """The step of a node, or of what follows it and the node in front of it."""
        result = follower or node
        sources = (*node.inputs, *(name for name in result.inputs if name != node.name)) if follower else node.inputs
        reads = tuple(name for name in sources if name not in self.graph.constants)
        try:
            emit = prepare(self, node, follower)
        except ValueError as error:
            raise BackendError(f"{node.mnemonic} {error}") from None
        if emit is None:
            self.kernels[node.name] = "reference"
        return Step(result.name, reads, emit, concatenated(self, node) if emit else {})
