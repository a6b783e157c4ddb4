"""A network on an array against the reference's results and the estimate's cycles."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from intsim.backends import load_backend
from intsim.costing import Array, estimate, layers_of
from intsim.costing.load_target import BUILTIN
from intsim.exporters.vectors import export_vectors, needed_values
from intsim.ir.file import Model, load, save
from tests.costing.rtl.networks import Network
from tests.costing.rtl.simulator import RtlArray, simulate


def assert_equal(array: RtlArray, net: Network, folder: Path) -> None:
    """Sums, codes and cycles of every layer, by way of an .intsim file and exported vectors in `folder`."""
    model, layers = _exported(net, folder)
    results = simulate(array, layers, folder / "results")
    size = Array(array.rows, array.columns)
    costs = estimate(layers_of(model.graph), _target_of(array, folder), size, net.shape[0]).layers
    for layer, result, cost in zip(layers, results, costs, strict=True):
        expected = np.load(layer / "tensors.npz")
        np.testing.assert_array_equal(result.sums, expected["accumulators"].ravel())
        if "codes" in expected:
            np.testing.assert_array_equal(result.codes, expected["codes"].ravel() & 0xFF)
        assert result.cycles == cost.cost.compute_cycles, layer.name


def _exported(net: Network, folder: Path) -> tuple[Model, list[Path]]:
    """The network saved and loaded again, and the folders of its layers."""
    save(folder / "model.intsim", Model(net.graph))
    model = load(folder / "model.intsim")
    values = load_backend("reference", model.graph).run(net.codes(), wanted=needed_values(model.graph))
    export_vectors(model.graph, values, folder / "vectors")
    listed = json.loads((folder / "vectors" / "manifest.json").read_text())["layers"]
    return model, [folder / "vectors" / layer["folder"] for layer in listed]


def _target_of(array: RtlArray, folder: Path) -> Path:
    """The shipped target with the array's accumulator buffer (a half of it, the other being drained) and edge folds."""
    text = (BUILTIN / f"systolic_{array.dataflow[0]}s.toml").read_text()
    capacity = 2 * array.buffer_rows * array.columns * 32
    head, memory, tail = text.partition("[memory.accumulators]\ncapacity = { value = ")
    assert memory, "the target file states the capacity first"
    head = head.replace('count = "full"', 'count = "tight"') if array.tight else head
    path = folder / "target.toml"
    path.write_text(head + memory + str(capacity) + tail[tail.index(",") :])
    return path
