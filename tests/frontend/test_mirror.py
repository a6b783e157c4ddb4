"""The mirror is exact: sums of products equal int64 loops, chains equal Python floats, roundings equal fractions."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.nn import functional as F

from intsim.arithmetic.accumulate import Accumulator
from intsim.arithmetic.rounding import Rounding
from intsim.dtypes import IntType
from intsim.errors import BackendError
from intsim.frontend import mirror as module
from intsim.frontend.mirror import Mirror, sums_of_products, window_sums
from intsim.frontend.run_chain import run_chain
from intsim.ir.chain import Chain, Clamp, CountThresholds, Divide, Multiply, Offset, PRelu, Step, Terms, ToCodes
from intsim.ir.float_graph import FloatGraph, FloatNode
from intsim.ir.quantized import QuantizedGraph, QuantizedWeight, Quantizer
from intsim.ir.types import Grid, Scale, TensorType, Value
from tests.arithmetic.rational import RATIONAL
from tests.oracle import convolve, float_code
from tests.verification.networks import images, small_network

ONE = Scale((0,), True)


def layer(
    grid: Grid, shape: tuple[int, int, int], weight: NDArray[Any], element: IntType, step: int = 1,
    bias: NDArray[np.int64] | None = None, pad_code: int | None = None, **geometry: Any,
) -> QuantizedGraph:  # fmt: skip
    """Codes (N, C, H, W) of a grid through one convolution to accumulators."""
    attributes = {"stride": (1, 1), "padding": (0, 0, 0, 0), "dilation": (1, 1), "groups": 1, **geometry}
    node = FloatNode("conv", "conv2d", ("x",), attributes)
    shapes = {"x": (None, *shape), "conv": (None, len(weight), 1, 1)}
    codes = Value(TensorType(Grid(element, ONE, (step - 1,), step, axis=0), weight.shape), weight)
    pads = {} if pad_code is None else {"conv": pad_code}
    graph = FloatGraph({"x": shapes["x"]}, (node,), ("conv",), shapes)
    return QuantizedGraph(graph, {"x": Quantizer(grid)}, {"conv": QuantizedWeight(codes, bias)}, {}, pads)


def sums(quantized: QuantizedGraph, codes: NDArray[Any]) -> NDArray[np.int64]:
    """What the accumulators are, in int64."""
    (node,), record = quantized.graph.nodes, quantized.weights["conv"]
    grid, code = quantized.quantizers["x"].grid, quantized.pad_codes.get("conv")
    zero = np.reshape(grid.zero_point, (1, -1, 1, 1))
    (top, bottom, left, right), op = node.attributes["padding"], SimpleNamespace(**node.attributes)
    levels = grid.step * codes.astype(np.int64) - zero
    batch, channels, height, width = levels.shape
    image = np.zeros((batch, channels, top + height + bottom, left + width + right), np.int64)
    image += 0 if code is None else grid.step * code - zero
    image[:, :, top : top + height, left : left + width] = levels
    weight = record.weight.type.integer
    rows = weight.step * record.weight.codes.astype(np.int64) - weight.zero_point[0]
    bias = 0 if record.bias is None else record.bias[:, None, None]
    return np.stack([convolve(op, one, rows) for one in image]) + bias


GEOMETRIES: dict[str, dict[str, Any]] = {
    "plain": {},
    "strided, padded on two sides": {"stride": (2, 1), "padding": (0, 1, 2, 0)},
    "dilated": {"dilation": (2, 3), "padding": (2, 2, 3, 3)},
    "grouped": {"groups": 2, "padding": (1, 1, 1, 1)},
    "depthwise": {"groups": 4, "stride": (2, 2), "padding": (1, 1, 1, 1)},
}


@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("bits", [2, 8, 16])
@pytest.mark.parametrize("odd", [False, True])
def test_a_convolution_sums_its_products_exactly(geometry, bits, odd):
    rng = np.random.default_rng(bits)
    groups = GEOMETRIES[geometry].get("groups", 1)
    codes_type, weights_type = IntType(False, 8), IntType(True, bits)
    shape = (8, 4 // groups, 3, 3)
    weight = rng.integers(weights_type.min, weights_type.max + 1, shape).astype(weights_type.storage)
    weight[0] = weights_type.min
    # On an odd grid nothing is zero, so a code has to pad; one zero point for each channel otherwise.
    grid = Grid(codes_type, ONE, (255,), 2) if odd else Grid(codes_type, ONE, (3, 128, 0, 255))
    bias = rng.integers(-(1 << 20), 1 << 20, 8)
    quantized = layer(
        grid, (4, 9, 9), weight, weights_type, 2 if odd else 1, bias, 9 if odd else None, **GEOMETRIES[geometry]
    )
    codes = rng.integers(0, 256, (33, 4, 9, 9))
    codes[0] = 255
    result = Mirror(quantized).run(torch.from_numpy(codes))["conv"]
    assert result.dtype == torch.int64
    np.testing.assert_array_equal(result.numpy(), sums(quantized, codes))


def test_float64_takes_over_at_the_bound_of_float32():
    grid, s8, s9 = Grid(IntType(False, 8), ONE), IntType(True, 8), IntType(True, 9)
    # Inputs of 255 meet 514 weights of -128 and a -1: sums of 255 * 65793 = 2**24 - 1, or more with a greater last one.
    below = np.full((1, 514, 1, 1), -128, np.int16)
    below = np.concatenate([below, np.array([-1]).reshape(1, 1, 1, 1)], axis=1).astype(np.int16)
    for element, extra, kind in ((s8, 0, torch.float32), (s9, -255, torch.float64)):
        weight = below.copy()
        weight[0, -1] += extra
        quantized = layer(grid, (515, 1, 1), weight.astype(element.storage), element)
        mirror = Mirror(quantized)
        assert mirror.bounds["conv"] == -255 * int(weight.sum())
        assert (mirror.bounds["conv"] < 1 << 24) == (kind == torch.float32)
        assert mirror.weights["conv"][0].dtype == kind
        codes = np.full((2, 515, 1, 1), 255)
        np.testing.assert_array_equal(mirror.run(torch.from_numpy(codes))["conv"], sums(quantized, codes))


def test_a_linear_layer_and_a_product_of_matrices_are_exact():
    rng = np.random.default_rng(0)
    u8, s8 = IntType(False, 8), IntType(True, 8)
    shapes = {"x": (None, 5, 70), "y": (None, 70, 3), "rows": (None, 5, 4), "product": (None, 5, 3)}
    nodes = FloatNode("rows", "linear", ("x",)), FloatNode("product", "matmul", ("x", "y"))
    graph = FloatGraph({name: shapes[name] for name in "xy"}, nodes, ("rows", "product"), shapes)
    weight, bias = rng.integers(-128, 128, (4, 70)), rng.integers(-9, 9, 4)
    record = QuantizedWeight(Value(TensorType(Grid(s8, ONE, axis=0), (4, 70)), weight.astype(np.int8)), bias)
    quantizers = {"x": Quantizer(Grid(u8, ONE, (7,))), "y": Quantizer(Grid(s8, ONE, (-3,)))}
    x, y = rng.integers(0, 256, (6, 5, 70)), rng.integers(-128, 128, (6, 70, 3))
    results = Mirror(QuantizedGraph(graph, quantizers, {"rows": record}, {})).run(*map(torch.from_numpy, (x, y)))
    np.testing.assert_array_equal(results["rows"], (x - 7) @ weight.T + bias)
    np.testing.assert_array_equal(results["product"], (x - 7) @ (y + 3))


@pytest.mark.parametrize("bits", [9, 16])
def test_a_register_wraps_as_it_is_told_to(bits):
    rng = np.random.default_rng(bits)
    weight = rng.integers(-128, 128, (4, 3, 3, 3)).astype(np.int8)
    quantized = layer(Grid(IntType(False, 8), ONE), (3, 5, 5), weight, IntType(True, 8))
    codes = rng.integers(0, 256, (4, 3, 5, 5))
    wrapping = replace(quantized, accumulators={"conv": Accumulator(bits, "wrap")})
    expected = (sums(quantized, codes) + (1 << bits - 1)) % (1 << bits) - (1 << bits - 1)
    np.testing.assert_array_equal(Mirror(wrapping).run(torch.from_numpy(codes))["conv"], expected)
    with pytest.raises(BackendError, match="conv2d 'conv': the mirror does not saturate"):
        Mirror(replace(quantized, accumulators={"conv": Accumulator(bits, "saturate")}))


def test_sums_beyond_float64_are_refused():
    weight = np.full((1, 1 << 8, 1, 1), -(1 << 40), np.int64)
    grid = Grid(IntType(False, 8), ONE)
    with pytest.raises(BackendError, match="sums of up to 71776119061217280 are beyond float64"):
        Mirror(layer(grid, (1 << 8, 1, 1), weight, IntType(True, 41)))


def test_what_the_caller_allows_makes_nothing_inexact():
    torch.manual_seed(0)
    x = torch.randint(0, 256, (33, 64, 8, 8)).float()
    weight = torch.randint(-128, 128, (64, 64, 3, 3)).float()
    expected = F.conv2d(x.double(), weight.double(), padding=1)
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            with sums_of_products():
                assert torch.equal(F.conv2d(x, weight, padding=1).double(), expected)
                rows = F.linear(x[..., 0, 0], weight[..., 0, 0])
            assert not torch.equal(F.conv2d(x, weight, padding=1).double(), expected)
            assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")
    assert torch.equal(rows.double(), x[..., 0, 0].double() @ weight[..., 0, 0].double().T)


@pytest.mark.parametrize("rounding", Rounding)
@given(
    values=st.lists(
        st.floats(-1e6, 1e6)
        | st.integers(-9, 9).map(lambda n: n / 2)
        | st.sampled_from([0.49999999999999994, -0.49999999999999994, 5e-324, -5e-324]),
        min_size=1,
        max_size=20,
    ),
    zero_point=st.integers(-9, 9),
)
def test_every_rounding_equals_the_one_of_fractions(rounding, values, zero_point):
    tail = ToCodes(rounding, zero_point, False, -2000, 1 << 20)
    chain = Chain(("x",), (Terms((np.asarray(1.0),)), tail), "multiplier")
    codes = run_chain(chain, [torch.tensor(values, dtype=torch.float64)])
    expected = [min(max(RATIONAL[rounding](Fraction(v)) + zero_point, -2000), 1 << 20) for v in values]
    assert codes.long().tolist() == expected


PER_CHANNEL = np.array([0.3, -1.7, 1 / 3])
CHAINS: dict[str, tuple[Step, ...]] = {
    "everything": (
        Offset(np.array([0.1, -2.0, 7e-3])),
        Multiply(PER_CHANNEL),
        PRelu(np.array([0.1, 0.0, 2.5])),
        Clamp(-30.0, 1e3),
        Divide(np.asarray(0.7)),
        ToCodes(Rounding.HALF_EVEN, 5, False, 0, 255),
    ),
    "zero point first": (Divide(PER_CHANNEL), ToCodes(Rounding.HALF_AWAY, -2, True, -128, 127)),
    "reached thresholds": (CountThresholds(np.array([-40.0, 0.0, 0.0, 9.0]), False, -2),),
    "exceeded thresholds": (CountThresholds(np.array([-40.0, 0.0, 0.0, 9.0]), True, 1),),
}


@pytest.mark.parametrize("name", CHAINS)
def test_chains_equal_python_floats(name):
    chain = Chain(("x",), (Terms((np.array([1.0, 0.37, 3.0]),)), *CHAINS[name]), "threshold")
    levels = np.arange(-120, 120)
    codes = run_chain(chain, [torch.from_numpy(levels).double().expand(2, 3, -1)])
    expected = [[float_code(chain, channel, level) for level in levels.tolist()] for channel in range(3)]
    np.testing.assert_array_equal(codes, [expected] * 2)


@pytest.mark.parametrize("output", [(2, 2), (3, 5), (7, 4), (1, 1)])
def test_adaptive_windows_are_those_of_pytorch(output):
    x = torch.randint(-99, 99, (2, 3, 7, 9)).double()
    node = FloatNode("pool", "adaptive_avg_pool", ("x",), {"output": output})
    total, cells = window_sums(node, x), window_sums(node, torch.ones_like(x))
    torch.testing.assert_close(total / cells, F.adaptive_avg_pool2d(x, output), rtol=1e-12, atol=1e-12)
    assert torch.equal(total, total.round())


def test_images_in_pieces_give_what_they_give_at_once(monkeypatch):
    quantized, x = small_network("shift"), torch.from_numpy(images(7))
    whole = Mirror(quantized).run(x)
    monkeypatch.setattr(module, "ELEMENTS_AT_ONCE", 400)
    pieces = Mirror(quantized).run(x)
    assert whole.keys() == pieces.keys()
    assert all(torch.equal(whole[name], pieces[name]) for name in whole)
    wanted = Mirror(quantized).run(x, wanted=["conv2", "linear"])
    assert set(wanted) == {"conv2", "linear"}
    assert torch.equal(wanted["linear"], whole["linear"])
