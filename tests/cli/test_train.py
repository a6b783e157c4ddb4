"""intsim train: a file of few bits out of a float network, with what made it in the metadata."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from intsim.ir.file import load

ZOO = """
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def net():
    torch.manual_seed(0)
    inner = nn.Conv2d(4, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU()
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), *inner, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))


def pixels():
    random = np.random.default_rng(0)
    return random.integers(0, 256, (64, 3, 8, 8)).astype(np.uint8), random.integers(0, 5, 64)


def floats():
    images, labels = pixels()
    return images.astype(np.float32) / 255, labels


def loader():
    return DataLoader(TensorDataset(*map(torch.from_numpy, floats())), batch_size=24)


def grey():
    images, labels = pixels()
    return images[:, :1], labels


def not_finite():
    network = net()
    with torch.no_grad():
        network[2].weight[0, 0, 0, :2] = torch.nan
    return network


def double():
    return net().double()


def other():
    network = net()
    with torch.no_grad():
        network[0].bias[1] += 1e-3
    return network


def single():
    return nn.Linear(8, 3)
"""


@pytest.fixture(autouse=True)
def zoo(tmp_path, monkeypatch):
    (tmp_path / "zoo.py").write_text(ZOO)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("method", ["n2uq", "lsq"])
def test_training_gives_a_file_that_verify_and_prove_accept(intsim, method):
    options = ["--method", method, "--epochs", "2", "--batch", "16", "--augment", "--resume", "state"]
    pixels = ["--input", "u8", "--mean", "0.5", "--std", "0.25"]
    made = intsim("train", "zoo.py:net", "--data", "zoo.py:pixels", "-o", "m.intsim", *options, *pixels, "--json")
    assert made.status == 0, made.err
    metadata = json.loads(made.out)["metadata"]
    assert metadata["method"] == method and metadata["epochs"] == "2"
    graph = load("m.intsim").graph
    assert graph.constants["2.weight"].type.integer.element.bits == 2
    assert graph.constants["2.weight"].type.integer.step == (2 if method == "n2uq" else 1)
    assert intsim("verify", "m.intsim", "--data", "zoo.py:pixels").status == 0
    assert intsim("prove", "m.intsim").status == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["zoo.py:single"], "expected layers between the first and the last"),
        (["zoo.py:net", "--batch", "100"], "64 images do not fill a batch of 100"),
        (["zoo.py:net", "--method", "n3uq"], "method 'n3uq': expected n2uq or lsq; did you mean 'n2uq'?"),
        (["zoo.py:net", "--epochs", "0"], "epochs: expected at least 1, got 0"),
        (["zoo.py:net", "--learning-rate", "nan"], "learning_rate: expected a number above 0, got nan"),
        (["zoo.py:net", "--batch", "0"], "batch: expected at least 1, got 0"),
        (["zoo.py:net", "--seed", "-1"], "seed: expected a whole number from 0"),
        (["zoo.py:net", "--scales", "pow2"], "scales 'pow2': expected multiplier or threshold"),
        (["zoo.py:net", "--resume", "zoo.py"], "zoo.py: is a file, expected a folder"),
        (["zoo.py:not_finite"], "'2.weight': 2 of 144 weights are NaN or infinite"),
        (["zoo.py:double"], "torch.export cannot trace Sequential"),
        (["zoo.py:net", "--data", "zoo.py:grey"], "to have 3 channels, but got 1 channels"),
    ],
)
def test_what_cannot_be_trained_is_one_line(intsim, options, message):
    result = intsim("train", "--data", "zoo.py:pixels", "-o", "m.intsim", "--input", "u8", *options)
    assert message in result.complaint
    assert not Path("m.intsim").exists() and not Path("state").exists()


def test_means_belong_to_pixels(intsim):
    complaint = intsim("train", "zoo.py:net", "--data", "zoo.py:floats", "-o", "m.intsim", "--mean", "0.5").complaint
    assert "mean: belongs to pixels" in complaint


def test_a_loaders_batches_are_trained_on_and_the_network_before_training_is_known(intsim):
    options = ["--epochs", "1", "--batch", "16", "--resume", "new/state"]
    assert intsim("train", "zoo.py:net", "--data", "zoo.py:loader", "-o", "m.intsim", *options).status == 0
    assert Path("new/state/training.pt").exists()
    assert intsim("verify", "m.intsim", "--data", "zoo.py:loader", "--model", "zoo.py:net").status == 0
    complaint = intsim("verify", "m.intsim", "--data", "zoo.py:loader", "--model", "zoo.py:other").complaint
    assert "weights or biases differ" in complaint
