"""The placed network with trainable quantizers: float32, node by node what the integers will compute.

A chain is rounded only where the integers round: weights, biases on the accumulator's grid, quantize nodes. So a unit
that is trained here has the accuracy as integers that training saw, but for float32's own rounding next to ties.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from intsim.calibrate.method import Decision, Problem
from intsim.calibrate.nearest import rounding_to
from intsim.calibrate.trainable import ActivationQuantizer, Bias, Trainable, WeightQuantizer
from intsim.frontend.execute import as_tensor, run_node
from intsim.ir.float_graph import CONTRACTIONS, MOVEMENTS, FloatNode
from intsim.ir.quantized import Quantizer
from intsim.ir.types import Grid

LARGEST_TRAINED_BITS = 7
"""Activation grids of 8 bits stay as they are: training cannot resolve their error, and what they feed is constant."""

Mix = Callable[[Tensor, Tensor], Tensor]
"""(quantized, float) -> what training sees of the two."""


@dataclass(frozen=True)
class Parametrisation:
    """What a method trains: how weights of a layer and activations of a tensor become codes.

    weight      (float32 (O, ...), the grid to start from) -> quantizer
    activation  (the grid to start from, whether it may be trained) -> quantizer
    """

    weight: Callable[[NDArray[np.float32], Grid], WeightQuantizer]
    activation: Callable[[Grid, bool], ActivationQuantizer] = ActivationQuantizer


class Simulation:
    """Every quantizer of a network, and what each node computes with them."""

    def __init__(self, problem: Problem, start: Decision, parametrisation: Parametrisation):
        self.graph = problem.placed.graph
        tied = {name for names in problem.placed.ties.values() for name in names}
        self.activations: dict[str, ActivationQuantizer] = {}
        for name, element in problem.placed.elements.items():
            trained = element.bits <= LARGEST_TRAINED_BITS and name not in tied
            self.activations[name] = parametrisation.activation(start.quantizers[name].grid, trained)
        self.fixed = {name: torch.tensor(q.grid.scale.array[0]).float() for name, q in problem.placed.fixed.items()}
        self.weights: dict[str, WeightQuantizer] = {}
        self.biases: dict[str, Bias] = {}
        for node in self.graph.weighted:
            weight, first = node.arrays["weight"], start.weights[node.name]
            self.weights[node.name] = parametrisation.weight(rounding_to(first, weight), first.type.integer)
            bias = node.arrays.get("bias", np.zeros(len(weight), np.float32))
            self.biases[node.name] = Bias(bias, weight.shape[1])
        self.arrays = {node.name: {k: as_tensor(v) for k, v in node.arrays.items()} for node in self.graph.nodes}

    def trainables(self, node: FloatNode) -> tuple[Trainable, ...]:
        """What of a node training may change."""
        if node.name in self.weights:
            return self.weights[node.name], self.biases[node.name]
        return (self.activations[node.name],) if node.name in self.activations else ()

    def operand_step(self, node: FloatNode) -> Tensor:
        """The scale of what a layer reads, () float32."""
        name = node.inputs[0]
        while name in self.graph.by_name and self.graph.by_name[name].op in MOVEMENTS:
            name = self.graph.by_name[name].inputs[0]
        return self.activations[name].scale if name in self.activations else self.fixed[name]

    def evaluate(self, node: FloatNode, *operands: Tensor) -> Tensor:
        """A node's value as the integers have it."""
        if node.name in self.activations:
            return self.activations[node.name](operands[0])
        if node.name in self.weights:
            quantizer = self.weights[node.name]
            weight = quantizer()
            bias = self.biases[node.name](self.operand_step(node) * quantizer.scale, weight)
            return run_node(node, *operands, arrays={"weight": weight, "bias": bias})
        return run_node(node, *operands, arrays=self.arrays[node.name])

    def center(self, node: FloatNode, operand: Tensor, real: Tensor) -> None:
        """Give a layer the bias with which the mean of every channel is the float network's.

        operand, real  what the layer reads, quantized and in the float network, (N, ...)
        Exact:   bias += mean over all but the channels of (y_float - y);  noise = |(s_x |w|, s_w |x|)|, of which the
                 root mean square of x makes |x|
        Source:  the empirical bias correction of Nagel et al. 2019, arXiv 1906.04721
        """
        weight, quantizer = as_tensor(node.arrays["weight"]).flatten(1), self.weights[node.name]
        with torch.no_grad():
            shift = _means(node, self.evaluate_float(node, real) - self.evaluate(node, operand))
            groups = node.attributes.get("groups", 1)
            means = _means(node, operand).reshape(groups, -1).repeat_interleave(len(weight) // groups, 0)
            by_operand = self.operand_step(node) * weight.norm(dim=1)
            by_weight = quantizer.scale.flatten() * math.sqrt(weight.shape[1] * float(operand.square().mean()))
            noise = torch.hypot(by_operand, by_weight.expand_as(by_operand))
            self.biases[node.name].begin(shift, noise, quantizer(), means)

    def evaluate_float(self, node: FloatNode, *operands: Tensor) -> Tensor:
        """A node's value in the float network."""
        if node.name in self.activations:
            return operands[0]
        return run_node(node, *operands, arrays=self.arrays[node.name])

    def state(self) -> dict[str, Tensor]:
        """Every parameter by name, as it is now."""
        return {
            f"{kind}/{name}/{key}": tensor
            for kind, group in self._groups()
            for name, module in group.items()
            for key, tensor in module.state_dict().items()
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        with torch.no_grad():
            for name, tensor in self.state().items():
                tensor.copy_(state[name])

    def decide(self, notes: Mapping[str, str]) -> Decision:
        """The grids, codes and biases as they are now."""
        return Decision(
            {name: Quantizer(module.final()) for name, module in self.activations.items()},
            {name: module.final() for name, module in self.weights.items()},
            {name: module.final(self.weights[name]()) for name, module in self.biases.items()},
            notes,
        )

    def _groups(self) -> Iterator[tuple[str, Mapping[str, Trainable]]]:
        yield from (("activation", self.activations), ("weight", self.weights), ("bias", self.biases))


def _means(node: FloatNode, x: Tensor) -> Tensor:
    """The mean of every channel that a layer reads or makes, (C,) of (N, ...)."""
    return x.movedim(1 if node.op == "conv2d" else -1, 0).flatten(1).mean(1)


class UnitSimulation:
    """The nodes of a unit that training can change anything in, ready to run many times.

    reads    what these nodes read from others: constant while the unit is trained
    targets  the results that training compares
    """

    def __init__(self, simulation: Simulation, nodes: Sequence[FloatNode], targets: Sequence[str]):
        self.simulation = simulation
        live: dict[str, FloatNode] = {}
        for node in nodes:
            trained = any(True for module in simulation.trainables(node) for _ in module.grouped())
            if trained or node.op in CONTRACTIONS or any(name in live for name in node.inputs):
                live[node.name] = node
        self.nodes = tuple(live.values())
        self.reads = tuple(dict.fromkeys(name for n in self.nodes for name in n.inputs if name not in live))
        self.targets = tuple(name for name in targets if name in live)

    @property
    def trainables(self) -> tuple[Trainable, ...]:
        return tuple(module for node in self.nodes for module in self.simulation.trainables(node))

    def run(
        self, inputs: Sequence[Tensor], mix: Mix | None = None, rounded: Collection[str] | None = None
    ) -> list[Tensor]:
        """The targets.

        inputs   one tensor for each of `reads`
        mix      what training sees of quantized activations, given the float ones too
        rounded  layers with rounded weights and inputs; None stands for all
        """
        values = dict(zip(self.reads, inputs, strict=True))
        for node in self.nodes:
            operands = [values[name] for name in node.inputs]
            if rounded is not None and not self._is_rounded(node, rounded):
                values[node.name] = self.simulation.evaluate_float(node, *operands)
                continue
            value = self.simulation.evaluate(node, *operands)
            values[node.name] = value if mix is None or node.op != "quantize" else mix(value, operands[0])
        return [values[name] for name in self.targets]

    def center(self, inputs: Sequence[Tensor], reals: Sequence[Tensor]) -> None:
        """Begin with biases that give every layer, in order, the mean results of the float network.

        inputs, reals  one tensor for each of `reads`: as it arrives, and in the float network
        """
        values, wanted = (dict(zip(self.reads, tensors, strict=True)) for tensors in (inputs, reals))
        with torch.no_grad():
            for node in self.nodes:
                operands, theirs = ([of[name] for name in node.inputs] for of in (values, wanted))
                if node.name in self.simulation.biases:
                    self.simulation.center(node, operands[0], theirs[0])
                values[node.name] = self.simulation.evaluate(node, *operands)
                wanted[node.name] = self.simulation.evaluate_float(node, *theirs)

    def _is_rounded(self, node: FloatNode, layers: Collection[str]) -> bool:
        """Whether a node is one of the layers, or makes codes for one of them."""
        if node.op in CONTRACTIONS:
            return node.name in layers
        if node.op != "quantize":
            return True
        readers = list(self.simulation.graph.consumers[node.name])
        return any(r.name in layers if r.op in CONTRACTIONS else self._is_rounded(r, layers) for r in readers)
