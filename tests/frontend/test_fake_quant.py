"""Plain fake-quantization is what PyTorch's fake-quantizers make, and with powers of two it is the exact network."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from intsim.dtypes import IntType
from intsim.frontend.fake_quant import FakeQuant
from intsim.frontend.mirror import Mirror
from intsim.ir.float_graph import FloatGraph, FloatNode
from intsim.ir.quantized import QuantizedGraph, QuantizedWeight, Quantizer
from intsim.ir.types import Grid, Scale, TensorType, Value
from tests.verification.networks import images, small_network


def codes_of_everything(quantized: QuantizedGraph, x: Tensor) -> dict[str, Tensor]:
    return {"x": x, **Mirror(quantized).run(x)}


def test_with_powers_of_two_every_layer_is_exact():
    quantized = small_network("shift")
    codes = codes_of_everything(quantized, torch.from_numpy(images(40)))
    plain = FakeQuant(quantized)
    assert plain.layers == ("relu1.u4", "relu6.u8", "relu6.u4", "relu2.u8", "gate.u8", "average.u8")
    for name in plain.layers:
        if name not in ("gate.u8", "average.u8"):  # a sigmoid and quotients round in float32
            assert torch.equal(plain.run_layer(name, codes), codes[name]), name
        assert (plain.run_layer(name, codes) - codes[name]).abs().max() <= 1, name


def test_codes_differ_by_a_rounding_at_most_with_other_scales():
    quantized = small_network("multiplier")
    codes = codes_of_everything(quantized, torch.from_numpy(images(40)))
    plain = FakeQuant(quantized)
    for name in plain.layers:
        difference = (plain.run_layer(name, codes) - codes[name]).abs()
        assert difference.max() <= 1
        assert (difference > 0).float().mean() < 0.01


def test_a_layer_names_the_codes_that_it_reads():
    plain = FakeQuant(small_network())
    assert plain.reads("relu2.u8") == ("pool1", "relu6.u4")
    assert plain.reads("relu1.u4") == ("x.u8",)


def block(quantizer: Quantizer, pad_code: int | None = None) -> QuantizedGraph:
    """u8 codes with zero point 100, a padded convolution, ReLU, and a quantizer."""
    rng = np.random.default_rng(0)
    weight = rng.integers(-8, 8, (4, 3, 3, 3)).astype(np.int8)
    grid = Grid(IntType(True, 4), Scale((-4, -3, -5, -4), True), axis=0)
    geometry = {"stride": (1, 1), "padding": (1, 1, 1, 1), "dilation": (1, 1), "groups": 1}
    nodes = (
        FloatNode("conv", "conv2d", ("x",), geometry),
        FloatNode("relu", "relu", ("conv",)),
        FloatNode("relu.q", "quantize", ("relu",)),
    )
    shapes = {"x": (None, 3, 6, 6), **{node.name: (None, 4, 6, 6) for node in nodes}}
    graph = FloatGraph({"x": shapes["x"]}, nodes, ("relu.q",), shapes)
    record = QuantizedWeight(Value(TensorType(grid, weight.shape), weight), rng.integers(-99, 99, 4))
    quantizers = {"x": Quantizer(Grid(IntType(False, 8), Scale((-5,), True), (100,))), "relu.q": quantizer}
    return QuantizedGraph(graph, quantizers, {"conv": record}, {}, {} if pad_code is None else {"conv": pad_code})


def activations(quantized: QuantizedGraph, codes: Tensor, outside: float) -> Tensor:
    """What the block's ReLU gives in PyTorch, with real numbers all the way."""
    record = quantized.weights["conv"]
    scale = torch.tensor([2.0**-4, 2.0**-3, 2.0**-5, 2.0**-4])
    x = F.pad((codes.float() - 100) * 2.0**-5, (1, 1, 1, 1), value=outside)
    weight = torch.from_numpy(record.weight.codes).float() * scale.reshape(-1, 1, 1, 1)
    return F.relu(F.conv2d(x, weight, torch.from_numpy(record.bias).float() * scale * 2.0**-5))


CODES = torch.from_numpy(np.random.default_rng(1).integers(0, 256, (9, 3, 6, 6)))


@pytest.mark.parametrize("zero", [0, 3])
def test_a_block_is_what_pytorchs_fake_quantizers_make_of_it(zero):
    quantized = block(Quantizer(Grid(IntType(False, 4), Scale((-1,), True), (zero,))))
    expected = torch.fake_quantize_per_tensor_affine(activations(quantized, CODES, 0.0), 0.5, zero, 0, 15)
    assert expected.unique().numel() > 8
    plain = FakeQuant(quantized)
    torch.testing.assert_close(plain.run(CODES)["relu.q"], expected, rtol=0, atol=0)
    codes = plain.run_layer("relu.q", {"x": CODES})
    torch.testing.assert_close((codes - zero) * 0.5, expected, rtol=0, atol=0)


def test_a_pad_code_pads_with_what_it_stands_for():
    quantized = block(Quantizer(Grid(IntType(False, 8), Scale((-3,), True))), pad_code=140)
    expected = torch.fake_quantize_per_tensor_affine(activations(quantized, CODES, 40 / 32), 0.125, 0, 0, 255)
    torch.testing.assert_close(FakeQuant(quantized).run(CODES)["relu.q"], expected, rtol=0, atol=0)


@pytest.mark.parametrize("strict", [False, True])
def test_learned_thresholds_are_counted(strict):
    thresholds = np.array([0.0, 1.25, 3.0])
    quantized = block(Quantizer(Grid(IntType(False, 2), Scale((0,), True)), thresholds=thresholds, strict=strict))
    values = activations(quantized, CODES, 0.0)[..., None]
    passed = values > torch.tensor([0.0, 1.25, 3.0]) if strict else values >= torch.tensor([0.0, 1.25, 3.0])
    assert torch.equal(FakeQuant(quantized).run_layer("relu.q", {"x": CODES}), passed.sum(-1))


def test_the_zero_point_may_come_before_the_rounding():
    grid = Grid(IntType(False, 6), Scale((-1,), True), (3,))
    quantized = block(Quantizer(grid, zero_point_first=True))
    values = activations(quantized, CODES, 0.0)
    plain = FakeQuant(quantized).run_layer("relu.q", {"x": CODES})
    assert torch.equal(plain, torch.round(values * 2 + 3).clamp(0, 63).long())
    after = FakeQuant(replace(quantized, quantizers=quantized.quantizers | {"relu.q": Quantizer(grid)}))
    assert not torch.equal(after.run_layer("relu.q", {"x": CODES}), plain)  # ties fall on the other side of odd zeros
