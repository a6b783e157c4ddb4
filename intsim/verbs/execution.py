"""What a model computes: its codes, its accuracy, and test vectors of it for hardware."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intsim.backends import load_backend
from intsim.data import Dataset, check_labels
from intsim.errors import InputError, one_of
from intsim.ir.file import Model, write_atomically
from intsim.ir.graph import Graph
from intsim.ir.types import Value
from intsim.progress import Progress, silent
from intsim.verbs.arguments import Data, as_model, dataset_of, writable

IMAGES_AT_ONCE = 125
"""Images between two steps of a progress bar."""


@dataclass(frozen=True)
class Accuracy:
    """How many samples have their label as the output with the highest real value."""

    correct: int
    samples: int

    @property
    def top1(self) -> float:
        """Between 0 and 1."""
        return self.correct / self.samples


def run(
    model: str | Path | Model,
    data: Data,
    *,
    backend: str = "native",
    threads: int | None = None,
    everything: bool = False,
    output: str | Path | None = None,
    progress: Progress = silent,
) -> dict[str, NDArray[Any]]:
    """Codes of the outputs for every image, or with `everything` of every layer, in order of evaluation.

    output  .npz file to write, with one array for each
    """
    path = None if output is None else writable(output)
    graph, dataset = as_model(model).graph, dataset_of(data)
    wanted = tuple(node.name for node in graph) if everything else graph.outputs
    batches = list(_batches(graph, dataset, backend, threads, wanted, progress))
    codes = {name: np.concatenate([batch[name].codes for batch in batches]) for name in wanted}
    if path is not None:
        write_atomically(path, _npz(codes))
    return codes


def evaluate(
    model: str | Path | Model,
    data: Data,
    *,
    backend: str = "native",
    threads: int | None = None,
    progress: Progress = silent,
) -> Accuracy:
    """Count the samples whose label is the output with the highest real value."""
    graph, dataset = as_model(model).graph, dataset_of(data)
    labels, scores = dataset.labels, graph.types[graph.outputs[0]]
    if labels is None:
        raise InputError(f"DATA {dataset.source}: has no labels, and accuracy needs them")
    if scores.rank != 2:
        raise InputError(f"'{graph.outputs[0]}': accuracy needs one score for each class, the output is {scores}")
    check_labels(labels, int(scores.shape[1] or 0))
    batches = _batches(graph, dataset, backend, threads, graph.outputs[:1], progress)
    best = np.concatenate([batch[graph.outputs[0]].reals.argmax(1) for batch in batches])
    return Accuracy(int(np.count_nonzero(best == labels)), len(labels))


def export(
    model: str | Path | Model, data: Data, *, to: str = "vectors", output: str | Path, images: int = 1
) -> tuple[str, ...]:
    """Write test vectors for hardware: every layer's operands, parameters, accumulators and codes.

    to       vectors
    output   folder that does not exist yet, or is empty; complete or not there at all
    images   the vectors are of the first so many samples
    returns  names of the layers written
    """
    from intsim.exporters.product import layer_nodes
    from intsim.exporters.vectors import export_vectors, needed_values

    one_of("to", to, ("vectors",))
    graph, dataset = as_model(model).graph, dataset_of(data).first(images)
    values = load_backend("reference", graph).run(*dataset.inputs, wanted=needed_values(graph))
    export_vectors(graph, values, Path(output))
    return tuple(node.name for node in layer_nodes(graph))


def _batches(
    graph: Graph,
    dataset: Dataset,
    backend: str,
    threads: int | None,
    wanted: Sequence[str],
    progress: Progress,
) -> Iterator[dict[str, Value]]:
    """Wanted values of the samples, some at a time."""
    engine = load_backend(backend, graph, threads)
    progress(backend, 0, len(dataset))
    for start in range(0, len(dataset), IMAGES_AT_ONCE):
        stop = min(start + IMAGES_AT_ONCE, len(dataset))
        yield engine.run(*(array[start:stop] for array in dataset.inputs), wanted=wanted)
        progress(backend, stop, len(dataset))


def _npz(arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """An .npz archive; unlike np.savez, arrays may have any name."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
    return buffer.getvalue()
