"""The specification at work: every node by its operator's own reference meaning, in NumPy integers. Slow and obvious."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intsim.backends.base import Backend
from intsim.errors import BackendError, GraphError
from intsim.ir.types import Value

IMAGES_AT_ONCE = 8  # bounds the int64 intermediates: about 8 bytes * 8 images * the largest activation


class ReferenceBackend(Backend):
    """Runs a graph node by node."""

    def execute(self, inputs: Mapping[str, Value], wanted: Collection[str]) -> dict[str, NDArray[Any]]:
        batched = all(value.type.shape[0] is None for value in inputs.values())
        count = len(next(iter(inputs.values())).codes)
        step = IMAGES_AT_ONCE if batched else count
        parts = [
            self._execute({k: Value(v.type, v.codes[i : i + step]) for k, v in inputs.items()}, wanted)
            for i in range(0, count, step)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in wanted} if len(parts) > 1 else parts[0]

    def _execute(self, inputs: Mapping[str, Value], wanted: Collection[str]) -> dict[str, NDArray[Any]]:
        values = {**self.graph.constants, **inputs}
        last_use = {name: node.name for node in self.graph.nodes for name in node.inputs}
        for node in self.graph.nodes:
            try:
                codes = node.op.evaluate(*(values[name] for name in node.inputs))
            except (GraphError, OverflowError) as error:
                raise BackendError(f"{node.mnemonic} '{node.name}': {error}") from None
            values[node.name] = Value(self.graph.types[node.name], codes)
            for name in node.inputs:
                if last_use[name] == node.name and name not in wanted:
                    values.pop(name, None)
        return {name: values[name].codes for name in wanted}
