"""What a decision makes of the network, on floats: later layers can be looked at before any integers are made."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from intsim.calibrate.method import Decision, Problem
from intsim.calibrate.trainable import FakeQuantize
from intsim.frontend.execute import as_tensor, run_node
from intsim.ir.float_graph import FloatNode
from intsim.ir.types import Value


class DecidedNetwork:
    """What a decision makes of the network, in float32; arrays of layers may be exchanged and trained.

    arrays  weight and bias of every layer with weights, as the codes have them; a bias is not rounded yet
    """

    def __init__(self, problem: Problem, decision: Decision):
        self.quantizers = {**problem.placed.fixed, **decision.quantizers}
        codes = {**decision.weights, **problem.placed.weights}
        self.arrays: dict[str, dict[str, Tensor]] = {}
        for node in problem.placed.graph.weighted:
            bias = decision.biases.get(node.name, node.arrays.get("bias", np.zeros(len(node.arrays["weight"]))))
            self.change(node.name, codes[node.name], bias)

    def change(self, layer: str, weight: Value, bias: NDArray[np.floating]) -> None:
        """Give a layer other codes and another bias."""
        arrays = {"weight": weight.reals, "bias": bias}
        self.arrays[layer] = {name: as_tensor(array).float() for name, array in arrays.items()}

    def evaluate(self, node: FloatNode, *operands: Tensor) -> Tensor:
        """A node's value, dequantized; straight through roundings for gradients."""
        quantizer = self.quantizers.get(node.name)
        if quantizer is None:
            return run_node(node, *operands, arrays=self.arrays.get(node.name))
        grid = quantizer.grid
        scale = torch.tensor(grid.scale.array[0]).float()
        if quantizer.thresholds is not None:
            codes = torch.bucketize(operands[0], as_tensor(quantizer.thresholds).float(), right=not quantizer.strict)
            return scale * (grid.step * (grid.element.min + codes) - grid.zero_point[0])
        low, high = (torch.tensor(float(level)) for level in grid.level_range())
        result: Tensor = FakeQuantize.apply(operands[0], scale, low, high)
        return result
