"""Chains: the dequantized float formula within half a step, and exact in float64 where integers realise them."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from numpy.typing import NDArray

from intsim.arithmetic.rounding import Rounding
from intsim.calibrate.chains import build_chain, snap
from intsim.dtypes import IntType
from intsim.errors import CalibrationError
from intsim.ir.chain import Chain, CountThresholds, Divide, Terms, ToCodes
from intsim.ir.float_graph import FloatNode
from intsim.ir.quantized import QuantizedGraph, QuantizedWeight, Quantizer
from intsim.ir.types import Grid, Scale, TensorType, Value
from intsim.lower import lower
from tests.calibrate.networks import Network

FORMS = ["pow2", "multiplier", "threshold"]


def quantizer(element: str, scale: float, zero: int = 0, power_of_two: bool = False, **options: Any) -> Quantizer:
    return Quantizer(Grid(IntType.parse(element), Scale.of(scale, power_of_two), (zero,)), **options)


class Case:
    """A convolution of 1x1 over 3 channels, whatever follows it, and a quantizer `q`; a stream `s` beside it."""

    def __init__(self, seed: int, power_of_two: bool = False, weight_bits: int = 4, step: float = 0.05):
        self.random = np.random.default_rng(seed)
        self.power_of_two, self.step = power_of_two, 2.0 ** np.floor(np.log2(step)) if power_of_two else step
        self.net = Network(a=(3, 5, 5), s=(4, 5, 5))
        self.net.conv("conv", "a", 4, kernel=1)
        element = IntType(True, weight_bits)
        codes = self.random.integers(element.min, element.max + 1, (4, 3, 1, 1)).astype(element.storage)
        scales = 2.0 ** self.random.integers(-8, -3, 4) if power_of_two else self.random.uniform(0.01, 0.2, 4)
        grid = Grid(element, Scale.of(scales, power_of_two), axis=0)
        self.weight = QuantizedWeight(Value(TensorType(grid, codes.shape), codes), self.random.integers(-90, 90, 4))
        self.inputs = {
            "a": quantizer("u4", self.step, 0, power_of_two),
            "s": quantizer("u8", self.step, 9, power_of_two),
        }

    def chain(self, result: str, out: Quantizer, scales: str) -> tuple[QuantizedGraph, Chain]:
        self.net.node("q", "quantize", result)
        graph = self.net.graph("q")
        quantized = QuantizedGraph(graph, {**self.inputs, "q": out}, {"conv": self.weight}, {})
        chain = build_chain(quantized, graph.nodes[-1], scales)  # type: ignore[arg-type]
        return replace(quantized, chains={"q": chain}), chain

    def accumulators(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Levels (N, 4, 1, 1) that the convolution can reach, and what they stand for."""
        levels = self.random.integers(-400, 400, (200, 4, 1, 1))
        scale = self.inputs["a"].grid.scale.array * self.weight.weight.type.integer.scale.array
        return levels, levels * scale.reshape(1, 4, 1, 1)


def assert_rounds(codes: NDArray[np.int64], reals: NDArray[np.float64], out: Quantizer) -> None:
    """Codes lie within half a step (and a hair) of the real values, where those are on the grid, else at its end."""
    grid, step = out.grid, float(out.grid.scale.array[0])
    low, high = (step * level for level in grid.level_range())
    assert codes.min() >= grid.element.min and codes.max() <= grid.element.max
    np.testing.assert_allclose(grid.reals(codes), np.clip(reals, low, high), rtol=0, atol=step * 0.5001)


def formula(operators: list[FloatNode], x: NDArray[np.float64]) -> NDArray[np.float64]:
    for node in operators:
        p = {name: array.astype(np.float64).reshape(-1, 1, 1) for name, array in node.arrays.items()}
        match node.op:
            case "relu":
                x = np.maximum(x, 0)
            case "clamp":
                x = np.clip(x, node.attributes["low"], node.attributes["high"])
            case "mul":
                x = x * p["factor"]
            case "affine":
                x = x * p["factor"] + p["offset"]
            case "prelu":
                x = np.where(x < 0, x * p["slope"], x)
    return x


OPERATORS: dict[str, dict[str, Any]] = {
    "relu": {},
    "relu6": {"low": 0.0, "high": 0.7},
    "hardtanh": {"low": -0.5, "high": 0.5},
    "below": {"low": None, "high": 0.4},
    "mul": {"arrays": {"factor": 0.5}},
    "negative": {"arrays": {"factor": -0.5}},
    "channels": {"arrays": {"factor": [0.5, 2.0, -1.0, 0.25]}},
    "affine": {"arrays": {"factor": [0.5, 2.0, 1.0, 0.25], "offset": [0.1, -0.2, 0.0, 1.0]}},
    "prelu": {"arrays": {"slope": [0.1, 0.25, 0.0, 1.0]}},
}
KINDS = {"relu6": "clamp", "hardtanh": "clamp", "below": "clamp", "negative": "mul", "channels": "mul"}


@pytest.mark.parametrize("scales", FORMS)
@pytest.mark.parametrize("element", ["u4", "u8", "s5"])
@pytest.mark.parametrize(
    "operators",
    [(), *((name,) for name in OPERATORS), ("relu", "mul"), ("relu6", "mul"), ("relu6", "negative"),
     ("relu", "channels"), ("mul", "relu6"), ("negative", "relu"), ("relu6", "below"), ("affine", "relu")],
)  # fmt: skip
def test_a_chain_is_the_float_formula(operators: tuple[str, ...], element: str, scales: str) -> None:
    case = Case(seed=len(operators), power_of_two=scales == "pow2")
    value = "conv"
    for i, name in enumerate(operators):
        arguments = OPERATORS[name]
        value = case.net.node(f"{name}{i}", KINDS.get(name, name), value, **arguments)
    zero = 5 if element != "s5" else 0
    out = quantizer(element, 2.0**-4 if scales == "pow2" else 0.07, zero, scales == "pow2")
    quantized, chain = case.chain(value, out, scales)
    levels, reals = case.accumulators()
    codes = chain.evaluate([levels])
    assert_rounds(codes, formula(list(case.net.nodes[1:-1]), reals), out)
    assert codes.min() < codes.max()
    lower(quantized)  # the form is one that integers realise


@pytest.mark.parametrize(
    ("operators", "scales", "element", "form"),
    [
        (("relu",), "pow2", "u8", "shift"),
        (("relu6",), "multiplier", "u8", "multiplier"),
        (("relu",), "threshold", "u6", "threshold"),
        (("relu",), "threshold", "u7", "multiplier"),
        (("prelu",), "multiplier", "u8", "threshold"),
        (("prelu",), "pow2", "u4", "threshold"),
        (("mul",), "pow2", "u4", "shift"),
        (("affine",), "pow2", "u4", "threshold"),
        (("negative",), "pow2", "u4", "multiplier"),
    ],
)
def test_the_form_follows_the_scales(operators: tuple[str, ...], scales: str, element: str, form: str) -> None:
    case = Case(seed=0, power_of_two=scales == "pow2")
    value = "conv"
    for name in operators:
        value = case.net.node(name, KINDS.get(name, name), value, **OPERATORS[name])
    _, chain = case.chain(value, quantizer(element, 0.125, 0, scales == "pow2"), scales)
    assert chain.form == form


@pytest.mark.parametrize("scales", FORMS)
@pytest.mark.parametrize("coefficients", [(1.0, 1.0), (1.0, -1.0)])
def test_an_addition_rounds_once(scales: str, coefficients: tuple[float, float]) -> None:
    case = Case(seed=3, power_of_two=scales == "pow2")
    case.net.node("add", "add", ("conv", "s"), coefficients=coefficients)
    case.net.relu("relu", "add")
    out = quantizer("u8", 2.0**-5 if scales == "pow2" else 0.03, 0, scales == "pow2")
    quantized, chain = case.chain("relu", out, scales)
    assert chain.sources == ("conv", "s")
    levels, reals = case.accumulators()
    codes = case.random.integers(0, 256, levels.shape)
    stream = case.inputs["s"].grid
    total = coefficients[0] * reals + coefficients[1] * stream.reals(codes)
    assert_rounds(chain.evaluate([levels, stream.levels(codes)]), np.maximum(total, 0), out)
    lower(quantized)


@pytest.mark.parametrize("scales", FORMS)
def test_narrowing_codes(scales: str) -> None:
    case = Case(seed=4, power_of_two=scales == "pow2")
    out = quantizer("u4", 2.0**-1 if scales == "pow2" else 0.6, 1, scales == "pow2")
    quantized, chain = case.chain("s", out, scales)
    codes = np.arange(256).reshape(-1, 1, 1, 1).repeat(4, 1)
    grid = case.inputs["s"].grid
    assert_rounds(chain.evaluate([grid.levels(codes)]), grid.reals(codes), out)
    lower(quantized)


@pytest.mark.parametrize("scales", FORMS)
@pytest.mark.parametrize("include_pad", [True, False])
def test_an_average_divides_exactly(scales: str, include_pad: bool) -> None:
    case = Case(seed=5, power_of_two=scales == "pow2")
    case.net.node("pool", "avg_pool", "s", kernel=(3, 3), stride=(1, 1), padding=(1,) * 4,
                  count_include_pad=include_pad)  # fmt: skip
    out = quantizer("u8", 2.0**-5 if scales == "pow2" else 0.041, 7, scales == "pow2")
    quantized, chain = case.chain("pool", out, scales)
    assert chain.form == "divide"
    cells = np.full((5, 5), 9.0) if include_pad else np.outer([2, 3, 3, 3, 2], [2, 3, 3, 3, 2])
    sums = case.random.integers(-9 * 9, 9 * 246, (50, 4, 5, 5))
    assert_rounds(chain.evaluate([sums]), sums * case.step / cells, out)
    divisor = chain.steps[1]
    assert isinstance(divisor, Divide)
    np.testing.assert_array_equal(np.broadcast_to(divisor.divisor, (5, 5)), cells)
    # The division in float64 gives the code of the exact rational, ties included.
    terms, tail = chain.steps[0], chain.tail
    assert isinstance(terms, Terms) and isinstance(tail, ToCodes)
    for total, count in zip(sums[0].ravel(), np.broadcast_to(cells, sums[0].shape).ravel(), strict=True):
        exact = round(Fraction(int(total)) * Fraction(float(terms.coefficients[0])) / int(count)) + 7
        code = chain.evaluate([np.full((1, 4, 5, 5), total)])[0, 0]
        where = (cells == count).nonzero()
        assert code[where[0][0], where[1][0]] == min(max(exact, 0), 255)
    lower(quantized)


def test_a_function_becomes_a_table() -> None:
    case = Case(seed=6)
    case.net.node("f", "function", "s", function="tanh")
    out = quantizer("s8", 1 / 127)
    quantized, chain = case.chain("f", out, "multiplier")
    assert chain.form == "table"
    grid = case.inputs["s"].grid
    codes = np.arange(256).reshape(-1, 1, 1, 1)
    assert_rounds(chain.evaluate([grid.levels(codes)]), np.tanh(grid.reals(codes)), out)
    lower(quantized)


@pytest.mark.parametrize("first", [False, True])
def test_rounding_and_zero_point_are_the_quantizers(first: bool) -> None:
    case = Case(seed=7)
    case.net.relu("relu", "conv")
    out = quantizer("u4", 0.2, 3, rounding=Rounding.HALF_UP, zero_point_first=first)
    _, chain = case.chain("relu", out, "multiplier")
    assert vars(chain.tail) == {
        "rounding": Rounding.HALF_UP, "zero_point": 3, "zero_point_first": first, "low": 3, "high": 15
    }  # fmt: skip


@pytest.mark.parametrize("strict", [False, True])
def test_learned_thresholds_are_compared_on_real_values(strict: bool) -> None:
    case = Case(seed=8)
    case.net.node("prelu", "prelu", "conv", arrays={"slope": 0.25})
    thresholds = np.array([-0.3, 0.1, 0.6])
    out = quantizer("u2", 0.5, thresholds=thresholds, strict=strict)
    quantized, chain = case.chain("prelu", out, "multiplier")
    assert chain.form == "threshold" and isinstance(chain.tail, CountThresholds)
    levels, reals = case.accumulators()
    bent = np.where(reals < 0, reals * 0.25, reals)
    compare = np.greater if strict else np.greater_equal
    expected = compare(bent[..., None], thresholds).sum(axis=-1)
    np.testing.assert_array_equal(chain.evaluate([levels]), expected)
    lower(quantized)


@pytest.mark.parametrize("op", ["add", "pool"])
def test_thresholds_of_a_sum_are_refused(op: str) -> None:
    case = Case(seed=9)
    if op == "add":
        case.net.add("add", "conv", "s")
    else:
        case.net.node("pool", "adaptive_avg_pool", "s", (None, 4, 1, 1), output=(1, 1))
    with pytest.raises(CalibrationError, match="'q': only one accumulator can be compared"):
        case.chain(op, quantizer("u2", 0.5, thresholds=np.array([0.1, 0.2, 0.3])), "multiplier")


@given(st.integers(0, 2**32), st.integers(2, 8), st.integers(1, 3), st.sampled_from(["conv", "add"]))
def test_every_product_and_sum_is_exact_in_float64(seed: int, weight_bits: int, magnitude: int, result: str) -> None:
    case = Case(seed, weight_bits=weight_bits, step=float(np.random.default_rng(seed).uniform(1e-3, 10.0**magnitude)))
    case.weight = replace(case.weight, bias=case.random.integers(-(1 << 31) + 1, 1 << 31, 4))
    case.net.add("add", "conv", "s")
    _, chain = case.chain(result, quantizer("u8", float(case.random.uniform(1e-3, 1))), "multiplier")
    terms = chain.steps[0]
    assert isinstance(terms, Terms)
    low, high = int(case.weight.bias.min()) - (1 << 13), int(case.weight.bias.max()) + (1 << 13)  # type: ignore[union-attr]
    for channel in range(4):
        factors = [Fraction(float(np.broadcast_to(c, (4,))[channel])) for c in terms.coefficients]
        denominator = max(f.denominator for f in factors)
        assert all(abs(f * denominator).numerator.bit_length() <= 32 for f in factors)
        for acc in (low, high, low + 1, high - 1, 12345):
            for code in (-9, 246, 1):
                levels = [np.array(v, np.int64).reshape(1, 1, 1, 1) for v in (acc, code)][: len(factors)]
                exact = sum((f * v for f, v in zip(factors, (acc, code), strict=False)), Fraction(0))
                value = sum(float(f) * float(v.item()) for f, v in zip(factors, levels, strict=True))
                assert Fraction(value) == exact


@given(
    st.lists(st.floats(1e-12, 1e6), min_size=1, max_size=3),
    st.integers(8, 40),
)
def test_snapped_coefficients_share_a_denominator_and_are_near(values: list[float], bits: int) -> None:
    snapped = [Fraction(float(c)) for c in snap([np.float64(v) for v in values], bits)]  # type: ignore[misc]
    kept = min(bits, 31)
    assume(max(values) > 2.0 ** (kept - 62))
    unit = Fraction(max(values)) / 2 ** (kept - 1)
    for value, result in zip(values, snapped, strict=True):
        assert abs(result - Fraction(value)) <= unit / 2
    denominator = max(r.denominator for r in snapped)
    assert denominator & (denominator - 1) == 0
    assert max(int(r * denominator) for r in snapped).bit_length() <= max(kept, 1) or denominator == 1
