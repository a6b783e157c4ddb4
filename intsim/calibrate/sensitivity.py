"""What fewer bits in one layer cost in accuracy: measured on the integer graph, layer by layer and pair by pair.

A method decides once for each width, at that width everywhere. A network of any widths is put together from these
decisions: a layer's weights from the one of its weight width, the codes that it reads from that of their width. So a
hundred networks cost a hundred runs, not a hundred calibrations, and methods that train layers by themselves (adaquant
in parallel mode) can be measured too.

Source: Hubara et al. 2021 (AdaQuant), section 4, and its code: all layers at 8 bits but one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from intsim.backends import load_backend
from intsim.calibrate.finish import finish
from intsim.calibrate.method import Decision, Problem, method_of
from intsim.calibrate.observers import check_inputs, observe
from intsim.calibrate.place import place
from intsim.calibrate.settings import LayerWidths, Settings
from intsim.calibrate.widths import layer_widths
from intsim.costing import Pair
from intsim.costing.menu import Ranking, Sensitivities
from intsim.data import check_labels
from intsim.errors import CalibrationError
from intsim.ir.float_graph import FloatGraph
from intsim.ir.quantized import QuantizedGraph
from intsim.lower import lower
from intsim.progress import Progress, silent

if TYPE_CHECKING:
    from torch import Tensor

LossKind = Literal["kl", "cross_entropy"]
"""kl: how far the logits are from the float network's; cross_entropy: from the labels. In nats, mean over images."""

BASELINE_BITS = 8
IMAGES_AT_ONCE = 125


class Variants:
    """One network at any widths, calibrated at a few.

    settings  general widths of 8 bits, the method and its options
    bits      widths that layers may have, besides 8
    """

    def __init__(
        self,
        graph: FloatGraph,
        inputs: tuple[Tensor, ...],
        settings: Settings,
        bits: Iterable[int],
        progress: Progress = silent,
    ):
        check_inputs(graph, inputs)
        self.graph, self.settings = graph, settings
        self.decisions: dict[int, Decision] = {}
        method, options = method_of(settings)
        for width in sorted({BASELINE_BITS, *bits}, reverse=True):
            uniform = replace(settings, weight_bits=width, act_bits=width)
            widths = layer_widths(graph, uniform)
            placed = place(graph, widths, uniform)
            observations = observe(placed, inputs, uniform.seed, progress)
            problem = Problem(placed, widths, observations, inputs, uniform, progress)
            self.decisions[width] = method.decide(problem, options)

    def quantized(self, widths: Mapping[str, LayerWidths]) -> QuantizedGraph:
        """The network with these layers at these widths, which are among `bits`, and the others at 8 bits."""
        settings = replace(self.settings, widths=widths)
        placed = place(self.graph, layer_widths(self.graph, settings), settings)
        # A quantize node has its value and its type in its name, so it is the same node in every placement.
        known = {
            name: quantizer for decision in self.decisions.values() for name, quantizer in decision.quantizers.items()
        }
        weights, biases = {}, {}
        for node in self.graph.weighted:
            own = widths.get(node.name)
            decision = self.decisions[own.weight_bits if own and own.weight_bits else BASELINE_BITS]
            weights[node.name] = decision.weights[node.name]
            if node.name in decision.biases:
                biases[node.name] = decision.biases[node.name]
        return finish(placed, Decision({name: known[name] for name in placed.elements}, weights, biases), settings)


class Loss:
    """How far a network's logits are from what they should be, on the calibration data.

    raises  CalibrationError: no logits, or no labels where they are compared with; InputError: labels beyond the logits
    """

    def __init__(self, graph: FloatGraph, inputs: tuple[Tensor, ...], labels: NDArray[np.int64] | None, kind: LossKind):
        from intsim.frontend.execute import run_float

        if len(graph.outputs) != 1 or len(graph.shapes[graph.outputs[0]]) != 2:
            raise CalibrationError("a measured loss compares logits: expected a network with one output (N, classes)")
        if kind == "cross_entropy":
            if labels is None:
                raise CalibrationError("cross_entropy compares with labels, and the data has none: measure kl")
            check_labels(labels, int(graph.shapes[graph.outputs[0]][1] or 0))
        self.kind, self.labels = kind, labels
        self.batches = [tuple(t.numpy() for t in batch) for batch in _split(inputs)]
        self.wanted = np.concatenate(
            [log_softmax(run_float(graph, *b)[graph.outputs[0]].numpy()) for b in _split(inputs)]
        )

    def __call__(self, quantized: QuantizedGraph) -> float:
        """The loss of the integer graph, on the native backend.

        Exact:  kl: mean over images of sum p log(p / q), p of the float network, q of the integers; cross_entropy:
                mean of -log q[label]
        """
        graph = lower(quantized)
        (output,), engine = graph.outputs, load_backend("native", graph)
        logits = np.concatenate([engine.run(*b, wanted=(output,))[output].reals for b in self.batches])
        found = log_softmax(logits)
        if self.kind == "kl":
            return float((np.exp(self.wanted) * (self.wanted - found)).sum(axis=1).mean())
        return float(-found[np.arange(len(found)), self.labels].mean())


def measure_sensitivities(
    variants: Variants, loss: Loss, layers: Sequence[str], pairs: Iterable[Pair], folder: Path | None = None,
    progress: Progress = silent,
) -> dict[str, dict[tuple[int, int], float]]:  # fmt: skip
    """By how much the loss rises when one layer has a pair of widths and all others have 8 bits; never negative.

    folder   keeps every measurement as it comes: a stopped run goes on, another allocation needs none
    """
    pairs = list(pairs)
    cache = Measurements(folder, variants, loss)

    def measured(layer: str, pair: Pair) -> float:
        known = cache.get(layer, pair)
        return (
            known
            if known is not None
            else cache.put(layer, pair, loss(variants.quantized({layer: LayerWidths(*pair)})))
        )

    eight = Pair(BASELINE_BITS, BASELINE_BITS)
    baseline = measured(layers[0], eight) if layers else 0.0
    table: dict[str, dict[tuple[int, int], float]] = {}
    for done, layer in enumerate(layers, start=1):
        rises = {pair: 0.0 if pair == eight else measured(layer, pair) - baseline for pair in pairs}
        table[layer] = {pair: max(rise, 0.0) for pair, rise in rises.items()}
        progress("measuring", done, len(layers))
    return table


def rank_allocations(
    variants: Variants, loss: Loss, table: Sensitivities, count: int, seed: int = 0, progress: Progress = silent
) -> Ranking:
    """Measure random allocations, and compare their order with that of what the table predicts for them.

    table   of `measure_sensitivities`; each layer draws one of its pairs, all alike probable
    Exact:  an allocation's predicted loss is the sum of its layers' rises; tau-b
    Source: Kendall 1938
    """
    from scipy.stats import kendalltau

    if count < 2:
        raise CalibrationError(f"an order needs at least 2 allocations, got {count}")
    random = np.random.default_rng(seed)
    predicted, measured = [], []
    for done in range(1, count + 1):
        drawn = {layer: list(pairs)[random.integers(len(pairs))] for layer, pairs in table.items()}
        predicted.append(sum(table[layer][pair] for layer, pair in drawn.items()))
        measured.append(loss(variants.quantized({layer: LayerWidths(*pair) for layer, pair in drawn.items()})))
        progress("measuring random allocations", done, count)
    found = kendalltau(predicted, measured)
    return Ranking(count, float(found.statistic), float(found.pvalue))


class Measurements:
    """A folder of measured losses, one file for each network with its data, method and measure; one line for each."""

    def __init__(self, folder: Path | None, variants: Variants, loss: Loss):
        self.path = None if folder is None else folder / f"{_key(variants, loss)}.jsonl"
        self.known: dict[tuple[str, int, int], float] = {}
        if self.path is not None and self.path.exists():
            for line in self.path.read_text("utf-8").splitlines():
                try:
                    layer, weight_bits, act_bits, value = json.loads(line)
                except ValueError:
                    continue  # the line at which a run was stopped
                self.known[layer, weight_bits, act_bits] = value

    def get(self, layer: str, pair: Pair) -> float | None:
        return self.known.get((layer, *pair))

    def put(self, layer: str, pair: Pair, value: float) -> float:
        self.known[layer, pair.weight_bits, pair.act_bits] = value
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps([layer, *pair, value]) + "\n")
        return value


def log_softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """(N, C)"""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return shifted


def _split(inputs: tuple[Tensor, ...]) -> Iterator[tuple[Tensor, ...]]:
    return zip(*(tensor.split(IMAGES_AT_ONCE) for tensor in inputs), strict=True)


def _key(variants: Variants, loss: Loss) -> str:
    """A digest of everything that decides a measurement, besides the layer and its widths."""
    digest = hashlib.sha256(f"{variants.settings!r} {loss.kind}".encode())
    digest.update(b"" if loss.labels is None else loss.labels.tobytes())
    for node in variants.graph.nodes:
        digest.update(f"{node.name} {node.op} {node.inputs} {dict(node.attributes)}".encode())
        for array in node.arrays.values():
            digest.update(array.tobytes())
    for batch in loss.batches:
        for array in batch:
            digest.update(array.tobytes())
    return digest.hexdigest()[:32]
