"""Steps put together: stretches of native ones, each a `_native.Plan`, and NumPy ones where there is no kernel."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intsim import _native
from intsim.backends.native_lowering import Lowering, Step
from intsim.backends.native_movement import Place
from intsim.backends.nhwc import Layout, extents, is_bytes, to_codes
from intsim.errors import BackendError, GraphError
from intsim.ir.graph import Graph
from intsim.ir.types import Value

Codes = dict[str, NDArray[Any]]
StepTime = tuple[str, int]
"""A step's name and the nanoseconds that it took."""


class Segment:
    """Native steps in a row. Steps emit themselves into it, by the names of the values that they read and make."""

    def __init__(self, graph: Graph, layouts: Mapping[str, Layout], steps: Sequence[Step]):
        self.graph, self.layouts = graph, layouts
        self.plan = _native.Plan()
        self._ids: dict[str, int] = {}
        self._inputs: list[str] = []
        self._outputs: list[str] = []
        self._parts = {part: place for step in steps for part, place in step.parts.items()}
        self._made_here = {step.name for step in steps}

    def read(self, name: str) -> int:
        """The native value of a name; it comes from outside unless a step has made it."""
        if name not in self._ids:
            codes = self.new(name)
            if is_bytes(self.graph.types[name]):
                self.plan.import_codes(name, self.graph.types[name].integer.element.min, codes)
            else:
                self.plan.import_accumulators(name, codes)
            self._inputs.append(name)
        return self._ids[name]

    def new(self, name: str) -> int:
        """The native value that a step is about to make, or to make a part of."""
        if name not in self._ids:
            self._ids[name] = self._make(name)
        return self._ids[name]

    def scratch(self, layout: Layout) -> int:
        """A native value without a name."""
        size = (layout.height, layout.width, layout.channels, layout.bits)
        return self.plan.bytes(*size, layout.halo, layout.fill or 0)

    def share(self, name: str, source: str) -> None:
        """Let `name` be the same memory as `source`."""
        self._ids[name] = self.read(source)

    def view(self, name: str, source: str, place: Sequence[int], apart: Sequence[int]) -> None:
        """Let `name` be the pixels of `source` from (y, x, channel) on, `apart` (y, x) from each other."""
        layout = self.layouts[name]
        size = (layout.height, layout.width, layout.channels)
        self._ids[name] = self.plan.part(self.read(source), place, apart, *size, layout.bits)

    def copy_all(self, name: str, source: int, out: int, layout: Layout, place: Place = (0, 0, 0)) -> None:
        """Copy whole images of a layout to (y, x, channel) of others."""
        extent = (layout.height, layout.width, layout.channels)
        self.plan.copy(name, (0, 0, 0), (1, 1, 1), place, (1, 1, 1), extent, source, out)

    def is_part(self, name: str) -> bool:
        """Whether a step that makes a value writes it to its place in another one."""
        return name in self._parts and name in self._made_here

    def array(self, source: str) -> None:
        """The next input of the plan is this value as the graph has it."""
        self._inputs.append(source)

    def give(self, name: str) -> None:
        """Make a value an output."""
        type = self.graph.types[name]
        if is_bytes(type):
            self.plan.export_codes(name, self._ids[name], type.integer.element.min)
        else:
            self.plan.export_accumulators(name, self._ids[name])
        self._outputs.append(name)

    def run(self, codes: Codes, batch: int, threads: int) -> None:
        self._take(self.plan.run(self._arrays(codes), batch, threads), codes)

    def profile(self, codes: Codes, batch: int, threads: int) -> list[StepTime]:
        results, steps = self.plan.profile(self._arrays(codes), batch, threads)
        self._take(results, codes)
        return list(steps)

    def _arrays(self, codes: Codes) -> list[NDArray[Any]]:
        return [self._as_array(codes[name], name) for name in self._inputs]

    def _take(self, results: Sequence[NDArray[Any]], codes: Codes) -> None:
        for name, result in zip(self._outputs, results, strict=True):
            codes[name] = to_codes(result, self.graph.types[name])

    def _make(self, name: str) -> int:
        type = self.graph.types[name]
        if not is_bytes(type):
            return self.plan.accumulators(*extents(type))
        if self.is_part(name):
            whole, place = self._parts[name]
            return self.plan.part(self.new(whole), place, (1, 1), *extents(type), self.layouts[name].bits)
        return self.scratch(self.layouts[name])

    def _as_array(self, codes: NDArray[Any], name: str) -> NDArray[Any]:
        type = self.graph.types[name]
        codes = np.ascontiguousarray(codes)
        if type.grid is None:
            return codes
        return codes.view(np.uint8) if is_bytes(type) else codes.astype(np.int32, copy=False)


class HostStep:
    """An operator's own meaning, on NumPy codes."""

    def __init__(self, graph: Graph, name: str):
        self.graph, self.node = graph, graph.by_name[name]

    def run(self, codes: Codes, batch: int, threads: int) -> None:
        types, constants = self.graph.types, self.graph.constants
        operands = (constants[i] if i in constants else Value(types[i], codes[i]) for i in self.node.inputs)
        try:
            codes[self.node.name] = self.node.op.evaluate(*operands)
        except (GraphError, OverflowError) as error:
            raise BackendError(f"{self.node.mnemonic} '{self.node.name}': {error}") from None

    def profile(self, codes: Codes, batch: int, threads: int) -> list[StepTime]:
        start = time.perf_counter_ns()
        self.run(codes, batch, threads)
        return [(self.node.name, time.perf_counter_ns() - start)]


class Program:
    """What computes a set of values from the graph's inputs."""

    def __init__(self, graph: Graph, lowering: Lowering, wanted: Collection[str]):
        self.graph, self.wanted = graph, tuple(wanted)
        steps = lowering.steps_for(wanted)
        self.parts: list[Segment | HostStep] = []
        done = 0
        for is_native, stretch in groupby(steps, lambda step: step.emit is not None):
            group = list(stretch)
            done += len(group)
            if not is_native:
                self.parts += [HostStep(graph, step.name) for step in group]
                continue
            # Values are exported where they are made, so that their memory is free as soon as nobody reads them.
            outside = set(wanted).union(*(step.reads for step in steps[done:]))
            segment = Segment(graph, lowering.layouts, group)
            for step in group:
                assert step.emit is not None
                step.emit(segment)
                if step.name in outside:
                    segment.give(step.name)
            self.parts.append(segment)

    @property
    def is_native(self) -> bool:
        """Whether a run is one native call, or none."""
        return len(self.parts) <= 1 and not any(isinstance(part, HostStep) for part in self.parts)

    @property
    def arena_bytes(self) -> int:
        return sum(part.plan.arena_bytes for part in self.parts if isinstance(part, Segment))

    @property
    def live_bytes(self) -> int:
        return sum(part.plan.live_bytes for part in self.parts if isinstance(part, Segment))

    def run(self, inputs: Mapping[str, NDArray[Any]], threads: int) -> Codes:
        """Codes of the wanted values for all images of the inputs."""
        codes, batch = dict(inputs), self._batch(inputs)
        for part in self.parts:
            part.run(codes, batch, threads)
        constants = self.graph.constants
        return {name: constants[name].codes if name in constants else codes[name] for name in self.wanted}

    def profile(self, inputs: Mapping[str, NDArray[Any]], threads: int) -> list[StepTime]:
        """What each step of a run takes; a convolution's has in it what is fused into its tiles."""
        codes, batch = dict(inputs), self._batch(inputs)
        return [step for part in self.parts for step in part.profile(codes, batch, threads)]

    def _batch(self, inputs: Mapping[str, NDArray[Any]]) -> int:
        return next((len(inputs[name]) for name, type in self.graph.inputs.items() if type.shape[0] is None), 1)
