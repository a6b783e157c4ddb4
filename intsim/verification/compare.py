"""Runs a model in every way there is and compares every element of every layer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from numpy.typing import NDArray

from intsim.backends import load_backend
from intsim.backends.base import Backend
from intsim.backends.reference import ReferenceBackend
from intsim.errors import InputError
from intsim.ir.file import Model
from intsim.ir.graph import Graph
from intsim.ir.quantized import QuantizedGraph
from intsim.progress import Progress, silent
from intsim.verification.correspondence import differences
from intsim.verification.flips import float32_reason, tie_distance
from intsim.verification.report import Comparison, Flips, Report, Tally

SAMPLE = 64
"""Images that the reference runs on, unless asked otherwise: it is slow."""
ELEMENTS_AT_ONCE = 1 << 22
"""Elements of all layers together that each side of a comparison holds at a time."""

Codes = Mapping[str, NDArray[Any]]


def verify(
    model: Model,
    inputs: Sequence[NDArray[Any]],
    backends: Sequence[str | Backend] = ("native", "numba"),
    sample: int = SAMPLE,
    threads: int | None = None,
    progress: Progress = silent,
) -> Report:
    """Check the three claims of bit-exactness on images, layer by layer.

    inputs    one array for each input of the graph
    backends  names, or backends made for the model's graph; they run on all images
    sample    images that the reference runs on too
    raises    BackendError for inputs that do not fit

    Claims 2 and 3 need the quantized graph and PyTorch; the report says so where they are left out. The mirror is
    compared with the reference on the sample and with the first backend beyond it, so that a wrong kernel and a wrong
    lowering show apart.
    """
    graph, quantized = model.graph, model.quantized
    if not backends or not inputs or not len(inputs[0]):
        raise InputError("verify needs at least one backend and one image")
    engines = {_name(b): load_backend(b, graph, threads) if isinstance(b, str) else b for b in backends}
    reference, (lead, *others) = ReferenceBackend(graph, threads), list(engines)
    on_sample = {name: _comparison("reference", name, graph) for name in engines}
    on_all = {name: _comparison(lead, name, graph) for name in others}
    unchecked = _why_no_mirror(quantized)
    torch_side = None if quantized is None or unchecked else _TorchSide(model, quantized)
    images = len(inputs[0])
    for start, stop in _batches(graph, images, sample):
        progress("verify", start, images)
        batch = [array[start:stop] for array in inputs]
        results = {name: _run(engine, batch) for name, engine in engines.items()}
        integers = _run(reference, batch) if start < sample else results[lead]
        for name, comparison in on_sample.items() if start < sample else ():
            _add(comparison, integers, results[name], start)
        for name, comparison in on_all.items():
            _add(comparison, results[lead], results[name], start)
        if torch_side is not None:
            torch_side.add(integers, batch, start)
    progress("verify", images, images)
    claim1 = [*on_sample.values(), *on_all.values()]
    if torch_side is None:
        return Report(images, min(sample, images), claim1, None, None, {}, unchecked)
    return Report(images, min(sample, images), claim1, torch_side.mirror, torch_side.fake_quant, torch_side.flips())


class _TorchSide:
    """The mirror and plain fake-quantization of a quantized graph, and how far the integers are from them."""

    def __init__(self, model: Model, quantized: QuantizedGraph):
        from intsim.frontend.execute import as_tensor
        from intsim.frontend.fake_quant import FakeQuant
        from intsim.frontend.mirror import Mirror

        self.as_tensor, self.model, self.quantized = as_tensor, model, quantized
        self.exact, self.plain = Mirror(quantized), FakeQuant(quantized)
        self.mirror = _comparison("integers", "mirror", model.graph)
        self.fake_quant = Comparison(("mirror", "fake-quant"), {name: Tally() for name in self.plain.layers})
        self.distances: dict[str, float | None] = {}
        self.comparable = not differences(model.graph, quantized)

    def add(self, integers: Codes, batch: Sequence[NDArray[Any]], first_image: int) -> None:
        """Count a batch in claims 2 and 3."""
        tensors = [self.as_tensor(array) for array in batch]
        codes = dict(zip(self.quantized.graph.inputs, tensors, strict=True)) | self.exact.run(*tensors)
        mirrored = {name: tensor.numpy() for name, tensor in codes.items()}
        _add(self.mirror, integers, mirrored, first_image)
        for name, tally in self.fake_quant.layers.items():
            plain = self.plain.run_layer(name, codes).numpy()
            tally.add(mirrored[name], plain, first_image)
            flipped = mirrored[name] != plain
            if self.comparable and flipped.any():
                distance = tie_distance(self.model, name, mirrored, flipped)
                known = self.distances.get(name)
                self.distances[name] = distance if known is None or distance is None else max(known, distance)

    def flips(self) -> dict[str, Flips]:
        """Why the layers of claim 3 may differ."""
        other = None if self.comparable else "integers of another network"
        return {
            name: Flips(other or float32_reason(self.model, name), self.distances.get(name))
            for name in self.fake_quant.layers
        }


def _why_no_mirror(quantized: QuantizedGraph | None) -> str | None:
    if quantized is None:
        return "claims 2 and 3: the model has no quantized graph to compare with"
    if find_spec("torch") is None:
        return "claims 2 and 3: PyTorch is not installed"
    return None


def _name(backend: str | Backend) -> str:
    return backend if isinstance(backend, str) else type(backend).__name__


def _comparison(one: str, other: str, graph: Graph) -> Comparison:
    return Comparison((one, other), {node.name: Tally() for node in graph})


def _add(comparison: Comparison, ours: Codes, theirs: Codes, first_image: int) -> None:
    for name, tally in comparison.layers.items():
        tally.add(ours[name], theirs.get(name), first_image)


def _run(engine: Backend, batch: Iterable[NDArray[Any]]) -> Codes:
    """Codes of every node."""
    return {name: value.codes for name, value in engine.run(*batch, wanted=_nodes(engine.graph)).items()}


def _nodes(graph: Graph) -> tuple[str, ...]:
    return tuple(node.name for node in graph)


def _batches(graph: Graph, images: int, sample: int) -> Iterator[tuple[int, int]]:
    """First and last + 1 image of each batch; none lies across the end of the sample."""
    of_one_image = sum(graph.types[name].elements() for name in _nodes(graph))
    size, start = max(1, ELEMENTS_AT_ONCE // of_one_image), 0
    while start < images:
        stop = min(start + size, sample if start < sample else images, images)
        yield start, stop
        start = stop
