"""Plain fake-quantization, as researchers write it: dequantized float32 all the way, with the rounded bias.

Not exact: float32 sums round, and codes next to a tie may flip. `verify` counts these flips (claim 3), layer by layer,
each layer fed with the codes that the exact network has there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from intsim.frontend.execute import along, as_tensor, run_node
from intsim.frontend.mirror import padded, to_levels
from intsim.ir.float_graph import FloatNode
from intsim.ir.quantized import QuantizedGraph


class FakeQuant:
    """The float twin of a quantized graph."""

    def __init__(self, quantized: QuantizedGraph):
        self.quantized = quantized
        self.arrays: dict[str, dict[str, Tensor]] = {}
        for node in quantized.graph.weighted:
            record, grid = quantized.weights[node.name], quantized.grid_of(node.inputs[0])
            assert grid is not None
            arrays = {"weight": as_tensor(record.weight.reals).float()}
            if record.bias is not None:
                scale = as_tensor(grid.scale.array * record.weight.type.integer.scale.array)
                arrays["bias"] = (as_tensor(record.bias) * scale).float()
            self.arrays[node.name] = arrays

    @property
    def layers(self) -> tuple[str, ...]:
        """The quantizers that end a layer."""
        return tuple(self.quantized.chains)

    def run_layer(self, name: str, codes: Mapping[str, Tensor]) -> Tensor:
        """int64 codes of one quantizer, from the codes of the values that its layer reads.

        codes  int64 by name, of the graph's inputs, quantizers, movements and pools, as Mirror.run returns them
        """
        node = self.quantized.graph.by_name[name]
        with torch.no_grad():
            return self._to_codes(name, self._real(node.inputs[0], codes)).long()

    def run(self, *inputs: Tensor) -> dict[str, Tensor]:
        """float32 outputs by name, every layer fed with what the one before it gave."""
        values: dict[str, Tensor] = dict(zip(self.quantized.graph.inputs, inputs, strict=True))
        with torch.no_grad():
            for name, value in values.items():
                if self.quantized.grid_of(name) is not None:
                    values[name] = self._dequantize(name, value)
            for node in self.quantized.graph.nodes:
                value = self._node(node, *(values[source] for source in node.inputs))
                if node.op == "quantize":
                    value = self._dequantize(node.name, self._to_codes(node.name, value))
                values[node.name] = value
        return {name: values[name] for name in self.quantized.graph.outputs}

    def reads(self, name: str) -> tuple[str, ...]:
        """The values with codes that a quantizer's layer reads."""
        found: list[str] = []
        pending = list(self.quantized.graph.by_name[name].inputs)
        while pending:
            value = pending.pop()
            if self.quantized.grid_of(value) is not None:
                found.append(value)
            else:
                pending.extend(self.quantized.graph.by_name[value].inputs)
        return tuple(dict.fromkeys(found))

    def _real(self, name: str, codes: Mapping[str, Tensor]) -> Tensor:
        if self.quantized.grid_of(name) is not None:
            return self._dequantize(name, codes[name])
        node = self.quantized.graph.by_name[name]
        return self._node(node, *(self._real(source, codes) for source in node.inputs))

    def _node(self, node: FloatNode, *operands: Tensor) -> Tensor:
        if node.name in self.quantized.pad_codes:
            (x,), code = operands, self.quantized.pad_codes[node.name]
            outside = self._dequantize(node.inputs[0], torch.full_like(x[:1, :, :1, :1], code))
            operands = (padded(x, node, outside),)
            node = replace(node, attributes={**node.attributes, "padding": (0, 0, 0, 0)})
        return run_node(node, *operands, arrays=self.arrays.get(node.name))

    def _dequantize(self, name: str, codes: Tensor) -> Tensor:
        grid = self.quantized.grid_of(name)
        assert grid is not None
        levels = to_levels(grid, codes.float())
        return along(as_tensor(grid.scale.array).float(), levels, grid.axis) * levels

    def _to_codes(self, name: str, x: Tensor) -> Tensor:
        """clip(round(x / scale) + zero_point), or the number of thresholds that x reaches."""
        quantizer = self.quantized.quantizers[name]
        element, zero = quantizer.grid.element, quantizer.grid.zero_point[0]
        if quantizer.thresholds is not None:
            thresholds = as_tensor(quantizer.thresholds).float()
            return element.min + torch.bucketize(x, thresholds, right=not quantizer.strict)
        scaled = x / float(quantizer.grid.scale.array[0])
        if quantizer.zero_point_first:
            return torch.round(scaled + zero).clamp(element.min, element.max)
        return (torch.round(scaled) + zero).clamp(element.min, element.max)
