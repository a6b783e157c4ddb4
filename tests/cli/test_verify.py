"""intsim verify and intsim prove: equal is 0, a fault is 1 with the layer it stands in."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import intsim as package
from intsim.data import as_dataset
from intsim.errors import InputError
from intsim.ir.file import Model, save
from intsim.ir.quantized import MADE_FROM
from intsim.ir.types import Value


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    first, second = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 4, 3)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Flatten(), nn.Linear(36, 5))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).random((70, 2, 5, 5), np.float32), np.arange(70) % 5


@pytest.fixture(scope="module")
def quantized(network, images):
    return package.quantize(network, images, weight_bits=4, act_bits=4, scales="pow2")


@pytest.fixture
def files(quantized, images, tmp_path):
    """The model, the model with a shift off by one in layer "1.u4", and data."""
    good, faulty, data = tmp_path / "good.intsim", tmp_path / "faulty.intsim", tmp_path / "data.npz"
    save(good, quantized)
    graph = quantized.graph
    (name,) = (name for node in graph if node.name.startswith("1.") for name in node.inputs if name.endswith(".shift"))
    shift = graph.constants[name]
    wrong = {**graph.constants, name: Value(shift.type, shift.codes - 1)}
    save(faulty, Model(replace(graph, constants=wrong), quantized.quantized))
    np.savez(data, inputs=images[0], labels=images[1])
    return good, faulty, data


def test_equal_on_every_element_of_every_layer(intsim, files, quantized):
    good, _, data = files
    result = intsim("verify", good, "--data", data, "--sample", 16, "--json")
    assert result.status == 0
    assert result.json["bit_exact"] is True
    assert (result.json["images"], result.json["sample"]) == (70, 16)
    assert [layer["name"] for layer in result.json["layers"]] == [node.name for node in quantized.graph]
    fields = {"name", "elements", "mismatches", "max_abs_difference"}
    assert all(fields <= set(layer) and layer["mismatches"] == 0 for layer in result.json["layers"])
    table = intsim("verify", good, "--data", data, "--sample", 16)
    assert table.status == 0
    assert table.out.rstrip().endswith("bit-exact")


def test_a_wrong_shift_is_found_where_it_stands(intsim, files):
    _, faulty, data = files
    verified = intsim("verify", faulty, "--data", data, "--json")
    assert verified.status == 1
    assert verified.json["bit_exact"] is False
    assert verified.json["first_layer"].startswith("1.")
    table = intsim("verify", faulty, "--data", data)
    assert table.status == 1
    assert "NOT bit-exact, first at 1." in table.out


def test_a_wrong_shift_cannot_be_proved(intsim, files, tmp_path):
    good, faulty, _ = files
    assert intsim("prove", good).status == 0
    proved = intsim("prove", faulty, "--json")
    assert proved.status == 1
    assert proved.json["proved"] is False
    assert [layer for layer, _ in proved.json["problems"]][0].startswith("1.")
    assert "NOT proved" in intsim("prove", faulty).out


def test_the_network_of_a_file_is_told_from_another(quantized, network, images):
    assert package.verify(quantized, images, float_model=network, sample=4).bit_exact
    other = nn.Sequential(*list(network)[:-1], nn.Linear(36, 6))
    with pytest.raises(InputError, match=r"'5' is \(5, 36\) in the file, \(6, 36\) in the network"):
        package.verify(quantized, images, float_model=other)
    for change in ("weight", "bias"):
        other = deepcopy(network)
        with torch.no_grad():
            getattr(other[2], change)[1] *= 1.001
        with pytest.raises(InputError, match="its layers are alike, but their weights or biases differ"):
            package.verify(quantized, images, float_model=other)


def test_a_file_that_does_not_say_what_it_was_made_from_is_known_by_its_layers(quantized, network, images):
    metadata = {name: text for name, text in quantized.graph.metadata.items() if name != MADE_FROM}
    old = Model(replace(quantized.graph, metadata=metadata), quantized.quantized)
    other = deepcopy(network)
    nn.init.ones_(other[2].weight)
    assert package.verify(old, images, float_model=other, sample=4).bit_exact


def test_data_may_be_arrays_tensors_or_a_data_set(quantized, images):
    inputs, labels = images
    top1 = package.evaluate(quantized, images).top1
    assert package.evaluate(quantized, (torch.from_numpy(inputs), torch.from_numpy(labels))).top1 == top1
    assert package.evaluate(quantized, as_dataset(inputs, labels)).top1 == top1
    loader = DataLoader(TensorDataset(torch.from_numpy(inputs), torch.from_numpy(labels)), batch_size=32)
    assert package.evaluate(quantized, loader).top1 == top1
    with pytest.raises(InputError, match="has no labels"):
        package.evaluate(quantized, inputs)
