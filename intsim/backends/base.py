"""What a backend is: a graph prepared once, then run on any number of batches."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intsim.errors import BackendError
from intsim.ir.graph import Graph
from intsim.ir.types import TensorType, Value


class Backend(ABC):
    """An integer graph ready to run. Codes of every value equal the reference's, bit for bit."""

    def __init__(self, graph: Graph, threads: int | None = None):
        self.graph = graph
        self.threads = threads

    @abstractmethod
    def execute(self, inputs: Mapping[str, Value], wanted: Collection[str]) -> dict[str, NDArray[Any]]:
        """Codes of the wanted values, in the graph's own layout (NCHW) and storage types."""

    def run(self, *inputs: NDArray[Any], wanted: Collection[str] | None = None) -> dict[str, Value]:
        """Values of the graph's outputs, or of the wanted names.

        inputs  one array for each graph input, in their order: float32, or codes where the input's type is integer
        raises  BackendError for a wrong shape, type, NaN or infinity
        """
        names = tuple(self.graph.outputs if wanted is None else wanted)
        unknown = [name for name in names if name not in self.graph.types]
        if unknown:
            raise BackendError(f"the graph has no value '{unknown[0]}'")
        if len(inputs) != len(self.graph.inputs):
            raise BackendError(f"the graph takes {len(self.graph.inputs)} inputs, got {len(inputs)}")
        values = {
            name: as_input(name, type, array)
            for (name, type), array in zip(self.graph.inputs.items(), inputs, strict=True)
        }
        results = self.execute(values, names)
        return {name: Value(self.graph.types[name], results[name]) for name in names}


def as_input(name: str, type: TensorType, array: NDArray[Any]) -> Value:
    """An input as the graph wants it, or BackendError."""
    array = np.asarray(array)
    expected = type.shape
    fits = array.ndim == len(expected) and all(e is None or e == a for e, a in zip(expected, array.shape, strict=True))
    if not fits or array.shape[0] == 0:
        shape = ", ".join("N" if e is None else str(e) for e in expected)
        raise BackendError(f"input '{name}': expected shape ({shape}) with N at least 1, got {array.shape}")
    if type.grid is None:
        if array.dtype.kind != "f":
            raise BackendError(f"input '{name}': expected float32, got {array.dtype}")
        array = np.ascontiguousarray(array, np.float32)
        bad = int(np.count_nonzero(~np.isfinite(array)))
        if bad:
            raise BackendError(f"input '{name}': {bad} of {array.size} elements are NaN or infinite")
        return Value(type, array)
    element = type.grid.element
    if array.dtype.kind not in "iu":
        raise BackendError(f"input '{name}': expected {element} codes, got {array.dtype}")
    if int(array.min()) < element.min or int(array.max()) > element.max:
        raise BackendError(f"input '{name}': codes {array.min()}..{array.max()} leave {element}")
    return Value(type, np.ascontiguousarray(array, element.storage))
