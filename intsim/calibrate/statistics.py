"""Corrections after any method, for what rounding did to the statistics of a network; no weight code changes.

BatchNorm tuning ("para-normalisation") gives every layer's results the mean and deviation per channel that they have in
the float network: its weight scales and biases change, in closed form. Bias tuning trains the biases end to end until
the logits are the float network's. Both cost integers nothing: scales and biases are in the requantization already.

Source: Hubara et al. 2021 (AdaQuant), section 5, and its code; the float statistics here are those on calibration data,
        over all of it (the code moves 41 % of the way), so that networks without BatchNorm have them too.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from intsim.calibrate.decided import DecidedNetwork
from intsim.calibrate.method import Decision, Problem
from intsim.calibrate.nearest import SMALLEST_SHARE, round_scales
from intsim.calibrate.observers import BATCH
from intsim.calibrate.values import Values
from intsim.errors import CalibrationError
from intsim.frontend.execute import as_tensor, run_node
from intsim.ir.float_graph import FloatGraph, FloatNode
from intsim.ir.types import Scale, TensorType, Value

EPOCHS, IMAGES, RATE = 8, 50, 2e-3
"""Of bias tuning, with the images of a step; the rate is in deviations of a channel, so that it fits every layer."""
SAMPLES, HALVINGS = 1 << 18, 24
"""Values of a channel, and steps of bisection, by which the mean behind an activation is matched."""
LARGEST_RATIO = 64.0
"""Of deviations: channels that differ less have lost in rounding what they said, and louder they say nothing more."""
IMAGES_AT_ONCE = 10
"""Whose values for the gradient are in memory together: of MobileNetV2 80 MB an image."""


def tune(problem: Problem, decision: Decision) -> Decision:
    """What the settings ask for after the method: none, batchnorm, bias or both."""
    if problem.settings.tune in ("batchnorm", "both"):
        decision = tune_batchnorm(problem, decision)
    if problem.settings.tune in ("bias", "both"):
        decision = tune_biases(problem, decision)
    return decision


@dataclass(frozen=True)
class Moments:
    """Mean and deviation of a layer's results, float64 (O,)."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    @classmethod
    def of(cls, node: FloatNode, batches: Iterable[Tensor]) -> Moments:
        """Over all batches of a layer's results, which have their channels on axis 1, of linear layers on the last.

        Sums are of what differs from a channel's first value: a constant one has a deviation of 0 exactly.
        """
        count, first, second, origin = 0, np.zeros(()), np.zeros(()), None
        for batch in batches:
            rows = batch.movedim(1 if node.op == "conv2d" else -1, 0).flatten(1).double()
            origin = rows[:, :1].clone() if origin is None else origin
            rows -= origin
            count += rows.shape[1]
            first, second = first + rows.sum(1).numpy(), second + rows.square().sum(1).numpy()
        mean = first / count
        start = 0.0 if origin is None else origin[:, 0].numpy()
        return cls(start + mean, np.sqrt(np.maximum(second / count - mean**2, 0)))


def float_moments(problem: Problem) -> dict[str, Moments]:
    """Of every layer with weights, in the float network."""
    graph = problem.placed.graph
    values = Values(graph, problem.inputs, run_node)
    found = {}
    for node in graph.weighted:
        found[node.name] = _moments(values, node, {k: as_tensor(v) for k, v in node.arrays.items()})
        values.forget_before(node)
    return found


def tune_batchnorm(problem: Problem, decision: Decision) -> Decision:
    """Scales and biases with which every layer's results have the float network's mean and deviation, in order.

    Later layers see the tuned ones before them. Scales that are powers of two, or one for the whole layer, stay, and so
    do those of channels that are constant, or nearly so where the float network's are not. Where deviations stay, what
    an activation lets through has to have the float network's mean: with the right mean in front of a ReLU, but half
    the deviation, nearly nothing would come through (ResNet-20 at 2/4 bits, powers of two: 14 % untuned, 12 % so, 73 %
    by the means behind; ours).
    Exact:   ratio = deviation_float / deviation; scale' = scale * ratio;
             bias' = mean_float + ratio * (bias - mean);
             with scales that stay, bias' = bias + shift where mean f(x + shift) = mean f(x_float), x what f = relu or
             clamp reads behind the layer
    """
    graph, network, wanted = problem.placed.graph, DecidedNetwork(problem, decision), float_moments(problem)
    values, floats = Values(graph, problem.inputs, network.evaluate), Values(graph, problem.inputs, run_node)
    weights, biases = dict(decision.weights), dict(decision.biases)
    layers = [node for node in graph.weighted if node.name in decision.weights]
    for done, node in enumerate(layers, start=1):
        arrays, target = network.arrays[node.name], wanted[node.name]
        found = _moments(values, node, arrays)
        tuned, ratio = _rescaled(weights[node.name], found, target)
        bias = target.mean + ratio * (arrays["bias"].double().numpy() - found.mean)
        activation = _activation_behind(graph, node)
        if activation is not None and not _has_own_scales(weights[node.name]):
            (read,), (read_float,) = values.look(activation.inputs), floats.get(activation.inputs)
            bias = arrays["bias"].double().numpy() + _shift(activation, read, read_float)
        weights[node.name], biases[node.name] = tuned, bias
        network.change(node.name, tuned, bias)
        values.forget_before(node)
        floats.forget_before(node)
        problem.progress("batchnorm tuning", done, len(layers))
    return replace(decision, weights=weights, biases=biases)


def tune_biases(problem: Problem, decision: Decision) -> Decision:
    """Biases trained end to end, all else frozen: Adam on the divergence of the logits from the float network's.

    raises  CalibrationError where the network has no logits, or thresholds, through which no gradient passes
    Exact:  loss = KL(softmax(float logits) || softmax(logits)), mean over images; bias' = bias + deviation_float * step
    """
    graph = problem.placed.graph
    if len(graph.outputs) != 1 or len(graph.shapes[graph.outputs[0]]) != 2:
        raise CalibrationError("bias tuning compares logits: expected a network with one output (N, classes)")
    network, wanted = DecidedNetwork(problem, decision), float_moments(problem)
    if any(quantizer.thresholds is not None for quantizer in network.quantizers.values()):
        raise CalibrationError("bias tuning: no gradient passes learned thresholds; tune with batchnorm, or not at all")
    (output,) = graph.outputs
    images = len(problem.inputs[0])
    logits = Values(graph, problem.inputs, run_node).get([output])[0]
    layers = [node.name for node in graph.weighted]
    start = {name: network.arrays[name]["bias"] for name in layers}
    units = {name: torch.from_numpy(wanted[name].deviation).float() for name in layers}
    steps = {name: torch.zeros_like(start[name], requires_grad=True) for name in layers}
    optimiser = torch.optim.Adam(steps.values(), lr=RATE)
    generator = torch.Generator().manual_seed(problem.settings.seed)
    size = min(IMAGES, images)
    total, done = EPOCHS * (images // size), 0
    for _ in range(EPOCHS):
        for rows in torch.randperm(images, generator=generator)[: images - images % size].split(size):
            optimiser.param_groups[0]["lr"] = RATE * (1 + math.cos(math.pi * done / total)) / 2
            optimiser.zero_grad()
            for part in rows.split(IMAGES_AT_ONCE):
                for name in layers:
                    network.arrays[name]["bias"] = start[name] + units[name] * steps[name]
                found = _run(graph, network, [tensor[part] for tensor in problem.inputs])[output]
                wanted_logs = logits[part].log_softmax(1)
                loss = F.kl_div(found.log_softmax(1), wanted_logs, reduction="sum", log_target=True) / size
                if not math.isfinite(loss.item()):
                    raise CalibrationError(f"bias tuning: the loss is {loss.item()} after {done} steps")
                loss.backward()
            optimiser.step()
            done += 1
            problem.progress("bias tuning", done, total)
    trained = {name: (start[name] + units[name] * steps[name]).detach().double().numpy() for name in layers}
    return replace(decision, biases={**decision.biases, **trained})


def _rescaled(weight: Value, found: Moments, target: Moments) -> tuple[Value, NDArray[np.float64]]:
    """The same codes on rescaled grids, and by what each channel was multiplied."""
    grid, channels = weight.type.integer, len(found.mean)
    if not _has_own_scales(weight):
        return weight, np.ones(channels)
    differ = (target.deviation > 0) & (found.deviation * LARGEST_RATIO >= target.deviation)
    scales = grid.scale.array * np.divide(target.deviation, found.deviation, out=np.ones(channels), where=differ)
    scales = round_scales(np.maximum(scales, scales.max() * SMALLEST_SHARE))
    tuned = replace(grid, scale=Scale.of(scales))
    return Value(TensorType(tuned, weight.type.shape), weight.codes), scales / grid.scale.array


def _has_own_scales(weight: Value) -> bool:
    """Whether every channel has a scale that may become any other."""
    scale = weight.type.integer.scale
    return not scale.power_of_two and len(scale) == weight.type.shape[0]


def _activation_behind(graph: FloatGraph, layer: FloatNode) -> FloatNode | None:
    """The relu or clamp that reads the layer's results, as they are or once added to others, if nothing else does."""
    name = layer.name
    while name not in graph.outputs and len(graph.consumers[name]) == 1:
        (node,) = graph.consumers[name]
        if node.op in ("relu", "clamp"):
            return node
        if node.op != "add" or node.inputs.count(name) > 1:
            break
        name = node.name
    return None


def _shift(activation: FloatNode, found: Tensor, wanted: Tensor) -> NDArray[np.float64]:
    """What to add to each channel of what an activation reads for the mean of what it gives, float64 (C,); (N, C, ..).

    By bisection over SAMPLES values of each, in the same places. A channel that lets as much through already stays.
    """
    rows = [value.movedim(1 if value.ndim == 4 else -1, 0).flatten(1) for value in (found, wanted)]
    step = math.ceil(rows[0].shape[1] / SAMPLES)
    x, x_float = (row[:, ::step].contiguous() for row in rows)

    def passed(of: Tensor) -> Tensor:
        return run_node(activation, of).mean(1, dtype=torch.float64)

    goal, high = passed(x_float), x.abs().amax(1) + x_float.abs().amax(1)
    low, stays = -high, passed(x) == goal
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        beyond = passed(x + middle[:, None]) > goal
        low, high = torch.where(beyond, low, middle), torch.where(beyond, middle, high)
    return torch.where(stays, 0.0, (low + high) / 2).double().numpy()


def _moments(values: Values, node: FloatNode, arrays: Mapping[str, Tensor]) -> Moments:
    (operand,) = values.get(node.inputs)
    with torch.no_grad():
        return Moments.of(node, (run_node(node, batch, arrays=arrays) for batch in operand.split(BATCH)))


def _run(graph: FloatGraph, network: DecidedNetwork, inputs: list[Tensor]) -> dict[str, Tensor]:
    values = dict(zip(graph.inputs, inputs, strict=True))
    for node in graph.nodes:
        values[node.name] = network.evaluate(node, *(values[name] for name in node.inputs))
    return {name: values[name] for name in graph.outputs}
