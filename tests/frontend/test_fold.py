"""BatchNorm and padding fold into the convolution that alone sees them, and stay where another reader would notice."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from intsim.frontend.capture import capture
from tests.frontend.networks import Lambda, conv

X = torch.zeros(2, 6, 9, 9)


def test_batchnorm_folds_in_float64_and_rounds_once():
    torch.manual_seed(0)
    model = nn.Sequential(conv(6, 5), nn.BatchNorm2d(5, eps=1e-3))
    layer, bn = model
    for values, low, high in (
        (bn.running_mean, -3, 3),
        (bn.running_var, 1e-6, 9),
        (bn.weight, -2, 2),
        (bn.bias, -1, 1),
    ):
        nn.init.uniform_(values, low, high)
    (node,) = capture(model, X).nodes
    weight, bias, gamma, beta, mean, variance = (
        tensor.detach().double().numpy()
        for tensor in (layer.weight, layer.bias, bn.weight, bn.bias, bn.running_mean, bn.running_var)
    )
    factor = gamma / np.sqrt(variance + 1e-3)
    assert (node.name, node.op) == ("0", "conv2d")
    np.testing.assert_array_equal(node.arrays["weight"], (weight * factor[:, None, None, None]).astype(np.float32))
    np.testing.assert_array_equal(node.arrays["bias"], (bias * factor + (beta - mean * factor)).astype(np.float32))


def test_batchnorm_folds_into_linear_layers_of_rows():
    model = nn.Sequential(nn.Flatten(), nn.Linear(486, 4), nn.BatchNorm1d(4))
    assert [node.op for node in capture(model, X).nodes] == ["reshape", "linear"]


def test_padding_folds_on_each_side_by_itself():
    model = nn.Sequential(nn.ZeroPad2d((1, 2, 3, 4)), conv(6, 4, padding=1))
    (node,) = capture(model, X).nodes
    assert node.attributes["padding"] == (4, 5, 2, 3)


def test_padding_that_others_see_stays():
    def two_readers(net: nn.Module, x: torch.Tensor) -> torch.Tensor:
        padded = F.pad(x, (1, 1, 1, 1))
        return net.conv(padded) + padded[:, :, 1:-1, 1:-1]

    graph = capture(Lambda(two_readers, conv=conv(6, 6)), X)
    assert [node.op for node in graph.nodes] == ["pad", "conv2d", "slice", "slice", "add"]
    channels = Lambda(lambda net, x: net.conv(F.pad(x, (0, 0, 0, 0, 1, 1))), conv=conv(8, 6))
    assert [n.op for n in capture(channels, X).nodes] == ["pad", "conv2d"]
