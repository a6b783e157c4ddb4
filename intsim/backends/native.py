"""The fast backend: packed low-bit kernels in C++ (csrc/), on NHWC bytes from the first quantizer to the last layer.

A graph is lowered once to steps (native_steps.py), with requantizations and residual additions folded into the
convolutions before them. For every set of wanted values the steps that they need become a program (native_program.py),
whose run is one native call.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intsim import _native
from intsim.backends.base import Backend
from intsim.backends.native_lowering import Lowering
from intsim.backends.native_program import Program, StepTime
from intsim.errors import BackendError
from intsim.ir.graph import Graph
from intsim.ir.types import Value

kernels, MicroKernel, dependent_adds = _native.kernels, _native.MicroKernel, _native.dependent_adds
"""The table of kernels, and what measures one on its own: for intsim.benchmark."""

IMAGES_ON_HOST = 16
"""That go through a graph at once where some steps run on NumPy codes, whose intermediates are large."""


class NativeBackend(Backend):
    """Runs a graph by packed kernels. INTSIM_ISA=portable does without the processor's vector instructions."""

    def __init__(self, graph: Graph, threads: int | None = None):
        super().__init__(graph, threads)
        available: int = _native.available_threads()
        self._threads = min(threads or available, available)
        self._lowering = Lowering(graph, self._threads)
        self._programs: dict[frozenset[str], Program] = {}
        self._program(graph.outputs)
        self._batched = all(type.shape[0] is None for type in graph.inputs.values())

    @property
    def kernels(self) -> dict[str, str]:
        """Node -> the kernel that computes it, for layers with weights; `reference` for nodes that none computes."""
        return self._in_order(self._lowering.kernels)

    @property
    def proofs(self) -> dict[str, str]:
        """Layer with weights -> its scheme, how often narrow lanes are widened, and why that is exact."""
        return self._in_order(self._lowering.proofs)

    @property
    def arena_bytes(self) -> int:
        """Memory for the values of one image on their way to the graph's outputs, halos and padding included."""
        return self._program(self.graph.outputs).arena_bytes

    @property
    def live_bytes(self) -> int:
        """The most that is alive at any step of one image, without halos and padding: no arena can be smaller."""
        return self._program(self.graph.outputs).live_bytes

    def execute(self, inputs: Mapping[str, Value], wanted: Collection[str]) -> dict[str, NDArray[Any]]:
        program = self._program(wanted)
        codes = {name: value.codes for name, value in inputs.items()}
        try:
            if not self._batched or program.is_native:
                return program.run(codes, self._threads)
            count = len(next(iter(codes.values())))
            parts = [
                program.run({name: array[i : i + IMAGES_ON_HOST] for name, array in codes.items()}, self._threads)
                for i in range(0, count, IMAGES_ON_HOST)
            ]
        except MemoryError:
            raise BackendError("out of memory: run fewer images at once") from None
        except ValueError as error:
            raise BackendError(str(error)) from None
        return {name: np.concatenate([part[name] for part in parts]) for name in wanted} if len(parts) > 1 else parts[0]

    def profile(self, *inputs: NDArray[Any]) -> list[StepTime]:
        """Every step of one run, in order, with the nanoseconds that it took.

        inputs  as `run` takes them, all images at once
        """
        codes = {name: np.ascontiguousarray(array) for name, array in zip(self.graph.inputs, inputs, strict=True)}
        return self._program(self.graph.outputs).profile(codes, self._threads)

    def _in_order(self, of_nodes: Mapping[str, str]) -> dict[str, str]:
        return {node.name: of_nodes[node.name] for node in self.graph.nodes if node.name in of_nodes}

    def _program(self, wanted: Collection[str]) -> Program:
        key = frozenset(wanted)
        if key not in self._programs:
            self._programs[key] = Program(self.graph, self._lowering, key)
        return self._programs[key]
