"""What `prove` can show, and what it refuses to."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intsim.arithmetic.accumulate import Accumulator, Overflow
from intsim.arithmetic.rounding import Rounding
from intsim.ir.chain import Chain, Clamp, Divide, Multiply, Offset, PRelu, Step, Terms, ToCodes
from intsim.ir.file import Model
from intsim.ir.graph import Graph
from intsim.ir.quantized import QuantizedGraph
from intsim.ir.types import Value
from intsim.lower import lower
from intsim.verification import prove
from intsim.verification.reach import contraction_reach
from tests.certificate_checker import Checker
from tests.verification.faults import with_constant, with_op
from tests.verification.networks import Builder, small_network

pytestmark = pytest.mark.torchless


def one_layer(steps: tuple[Step, ...], form: str, bias: int = 40) -> QuantizedGraph:
    """Codes u2, a 1x1 convolution to two channels, and the codes u4 that a chain makes of its accumulators."""
    b = Builder("shift", np.random.default_rng(0))
    b.shapes["x"] = (None, 3, 1, 1)
    b.quantize("x.u2", "x", 2, 1.0)
    b.contract("conv", "x.u2", (2, 3, 1, 1), 4, (2, 1, 1),
               stride=(1, 1), padding=(0, 0, 0, 0), dilation=(1, 1), groups=1)  # fmt: skip
    b.quantize("out", "conv", 4, 1.0)
    b.chains["out"] = Chain(("conv",), steps, form)
    b.weights["conv"] = replace(b.weights["conv"], bias=np.array([bias, -bias // 2]))
    return b.finish(("out",))


def tail(rounding: Rounding = Rounding.HALF_EVEN, zero: int = 0, first: bool = False) -> ToCodes:
    return ToCodes(rounding, zero, first, 0, 15)


def f64(*values: float) -> np.ndarray:
    return np.array(values if len(values) > 1 else values[0])


DYADIC = st.integers(-255, 255).map(lambda m: m / 256)
REAL = st.floats(-2, 2, allow_subnormal=False)


@settings(max_examples=25)
@given(
    st.tuples(REAL, REAL), st.tuples(REAL, REAL), REAL, st.sampled_from([None, 0.0, 0.25]), st.sampled_from(Rounding),
    st.booleans(),
)  # fmt: skip
def test_any_monotone_chain_is_proved_with_the_thresholds_that_lowering_gives(
    scale: tuple[float, float],
    factor: tuple[float, float],
    offset: float,
    slope: float | None,
    rule: Rounding,
    first: bool,
) -> None:
    slopes = () if slope is None else (PRelu(f64(slope, 0.5)),)
    steps = (Terms((f64(*scale),)), Multiply(f64(*factor)), Offset(f64(offset)), *slopes, Divide(f64(0.7)),
             tail(rule, 0, first))  # fmt: skip
    quantized = one_layer(steps, "threshold")
    model = Model(lower(quantized), quantized)
    certificate = prove(model)
    assert certificate.proved, certificate.problems
    Checker(model).check(certificate.to_dict())


@settings(max_examples=25)
@given(
    st.tuples(DYADIC, DYADIC), st.sampled_from(Rounding), st.tuples(st.integers(0, 8), st.integers(0, 30)),
    st.sampled_from([1, -1, 40]),
)  # fmt: skip
def test_multipliers_are_proved_and_others_only_where_every_code_is_the_same(
    coefficients: tuple[float, float], rule: Rounding, bounds: tuple[int, int], change: int
) -> None:
    low, high = sorted(bounds)
    steps = (Terms((f64(*coefficients),)), Clamp(low / 2, high / 2), tail(rule))
    quantized = one_layer(steps, "multiplier")
    model = Model(lower(quantized), quantized)
    certificate = prove(model)
    assert certificate.proved, certificate.problems
    Checker(model).check(certificate.to_dict())
    changed = with_constant("out.multiplier", lambda m: m + change)(model.graph)
    assert prove(Model(changed, quantized)).proved == (all_codes(changed) == all_codes(model.graph))


def all_codes(graph: Graph) -> list[list[int]]:
    """Codes of "out" for every accumulator that each channel of "conv" can reach."""
    reach, _, _ = contraction_reach(graph, graph.by_name["conv"])
    found = []
    for channel in range(2):
        low, high = reach.at(channel)
        x = Value(graph.types["conv"], np.arange(low, high + 1).reshape(-1, 1, 1, 1).repeat(2, axis=1).astype(np.int32))
        node = graph.by_name["out"]
        codes = node.op.evaluate(x, *(graph.constants[name] for name in node.inputs[1:]))
        found.append(codes[:, channel, 0, 0].tolist())
    return found


def test_a_chain_that_rises_and_falls_is_tried_on_every_accumulator() -> None:
    steps = (Terms((f64(0.25),)), PRelu(f64(-0.5)), tail())
    quantized = one_layer(steps, "threshold", bias=60)
    model = Model(lower(one_layer((Terms((f64(0.25),)), PRelu(f64(0.0)), tail()), "threshold", bias=60)), quantized)
    certificate = prove(model)
    (problem,) = certificate.problems
    assert problem[0] == "out" and problem[1].startswith("channel 1: at -")


def test_an_accumulator_that_is_too_narrow_names_the_channel_and_the_width() -> None:
    quantized = one_layer((Terms((f64(0.25),)), tail()), "shift", bias=300)
    narrow = replace(quantized, accumulators={"conv": Accumulator(9)})
    graph = with_op("conv", accumulator=Accumulator(9))(lower(quantized))
    (problem,) = prove(Model(graph, narrow)).problems
    assert problem == ("conv", "channel 0 needs s10 in some order of additions, the accumulator is s9")


@pytest.mark.parametrize("overflow", ["wrap", "saturate"])
def test_a_register_that_overflows_on_purpose_is_proved_over_all_of_its_type(overflow: Overflow) -> None:
    quantized = one_layer((Terms((f64(0.25),)), tail()), "shift")
    register = Accumulator(5, overflow)
    quantized = replace(quantized, accumulators={"conv": register})
    certificate = prove(Model(lower(quantized), quantized))
    assert certificate.proved
    assert certificate.layers[0]["accumulator"] == f"s5 {overflow}"
    assert certificate.layers[0]["partial_bits"] > 5


def test_an_intermediate_beyond_int64_is_refused() -> None:
    quantized = small_network("multiplier")
    graph = lower(quantized)
    changed = with_constant("relu2.u8.shift", lambda s: 0 * s - 31)(graph)
    changed = with_constant("relu2.u8.multiplier0", lambda m: 0 * m + (1 << 30))(changed)
    (problem,) = prove(Model(changed, quantized)).problems
    assert problem[0] == "relu2.u8" and "beyond int64" in problem[1]


def test_a_chain_that_float64_rounds_is_not_proved_by_its_coefficients() -> None:
    quantized = small_network("multiplier")
    chain = quantized.chains["relu2.u8"]
    coefficients = tuple(np.full(4, 1.0 + 2.0**-50) for _ in chain.sources)
    inexact = replace(chain, steps=(Terms(coefficients), *chain.steps[1:]))
    (problem,) = prove(
        Model(lower(quantized), replace(quantized, chains={**quantized.chains, "relu2.u8": inexact}))
    ).problems
    assert problem[0] == "relu2.u8" and "multiply operand 0" in problem[1]


def test_a_node_that_nothing_stands_for_is_a_problem() -> None:
    quantized = small_network("shift")
    graph = lower(quantized)
    node = graph.by_name["flat"]
    extra = replace(graph, nodes=(*graph.nodes, replace(node, name="again")))
    assert prove(Model(extra, quantized)).problems == [("again", "the quantized graph does not have it")]


def test_without_float_chains_only_the_sums_are_proved() -> None:
    graph = lower(small_network("multiplier"))
    certificate = prove(Model(graph))
    assert certificate.proved and not certificate.chains
    assert all("epilogue" not in layer for layer in certificate.layers)


def test_the_layers_of_a_certificate_have_the_fields_that_others_read() -> None:
    quantized = small_network("multiplier")
    calls: list[tuple[str, int, int]] = []
    document = prove(Model(lower(quantized), quantized), lambda *call: calls.append(call)).to_dict()
    assert document["proved"] is True
    assert all({"name", "acc_min", "acc_max", "acc_bits", "witness"} <= set(layer) for layer in document["layers"])
    assert calls[-1] == ("prove", 16, 16)
