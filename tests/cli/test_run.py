"""intsim run and intsim eval: codes and accuracy, whatever the backend and the batches."""

from __future__ import annotations

import numpy as np
import pytest

from intsim.backends import BACKENDS
from intsim.backends.reference import ReferenceBackend
from intsim.dtypes import IntType
from intsim.ir.file import Model, load
from intsim.ir.graph import Graph, Node
from intsim.ir.ops import Clamp
from intsim.ir.types import Grid, Scale, TensorType
from intsim.verbs import execution

pytestmark = pytest.mark.torchless


def expected(model, data, wanted):
    with np.load(data) as archive:
        return ReferenceBackend(load(model).graph).run(archive["inputs"], wanted=wanted)


def assert_holds(path, values):
    with np.load(path) as archive:
        assert set(archive) == set(values)
        for name, value in values.items():
            assert archive[name].dtype == value.codes.dtype
            assert np.array_equal(archive[name], value.codes)


@pytest.mark.parametrize("images_at_once", [1, 3, 100])
def test_run_writes_the_codes_of_the_outputs(intsim, model, data, tmp_path, monkeypatch, images_at_once):
    monkeypatch.setattr(execution, "IMAGES_AT_ONCE", images_at_once)
    output = tmp_path / "codes.npz"
    result = intsim("run", model, "--data", data, "-o", output, "--backend", "reference", "--json")
    assert result.status == 0
    outputs = load(model).graph.outputs
    assert [array["name"] for array in result.json["arrays"]] == list(outputs)
    assert_holds(output, expected(model, data, outputs))


def test_run_writes_every_layer_on_request(intsim, model, data, tmp_path):
    output = tmp_path / "codes.npz"
    assert intsim("run", model, "--data", data, "-o", output, "--backend", "reference", "--all").status == 0
    assert_holds(output, expected(model, data, [node.name for node in load(model).graph]))


def test_eval_counts_the_highest_real_values(intsim, model, data):
    result = intsim("eval", model, "--data", data, "--backend", "reference", "--json")
    assert result.status == 0
    with np.load(data) as archive:
        labels = archive["labels"]
    scores = expected(model, data, ["fc"])["fc"].reals
    right = sum(int(row.argmax()) == label for row, label in zip(scores, labels, strict=True))
    assert result.json == {"samples": 7, "top1": right / 7, "backend": "reference"}
    assert f"{right} of 7" in intsim("eval", model, "--data", data, "--backend", "reference").out


def test_eval_needs_labels(intsim, model, data):
    with np.load(data) as archive:
        np.savez(data, inputs=archive["inputs"])
    assert "no labels" in intsim("eval", model, "--data", data).complaint


@pytest.mark.parametrize("label", [5, 1002, -1])
def test_labels_are_classes_of_the_network(intsim, model, data, label):
    with np.load(data) as archive:
        labels = np.where(np.arange(7) < 2, archive["labels"], label)
        np.savez(data, inputs=archive["inputs"], labels=labels)
    complaint = intsim("eval", model, "--data", data).complaint
    assert f"labels: {label} at [2], expected 0..4: the network has 5 outputs" in complaint


@pytest.mark.parametrize("name", ["natve", "cuda"])
def test_an_unknown_backend_names_those_there_are(intsim, model, data, name):
    complaint = intsim("eval", model, "--data", data, "--backend", name).complaint
    assert all(backend in complaint for backend in BACKENDS)
    assert ("did you mean 'native'" in complaint) == (name == "natve")


def test_layers_may_have_any_name(tmp_path):
    identity = Grid(IntType.parse("u4"), Scale((0,), True))
    nodes = tuple(Node(name, Clamp(), ("x",)) for name in ("file", "allow_pickle", "block/0.conv"))
    graph = Graph({"x": TensorType(identity, (None, 2))}, {}, nodes, ("file",))
    codes = np.arange(6, dtype=np.uint8).reshape(3, 2)
    output = tmp_path / "codes.npz"
    execution.run(Model(graph), (codes, None), backend="reference", everything=True, output=output)
    with np.load(output) as archive:
        assert set(archive) == {"file", "allow_pickle", "block/0.conv"}
        assert all(np.array_equal(archive[name], codes) for name in archive)
