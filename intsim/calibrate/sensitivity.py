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
from dataclasses import fields, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from intsim.backends import load_backend
from intsim.calibrate.checkpoint import digest_of
from intsim.calibrate.finish import finish
from intsim.calibrate.method import Decision, Problem, method_of
from intsim.calibrate.observers import check_inputs, observe
from intsim.calibrate.place import Placed, place
from intsim.calibrate.settings import LayerWidths, Settings
from intsim.calibrate.widths import layer_widths
from intsim.costing import Pair
from intsim.costing.menu import Ranking, Sensitivities
from intsim.data import check_labels
from intsim.errors import CalibrationError
from intsim.ir.float_graph import MOVEMENTS, FloatGraph
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
    """One network at any widths, calibrated once at each when it is first needed.

    settings  general widths of 8 bits, the method and its options; a method that can take layers in parallel does so
              unless they say otherwise, for the layers of a network come from calibrations of different widths
    resume    folder in which methods that train keep their state, apart for each network, data, settings and width
    """

    def __init__(
        self,
        graph: FloatGraph,
        inputs: tuple[Tensor, ...],
        settings: Settings,
        progress: Progress = silent,
        resume: Path | None = None,
    ):
        check_inputs(graph, inputs)
        self.graph, self.inputs, self.progress, self.resume = graph, inputs, progress, resume
        method, _ = method_of(settings)
        modes = {"mode": "parallel"} if any(field.name == "mode" for field in fields(method.options)) else {}
        self.settings = replace(settings, options={**modes, **settings.options})
        self.method, self.options = method_of(self.settings)
        self.placements: dict[int, Placed] = {}
        self.decisions: dict[int, Decision] = {}

    @cached_property
    def key(self) -> str:
        """A digest of everything that decides a network, besides its widths."""
        return digest_of(self.settings, self.graph, self.inputs)[:32]

    def quantized(self, widths: Mapping[str, LayerWidths]) -> QuantizedGraph:
        """The network with these layers at these widths, and the others at 8 bits."""
        settings = replace(self.settings, widths=widths)
        placed = place(self.graph, layer_widths(self.graph, settings), settings)
        quantizers = {
            name: self._decision(self._reading_width(placed.graph, name, widths)).quantizers[name]
            for name in placed.elements
        }
        weights, biases = {}, {}
        for node in self.graph.weighted:
            own = widths.get(node.name)
            decision = self._decision(own.weight_bits if own and own.weight_bits else BASELINE_BITS)
            weights[node.name] = decision.weights[node.name]
            if node.name in decision.biases:
                biases[node.name] = decision.biases[node.name]
        return finish(placed, Decision(quantizers, weights, biases), settings)

    def _reading_width(self, placed: FloatGraph, quantizer: str, widths: Mapping[str, LayerWidths]) -> int:
        """The width whose decision a quantizer comes from: the widest of the layers that read its codes.

        What others read, such as additions, is as at 8 bits. A quantize node has its value and its type in its name, so
        it is the same node in every placement that has it; a stream has it at all widths, with a grid for each.
        """

        def of(layer: str) -> int:
            own = widths.get(layer)
            return own.act_bits if own and own.act_bits else BASELINE_BITS

        def read_at(value: str) -> set[int]:
            found = {BASELINE_BITS} if value in placed.outputs else set()
            for node in placed.consumers.get(value, ()):
                if node.op in MOVEMENTS:
                    found |= read_at(node.name)
                else:
                    found.add(of(node.name))
            return found

        own = read_at(quantizer)
        candidates = [*sorted(own, reverse=True), *sorted({BASELINE_BITS, *map(of, widths)}, reverse=True)]
        return next(width for width in candidates if quantizer in self._placed(width).elements)

    def _uniform(self, width: int) -> Settings:
        return replace(self.settings, weight_bits=width, act_bits=width)

    def _placed(self, width: int) -> Placed:
        if width not in self.placements:
            uniform = self._uniform(width)
            self.placements[width] = place(self.graph, layer_widths(self.graph, uniform), uniform)
        return self.placements[width]

    def _decision(self, width: int) -> Decision:
        """What the method decides at one width everywhere."""
        if width not in self.decisions:
            uniform, placed = self._uniform(width), self._placed(width)
            observations = observe(placed, self.inputs, uniform.seed, self.progress)
            resume = None if self.resume is None else self.resume / f"{self.key}.{width}bit"
            problem = Problem(
                placed, layer_widths(self.graph, uniform), observations, self.inputs, uniform, self.progress, resume
            )
            self.decisions[width] = self.method.decide(problem, self.options)
        return self.decisions[width]


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
    measured = Measurements(folder, variants, loss)
    eight = Pair(BASELINE_BITS, BASELINE_BITS)
    baseline = measured({}) if layers else 0.0
    table: dict[str, dict[tuple[int, int], float]] = {}
    for done, layer in enumerate(layers, start=1):
        rises = {pair: 0.0 if pair == eight else measured({layer: pair}) - baseline for pair in pairs}
        table[layer] = {pair: max(rise, 0.0) for pair, rise in rises.items()}
        progress("measuring", done, len(layers))
    return table


def rank_allocations(
    variants: Variants, loss: Loss, table: Sensitivities, count: int, seed: int = 0, folder: Path | None = None,
    progress: Progress = silent,
) -> Ranking:  # fmt: skip
    """Measure random allocations, and compare their order with that of what the table predicts for them.

    table   of `measure_sensitivities`; each layer draws one of its pairs, all alike probable
    folder  keeps every measurement, beside those of single layers
    Exact:  an allocation's predicted loss is the sum of its layers' rises; tau-b
    Source: Kendall 1938
    """
    from scipy.stats import kendalltau

    if count < 2:
        raise CalibrationError(f"an order needs at least 2 allocations, got {count}")
    random, losses = np.random.default_rng(seed), Measurements(folder, variants, loss)
    predicted, measured = [], []
    for done in range(1, count + 1):
        drawn = {layer: Pair(*list(pairs)[random.integers(len(pairs))]) for layer, pairs in table.items()}
        predicted.append(sum(table[layer][pair] for layer, pair in drawn.items()))
        measured.append(losses(drawn))
        progress("measuring random allocations", done, count)
    found = kendalltau(predicted, measured)
    return Ranking(count, float(found.statistic), float(found.pvalue))


class Measurements:
    """Losses of networks by their widths, in a folder if there is one, from which they are taken when known.

    It has one file for each network with its data, method and measure, and in it one line for each loss.
    """

    def __init__(self, folder: Path | None, variants: Variants, loss: Loss):
        self.variants, self.loss = variants, loss
        self.path = None if folder is None else folder / f"{_key(variants, loss)}.jsonl"
        self.known: dict[frozenset[tuple[str, Pair]], float] = {}
        if self.path is not None and self.path.exists():
            text = self.path.read_text("utf-8")
            for line in text.splitlines():
                try:
                    widths, value = json.loads(line)
                except ValueError:
                    continue  # the line at which a run was stopped
                self.known[frozenset((layer, Pair(*pair)) for layer, pair in widths.items())] = value
            if text and not text.endswith("\n"):
                self._append("\n")

    def __call__(self, widths: Mapping[str, Pair]) -> float:
        """The loss with these layers at these widths, and the others at 8 bits."""
        key = frozenset(widths.items())
        if key not in self.known:
            named = {layer: LayerWidths(*pair) for layer, pair in widths.items()}
            self.known[key] = self.loss(self.variants.quantized(named))
            self._append(json.dumps([widths, self.known[key]]) + "\n")
        return self.known[key]

    def _append(self, text: str) -> None:
        if self.path is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a", encoding="utf-8") as file:
                file.write(text)


def log_softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """(N, C)"""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return shifted


def _split(inputs: tuple[Tensor, ...]) -> Iterator[tuple[Tensor, ...]]:
    return zip(*(tensor.split(IMAGES_AT_ONCE) for tensor in inputs), strict=True)


def _key(variants: Variants, loss: Loss) -> str:
    """A digest of everything that decides a measurement, besides the widths."""
    digest = hashlib.sha256(f"{variants.key} {loss.kind}".encode())
    digest.update(b"" if loss.labels is None else loss.labels.tobytes())
    for batch in loss.batches:
        for array in batch:
            digest.update(array.tobytes())
    return digest.hexdigest()[:32]
