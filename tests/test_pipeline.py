"""The whole path on every kind of network: capture, calibrate, lower, run. The integers equal the mirror everywhere."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from intsim.backends import load_backend
from intsim.calibrate import Settings, quantize_graph
from intsim.frontend.capture import capture
from intsim.frontend.mirror import Mirror
from intsim.ir.file import Model, load, save
from intsim.lower import lower
from tests.frontend.networks import MODULES

WIDTHS = {"pow2": (4, 4), "multiplier": (3, 5), "threshold": (5, 3)}


@pytest.mark.parametrize("scales", WIDTHS)
@pytest.mark.parametrize("name", MODULES)
def test_integers_equal_the_mirror_and_survive_the_file(name, scales, tmp_path):
    torch.manual_seed(1)
    weight_bits, act_bits = WIDTHS[scales]
    size = 6 if any(word in name for word in ("attention", "shuffle", "divides")) else 9
    model, x = MODULES[name](), torch.randn(9, 6, size, size)
    settings = Settings(method="minmax", weight_bits=weight_bits, act_bits=act_bits, scales=scales)
    quantized = quantize_graph(capture(model, x), x, settings)
    graph = lower(quantized)
    save(tmp_path / "net.intsim", Model(graph, quantized))
    loaded = load(tmp_path / "net.intsim")
    assert loaded.quantized is not None

    names = [node.name for node in graph.nodes]
    expected = load_backend("reference", graph).run(x.numpy(), wanted=names)
    mirrors = [Mirror(quantized).run(x), Mirror(loaded.quantized).run(x)]
    others = [load_backend(b, loaded.graph).run(x.numpy(), wanted=names) for b in ("native", "numba", "reference")]
    for node in names:
        for mirror in mirrors:
            np.testing.assert_array_equal(expected[node].codes, mirror[node].numpy(), err_msg=node)
        for other in others:
            np.testing.assert_array_equal(expected[node].codes, other[node].codes, err_msg=node)
