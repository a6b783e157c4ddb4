"""The fast backend: packed low-bit kernels in C++ (csrc/), on NHWC bytes from the first quantizer to the last layer.

A graph becomes a plan: steps in order, each prepared once by native_steps.py, requantizations folded into the
convolutions before them. A batch goes through it in chunks of some images, so that a layer's output is still in cache
when the next one reads it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intsim import _native
from intsim.backends.base import Backend
from intsim.backends.native_steps import Images, Step, epilogue_spec, fold, prepare, reference_step
from intsim.backends.nhwc import Layout, extents, is_bytes, layouts, to_codes
from intsim.errors import BackendError
from intsim.ir.graph import Graph, Node
from intsim.ir.types import TensorType, Value

kernels, MicroKernel, dependent_adds = _native.kernels, _native.MicroKernel, _native.dependent_adds
"""The table of kernels, and what measures one on its own: for intsim.benchmark."""

CHUNK_BYTES = 1 << 19  # of the largest value: with its neighbours it stays within the last cache
MOST_IMAGES = 64


def batch_of(inputs: Mapping[str, Value]) -> int:
    """Images in the inputs; 1 where none of them has a batch."""
    return next((len(value.codes) for value in inputs.values() if value.type.shape[0] is None), 1)


class Chunk:
    """The values of some images on their way through the graph, each as native images, as NumPy codes, or both."""

    def __init__(self, plan: Plan, inputs: Mapping[str, Value], buffers: dict[str, Images]):
        self.plan, self.threads = plan, plan.threads
        self.batch = batch_of(inputs)
        self._buffers = buffers  # by name, kept from chunk to chunk
        self._images: dict[str, Images] = {}
        self._codes: dict[str, NDArray[Any]] = {n: v.codes for n, v in (*plan.graph.constants.items(), *inputs.items())}

    def images(self, name: str) -> Images:
        """A value as native images."""
        if name not in self._images:
            self._import(name)
        return self._images[name]

    def codes(self, name: str) -> NDArray[Any]:
        """A value as the graph has it."""
        if name not in self._codes:
            self._export(name)
        return self._codes[name]

    def new(self, name: str) -> Images:
        """Uninitialised images for a value that a step is about to make."""
        self._images[name] = self.scratch(name, self.plan.layouts.get(name) or self.plan.graph.types[name])
        return self._images[name]

    def scratch(self, key: str, layout: Layout | TensorType) -> Images:
        """Images of a layout, or int32 images for a type, that keep their memory from chunk to chunk."""
        if key not in self._buffers:
            if isinstance(layout, Layout):
                size = (self.batch, layout.height, layout.width, layout.channels)
                self._buffers[key] = _native.ByteImages(*size, layout.bits, list(layout.halo), layout.fill or 0)
            else:
                self._buffers[key] = _native.Int32Images(self.batch, *extents(layout))
        return self._buffers[key]

    def share(self, name: str, source: str) -> None:
        """Let `name` be the same memory as `source`."""
        self._images[name] = self.images(source)

    def put_codes(self, name: str, codes: NDArray[Any]) -> None:
        self._codes[name] = codes

    def _export(self, name: str) -> None:
        type, images = self.plan.graph.types[name], self._images[name]
        native: NDArray[Any]
        if is_bytes(type):
            native = _native.export_codes(images, type.integer.element.min, self.threads)
        else:
            native = _native.export_accumulators(images, self.threads)
        self._codes[name] = to_codes(native, type)

    def _import(self, name: str) -> None:
        type, images = self.plan.graph.types[name], self.new(name)
        height, width, channels = extents(type)
        codes = np.ascontiguousarray(self._codes[name]).reshape(self.batch, channels, height, width)
        if is_bytes(type):
            _native.import_codes(codes.view(np.uint8), type.integer.element.min, images, self.threads)
        else:
            _native.import_accumulators(codes.astype(np.int32, copy=False), images, self.threads)


@dataclass(frozen=True)
class Planned:
    """One step: the value it makes and the values it reads."""

    name: str
    reads: tuple[str, ...]
    run: Step


class Plan:
    """A graph made ready: packed weights and the steps in order."""

    def __init__(self, graph: Graph, threads: int | None):
        self.graph = graph
        self.threads = min(threads or _native.available_threads(), _native.available_threads())
        self.layouts = layouts(graph)
        self.steps: list[Planned] = []
        self.kernels: dict[str, str] = {}
        """Node -> the kernel that computes it; `reference` where none does."""
        self.contractions = {n.name: folded for n in graph.nodes if (folded := fold(graph, n)) is not None}
        """Folded weights until the step that packs them takes them."""
        self._ranges = {name: (folded.low, folded.high) for name, folded in self.contractions.items()}
        fused = self._fused_epilogues()
        self._source = {epilogue.name: self.graph.by_name[name] for name, epilogue in fused.items()}
        self._unfused: dict[str, Planned] = {}
        for node in graph.nodes:
            if node.name in fused:
                continue  # computed with its epilogue
            source = self._source.get(node.name)
            self.steps.append(self._prepare(source, node) if source else self._prepare(node, None))

    def range_of(self, name: str) -> tuple[int, int]:
        """Bounds of what is stored for a value: bytes of its width, accumulators as its weights allow, or its type."""
        element = self.graph.types[name].integer.element
        stored = (0, (1 << element.bits) - 1) if is_bytes(self.graph.types[name]) else (element.min, element.max)
        return self._ranges.get(name, stored)

    def wanted_steps(self, wanted: Collection[str]) -> list[Planned]:
        """The steps that the wanted values need; accumulators in front of a fused epilogue get a step of their own."""
        hidden = {node.name: node for node in self._source.values() if node.name in wanted}
        for name in hidden.keys() - self._unfused.keys():
            self._unfused[name] = self._prepare(hidden[name], None)
        needed, steps = set(wanted), []
        for step in reversed([*self.steps, *(self._unfused[name] for name in hidden)]):
            if step.name in needed:
                needed.update(step.reads)
                steps.append(step)
        return steps[::-1]

    def _fused_epilogues(self) -> dict[str, Node]:
        """Convolution -> the requantization or threshold that alone reads it and that a kernel can apply."""
        result = {}
        for node in self.graph.nodes:
            readers = self.graph.consumers[node.name]
            alone = len(readers) == 1 and node.name not in self.graph.outputs
            if alone and node.name in self.contractions and epilogue_spec(self.graph, readers[0]) is not None:
                result[node.name] = readers[0]
        return result

    def _prepare(self, node: Node, epilogue: Node | None) -> Planned:
        result = epilogue or node
        data = tuple(name for name in node.inputs if name not in self.graph.constants)
        try:
            step = prepare(self, node, epilogue)
        except ValueError as error:
            raise BackendError(f"{node.mnemonic} {error}") from None
        if step is None:
            self.kernels[node.name] = "reference"
            step = reference_step(self.graph, node)
        return Planned(result.name, data, step)


class NativeBackend(Backend):
    """Runs a graph by packed kernels. INTSIM_ISA=portable does without the processor's vector instructions."""

    def __init__(self, graph: Graph, threads: int | None = None):
        super().__init__(graph, threads)
        self.plan = Plan(graph, threads)
        self._batched = all(type.shape[0] is None for type in graph.inputs.values())
        sizes = (layout.height * layout.width * layout.channels for layout in self.plan.layouts.values())
        largest = max(sizes, default=1)
        self._chunk = min(MOST_IMAGES, max(1, CHUNK_BYTES // largest))
        self._free_buffers: dict[int, list[dict[str, Images]]] = {}

    @property
    def kernels(self) -> dict[str, str]:
        """Node -> the kernel that computes it, for layers with weights; `reference` for nodes that none computes."""
        return dict(self.plan.kernels)

    def execute(self, inputs: Mapping[str, Value], wanted: Collection[str]) -> dict[str, NDArray[Any]]:
        count = len(next(iter(inputs.values())).codes)
        step = self._chunk if self._batched else count
        steps = self.plan.wanted_steps(wanted)
        parts = [
            self._run({k: Value(v.type, v.codes[i : i + step]) for k, v in inputs.items()}, steps, wanted)
            for i in range(0, count, step)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in wanted} if len(parts) > 1 else parts[0]

    def _run(
        self, inputs: Mapping[str, Value], steps: list[Planned], wanted: Collection[str]
    ) -> dict[str, NDArray[Any]]:
        # Several threads may run one backend: each takes buffers of its own, and leaves them for the next.
        free = self._free_buffers.setdefault(batch_of(inputs), [])
        buffers = free.pop() if free else {}
        chunk = Chunk(self.plan, inputs, buffers)
        for step in steps:
            try:
                step.run(chunk)
            except MemoryError:
                raise BackendError(f"'{step.name}': out of memory for {chunk.batch} images") from None
            except ValueError as error:
                raise BackendError(f"'{step.name}': {error}") from None
        result = {name: chunk.codes(name) for name in wanted}
        free.append(buffers)
        return result
