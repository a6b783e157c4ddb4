"""The fast backend: packed low-bit kernels in C++ (csrc/), from float32 input to the last accumulator in NHWC bytes.

Each operator has a function that prepares it: it packs weights, folds the requantization that follows into the kernel,
and returns a step, a closure over native objects. An operator without one, or in a form that no kernel computes
exactly, runs by its reference meaning on NumPy codes; values are converted where the two meet.

A batch goes through in chunks of some images, so that a layer's output is still in cache when the next one reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intsim import _native
from intsim.arithmetic.engine_rules import EngineRule
from intsim.backends.base import Backend
from intsim.backends.nhwc import (
    Layout,
    Sides,
    byte_tables,
    extents,
    fits_accumulator,
    fold_weights,
    is_accumulator,
    is_bytes,
    layouts,
    level_offsets,
    pad_byte,
    to_codes,
)
from intsim.errors import BackendError, GraphError
from intsim.ir import ops
from intsim.ir.graph import Graph, Node
from intsim.ir.types import TensorType, Value

CHUNK_BYTES = 1 << 19  # of the largest value: with its neighbours it stays within the last cache
MOST_IMAGES = 64

Images = Any  # _native.ByteImages or _native.Int32Images
Step = Callable[["Chunk"], None]


class Chunk:
    """The values of some images on their way through the graph, each as native images, as NumPy codes, or both."""

    def __init__(self, plan: Plan, inputs: Mapping[str, Value], buffers: dict[str, Images]):
        self.plan, self.threads = plan, plan.threads
        self.batch = len(next(iter(inputs.values())).codes)
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
            images, type = self._images[name], self.plan.graph.types[name]
            if is_bytes(type):
                native = _native.export_codes(images, type.integer.element.min, self.threads)
            else:
                native = _native.export_accumulators(images, self.threads)
            self._codes[name] = to_codes(native, type)
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
        fused = self._fused_epilogues()
        self._fused_into = {epilogue.name: conv for conv, epilogue in fused.items()}
        for node in graph.nodes:
            if node.name in fused:
                continue  # computed with its epilogue, or by `unfused` if it is asked for
            source = self._fused_into.get(node.name)
            with_epilogue = node if source else None
            self.steps.append(self._prepare(graph.by_name[source] if source else node, with_epilogue))

    def wanted_steps(self, wanted: Collection[str]) -> list[Planned]:
        """The steps that the wanted values need, accumulators from in front of a fused epilogue included."""
        extra = [self._prepare(self.graph.by_name[name], None) for name in wanted if name in self._hidden]
        needed, steps = set(wanted), []
        for step in reversed([*self.steps, *extra]):
            if step.name in needed:
                needed.update(step.reads)
                steps.append(step)
        return steps[::-1]

    @property
    def _hidden(self) -> frozenset[str]:
        return frozenset(self._fused_into.values())

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


def prepare(plan: Plan, node: Node, epilogue: Node | None) -> Step | None:
    """The native step of a node, or None where it has none."""
    match node.op:
        case ops.Conv2d() | ops.Linear():
            return contraction(plan, node, epilogue)
        case ops.Add():
            return addition(plan, node)
        case ops.Quantize():
            return quantization(plan, node)
        case ops.MaxPool() | ops.AveragePool() | ops.AdaptiveAveragePool():
            return pooling(plan, node)
        case ops.Concat() | ops.Slice() | ops.Pad() | ops.Upsample() | ops.Reshape():
            return movement(plan, node)
        case _:
            return code_mapping(plan, node) or accumulator_epilogue(plan, node)


def reference_step(graph: Graph, node: Node) -> Step:
    """The operator's own meaning, on NumPy codes."""

    def run(chunk: Chunk) -> None:
        operands = (Value(graph.types[name], chunk.codes(name)) for name in node.inputs)
        try:
            chunk.put_codes(node.name, node.op.evaluate(*operands))
        except (GraphError, OverflowError) as error:
            raise BackendError(f"{node.mnemonic} '{node.name}': {error}") from None

    return run


# --- convolution, linear, and what follows them -----------------------------------------------------------------------


@dataclass(frozen=True)
class Contraction:
    """A convolution or linear layer over bytes: what `_native.Conv` takes."""

    weights: NDArray[np.int64]
    bias: NDArray[np.int64]
    geometry: tuple[Any, ...]  # input channels, stride, dilation, groups, bits of an activation
    padding: Sides
    pad_byte: int


def fold(graph: Graph, node: Node) -> Contraction | None:
    """A convolution or linear layer as the kernels take it; None for others and for what no kernel does exactly."""
    op = node.op
    if not isinstance(op, ops.Conv2d | ops.Linear) or op.accumulator.overflow != "exact":
        return None
    source, *parameters = node.inputs
    x, acc = graph.types[source], graph.types[node.name]
    constants = [graph.constants[name] for name in parameters if name in graph.constants]
    if not is_bytes(x) or not is_accumulator(acc) or source in graph.constants or len(constants) < len(parameters):
        return None
    padding: Sides = (0, 0, 0, 0)
    fill, strides = 0, ((1, 1), (1, 1), 1)
    if isinstance(op, ops.Conv2d):
        byte = pad_byte(op, x)
        if byte is None:
            return None
        padding, fill, strides = op.padding, byte, (op.stride, op.dilation, op.groups)
    weights, bias = fold_weights(op, x, *constants)
    bits = x.integer.element.bits
    fits = fits_accumulator(weights, bias, bits, acc.integer.element)
    if not fits or weights.min() < -(1 << 15) or weights.max() >= 1 << 15:
        return None
    return Contraction(weights, bias, (extents(x)[2], *strides, bits), padding, fill)


def contraction(plan: Plan, node: Node, epilogue: Node | None) -> Step | None:
    """A convolution or linear layer, with its fused epilogue if it has one."""
    folded = plan.contractions.get(node.name)
    if folded is None:
        return None
    spec = epilogue_spec(plan.graph, epilogue) if epilogue else None
    conv = _native.Conv(node.name, folded.weights, folded.bias, *folded.geometry, spec)
    plan.kernels[node.name] = conv.kernel
    source, result = node.inputs[0], (epilogue or node).name
    padding, fill, sides = folded.padding, folded.pad_byte, list(folded.padding)
    if plan.layouts[source].provides(padding, fill):
        return lambda chunk: conv.run(chunk.images(source), sides, fill, chunk.new(result), chunk.threads)

    copy = f"{node.name}:padded"
    layout = replace(plan.layouts[source], halo=padding, fill=fill)

    def run(chunk: Chunk) -> None:
        padded = chunk.scratch(copy, layout)
        copy_all(chunk.images(source), padded, layout, (0, 0, 0), chunk.threads)
        conv.run(padded, sides, fill, chunk.new(result), chunk.threads)

    return run


def epilogue_spec(graph: Graph, node: Node) -> Any | None:
    """A requantization or threshold of int32 accumulators as the kernels take it, or None."""
    types, result = graph.types, graph.types[node.name]
    if not node.inputs or not is_accumulator(types[node.inputs[0]]) or not is_bytes(result):
        return None
    parameters = [graph.constants.get(name) for name in node.inputs[1:]]
    if any(parameter is None for parameter in parameters):
        return None
    channels = extents(result)[2]
    element = result.integer.element
    spread = [broadcast(p.levels, channels) for p in parameters if p is not None]
    match node.op:
        case ops.Threshold():
            return _native.ThresholdSpec(*spread, element.bits, element.min)
        case ops.RequantizeShift():
            multiplier, shift = np.ones(channels, np.int64), spread[0]
        case ops.RequantizeMultiplier(rounding=rounding) if not isinstance(rounding, EngineRule):
            multiplier, shift = spread
            if shift.min() < 0 or abs(multiplier).max() >= 1 << 31:
                return None
        case _:
            return None
    return _native.ScaleSpec(multiplier, shift, *rounding_of(node.op, element.bits, element.min))


def rounding_of(op: Any, bits: int, smallest: int) -> tuple[Any, ...]:
    """(rounding, zero point, whether it comes first, low, high, bits, smallest code) of an operator that rounds."""
    low = smallest if op.low is None else op.low
    high = smallest + (1 << bits) - 1 if op.high is None else op.high
    return str(op.rounding), op.out.zero_point[0], op.zero_point_first, low, high, bits, smallest


def broadcast(parameter: NDArray[np.int64], channels: int) -> NDArray[np.int64]:
    """A per-tensor or per-channel parameter for every channel, contiguous."""
    return np.ascontiguousarray(np.broadcast_to(parameter, (channels, *parameter.shape[1:])))


def accumulator_epilogue(plan: Plan, node: Node) -> Step | None:
    """Requantization of accumulators that others read too."""
    spec = epilogue_spec(plan.graph, node)
    if spec is None:
        return None
    requantize, source = _native.Requantize(node.name, spec), node.inputs[0]
    return lambda chunk: requantize.run(chunk.images(source), chunk.new(node.name), chunk.threads)


# --- between convolutions ---------------------------------------------------------------------------------------------


def quantization(plan: Plan, node: Node) -> Step | None:
    type, source = plan.graph.types[node.name], node.inputs[0]
    grid = type.integer
    low, high = grid.element.min - grid.zero_point[0], grid.element.max - grid.zero_point[0]
    if not is_bytes(type) or max(-low, high) > 1 << 21:
        return None
    scale = float(np.float32(grid.scale.array[0]))
    height, width, channels = extents(type)

    def run(chunk: Chunk) -> None:
        x = chunk.codes(source).reshape(chunk.batch, channels, height, width)
        _native.quantize(x, scale, low, high, chunk.new(node.name), chunk.threads)

    return run


def code_mapping(plan: Plan, node: Node) -> Step | None:
    """Any operator from the codes of one tensor to codes: a table of bytes."""
    types = plan.graph.types
    source, *parameters = node.inputs
    constant = all(name in plan.graph.constants for name in parameters)
    if not (constant and is_bytes(types[source]) and is_bytes(types[node.name]) and source not in plan.graph.constants):
        return None
    if extents(types[source]) != extents(types[node.name]) or isinstance(node.op, ops.Permute):
        return None
    tables = byte_tables(plan.graph, node)
    if tables is None:
        return None
    return lambda chunk: _native.lookup(chunk.images(source), tables, chunk.new(node.name), chunk.threads)


def addition(plan: Plan, node: Node) -> Step | None:
    """The sum of two tensors of bytes, or of one of accumulators and one of bytes."""
    graph, op = plan.graph, node.op
    assert isinstance(op, ops.Add)
    if len(node.inputs) != 5 or not is_bytes(graph.types[node.name]):
        return None
    terms = [(node.inputs[i], graph.constants.get(node.inputs[2 + i])) for i in (0, 1)]
    terms.sort(key=lambda term: is_bytes(graph.types[term[0]]))  # accumulators first
    shift = graph.constants.get(node.inputs[4])
    (a, _), (b, _) = terms
    if shift is None or a in graph.constants or b in graph.constants or any(m is None for _, m in terms):
        return None
    types = graph.types
    if not is_bytes(types[b]) or not (is_bytes(types[a]) or is_accumulator(types[a])):
        return None

    channels = extents(types[a])[2]
    multipliers, offset = [], np.zeros(channels, np.int64)
    for name, multiplier in terms:
        assert multiplier is not None
        factors, type = broadcast(multiplier.levels, channels), types[name]
        if abs(factors).max() * type.integer.step >= 1 << 31:
            return None
        bytes_ = is_bytes(type)
        multipliers.append(factors * type.integer.step if bytes_ else factors)
        offset += factors * level_offsets(type) if bytes_ else 0
    shifts = broadcast(shift.levels, channels)
    if shifts.min() < 0 or shifts.max() > 61:
        return None
    element = graph.types[node.name].integer.element
    source = types[a].integer.element
    interval = (0, (1 << source.bits) - 1) if is_bytes(types[a]) else (source.min, source.max)
    add = _native.Add(
        node.name, *multipliers, offset, shifts, *rounding_of(op, element.bits, element.min), is_accumulator(types[a]),
        *interval,
    )  # fmt: skip
    return lambda chunk: add.run(chunk.images(a), chunk.images(b), chunk.new(node.name), chunk.threads)


def pooling(plan: Plan, node: Node) -> Step | None:
    graph, op, source = plan.graph, node.op, node.inputs[0]
    x, result = graph.types[source], graph.types[node.name]
    if not is_bytes(x) or not is_bytes(result) or source in graph.constants:
        return None
    if isinstance(op, ops.MaxPool):
        geometry = (list(op.kernel), list(op.stride), list(op.dilation), list(op.padding))
        return lambda chunk: _native.max_pool(chunk.images(source), *geometry, chunk.new(node.name), chunk.threads)
    assert isinstance(op, ops.AveragePool | ops.AdaptiveAveragePool)
    windows = [np.asarray(w, np.int64) for w in op.windows(x)]
    element = result.integer.element
    rule = (
        x.integer.step, int(level_offsets(x)[0]), *op.rescale, op.out.zero_point[0], str(op.rounding), element.bits,
        element.min,
    )  # fmt: skip
    return lambda chunk: _native.average_pool(
        chunk.images(source), *windows, *rule, chunk.new(node.name), chunk.threads
    )


def movement(plan: Plan, node: Node) -> Step | None:
    """Concatenation, slices, padding and upsampling as copies of regions; flattening one pixel is no work at all."""
    graph, op, name = plan.graph, node.op, node.name
    types = [graph.types[i] for i in node.inputs]
    result = graph.types[name]
    if not all(map(is_bytes, (*types, result))) or any(i in graph.constants for i in node.inputs):
        return None
    source, x = node.inputs[0], types[0]
    layout = plan.layouts[name]
    match op:
        case ops.Reshape():
            if extents(x) != extents(result) or extents(x)[:2] != (1, 1):
                return None
            plan.layouts[name] = plan.layouts[source]
            return lambda chunk: chunk.share(name, source)
        case ops.Concat():
            axis = nhwc_axis(op.axis, x)
            starts = np.cumsum([0, *(extents(t)[axis] for t in types[:-1])])
            places = [tuple(int(s) if i == axis else 0 for i in range(3)) for s in starts]
            parts = [(i, plan.layouts[i], place) for i, place in zip(node.inputs, places, strict=True)]

            def concat(chunk: Chunk) -> None:
                out = chunk.new(name)
                for part, extent, place in parts:
                    copy_all(chunk.images(part), out, extent, place, chunk.threads)

            return concat
        case ops.Slice():
            if x.shape[0] is not None:
                return None
            start, step = to_nhwc(op.starts, x, 0), to_nhwc(op.steps, x, 1)
            extent = list(extents(result))
            return lambda chunk: _native.copy_region(
                chunk.images(source), start, step, [0, 0, 0], [1, 1, 1], extent, chunk.new(name), chunk.threads
            )
        case ops.Pad():
            # The margin is there since the buffer was made, like a halo, and nothing writes it.
            before = tuple(to_nhwc(op.before, x, 0))
            if layout.fill != op.fill(x) - x.integer.element.min:
                return None
            return lambda chunk: copy_all(
                chunk.images(source), chunk.new(name), plan.layouts[source], before, chunk.threads
            )
        case ops.Upsample():
            if x.rank != 4 or len(op.factors) > 2:
                return None
            factors = (*(1,) * (2 - len(op.factors)), *op.factors)
            extent, apart = list(extents(x)), [*factors, 1]

            def upsample(chunk: Chunk) -> None:
                images, out = chunk.images(source), chunk.new(name)
                for y, z in np.ndindex(factors):
                    _native.copy_region(
                        images, [0, 0, 0], [1, 1, 1], [y, z, 0], apart, extent, out, chunk.threads
                    )  # fmt: skip

            return upsample
    return None


def nhwc_axis(axis: int, type: TensorType) -> int:
    """Where axis 1, 2 or 3 of (N, C, H, W), or 1 of (N, F), stands among (height, width, channels)."""
    return 2 if axis == 1 else axis - 2


def to_nhwc(values: tuple[int, ...], type: TensorType, absent: int) -> list[int]:
    """One value per axis, reordered to (height, width, channels); `absent` for axes that (N, F) lacks."""
    channels, height, width = (*values[1:], absent, absent)[:3]
    return [height, width, channels]


def copy_all(source: Images, out: Images, layout: Layout, place: tuple[int, ...], threads: int) -> None:
    """Copy whole images of a layout to (y, x, channel) of others."""
    extent = [layout.height, layout.width, layout.channels]
    _native.copy_region(source, [0, 0, 0], [1, 1, 1], list(place), [1, 1, 1], extent, out, threads)


class NativeBackend(Backend):
    """Runs a graph by packed kernels. INTSIM_ISA=portable does without the processor's vector instructions."""

    def __init__(self, graph: Graph, threads: int | None = None):
        super().__init__(graph, threads)
        self.plan = Plan(graph, threads)
        self._batched = all(type.shape[0] is None for type in graph.inputs.values())
        largest = max(layout.height * layout.width * layout.channels for layout in self.plan.layouts.values())
        self._chunk = min(MOST_IMAGES, max(1, CHUNK_BYTES // largest))
        self._free_buffers: dict[int, list[dict[str, Images]]] = {}

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
        free = self._free_buffers.setdefault(len(next(iter(inputs.values())).codes), [])
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
