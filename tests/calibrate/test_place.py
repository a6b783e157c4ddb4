"""Every contraction, pool and movement reads codes, and every chain between quantizers is one that integers realise."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from intsim.calibrate.place import Placed, place
from intsim.calibrate.settings import LayerWidths, Settings
from intsim.calibrate.widths import layer_widths
from intsim.dtypes import IntType
from intsim.ir.float_graph import AVERAGES, CONTRACTIONS, ELEMENTWISE, MOVEMENTS, FloatGraph
from tests.calibrate.networks import Network, networks, residual_network


def placed(graph: FloatGraph, settings: Settings = Settings(weight_bits=4, act_bits=4)) -> Placed:  # noqa: B008
    result = place(graph, layer_widths(graph, settings), settings)
    assert_well_placed(result, graph)
    return result


def assert_well_placed(result: Placed, original: FloatGraph) -> None:
    """The invariants of a placement, whatever the network."""
    graph = result.graph
    kinds = dict.fromkeys(graph.inputs, "float")  # float, codes, sum, accumulator, or pending elementwise results
    assert [node.name for node in graph.nodes if node.op != "quantize"] == [node.name for node in original.nodes]
    for node in graph.nodes:
        operands = [kinds[name] for name in node.inputs]  # a KeyError: not in order of evaluation
        assert node.name not in kinds
        if node.op in CONTRACTIONS | AVERAGES | MOVEMENTS:
            assert set(operands) == {"codes"}, f"{node} reads {operands}"
            kinds[node.name] = "codes" if node.op in MOVEMENTS else "accumulator" if node.op in CONTRACTIONS else "sum"
        elif node.op == "quantize":
            assert node.name in result.elements
            kinds[node.name] = "codes"
        else:
            assert node.op in ELEMENTWISE
            assert set(operands) <= {"codes", "accumulator", "pending"}
            if node.op == "add":
                assert operands.count("accumulator") <= 1 and "pending" not in operands
            if node.op == "function":
                assert operands == ["codes"]
                assert result.elements.get(node.inputs[0], IntType(False, 8)).bits <= 8
            kinds[node.name] = "pending"
        for name, kind in zip(node.inputs, operands, strict=True):
            if kind in ("pending", "accumulator", "sum"):
                assert [reader.name for reader in graph.consumers[name]] == [node.name], f"{name} has other readers"
        assert graph.shapes[node.name] is not None
    for name in graph.outputs:
        assert kinds[name] in ("codes", "accumulator")
    for name, element in result.elements.items():
        assert 2 <= element.bits <= 8
        assert graph.shapes[name] == graph.shapes[graph.by_name[name].inputs[0]]


def elements(result: Placed) -> dict[str, str]:
    return {name: str(element) for name, element in result.elements.items()}


def test_a_residual_block() -> None:
    result = placed(residual_network())
    assert elements(result) == {
        "x.u8": "u8",
        "stem.relu.u8": "u8",  # the stream
        "stem.relu.u4": "u4",  # what block.conv1 wants of it
        "block.relu.u4": "u4",
        "block.out.u8": "u8",
        "mean.pool.u8": "u8",
    }
    add = result.graph.by_name["block.add"]
    assert add.inputs == ("block.conv2", "stem.relu.u8"), "the accumulator is added unrounded"
    assert result.graph.by_name["stem.relu.u4"].inputs == ("stem.relu.u8",)
    assert result.graph.by_name["block.conv1"].inputs == ("stem.relu.u4",)
    assert result.graph.by_name["mean.pool"].inputs == ("block.out.u8",)
    assert result.graph.outputs == ("head",)


def test_the_stream_has_its_own_width() -> None:
    result = placed(residual_network(), Settings(act_bits=6, residual_bits=5))
    assert elements(result)["stem.relu.u5"] == "u5"
    assert result.graph.by_name["block.conv1"].inputs == ("stem.relu.u5",), "no wider than it is stored"
    assert elements(result)["block.out.u8"] == "u8", "no addition reads it: the pool passes the last layer's width on"


def test_one_narrowed_copy_serves_all_layers_of_a_width() -> None:
    net = Network(x=(3, 4, 4))
    stem = net.relu("relu", net.conv("stem", "x", 4))
    branches = [net.conv(name, stem, 4) for name in ("a", "b", "c")]
    total = net.add("add", *branches[:2], stem)
    tail = net.conv("tail", net.relu("out", total), 2)
    settings = Settings(act_bits=4, widths={"c": LayerWidths(act_bits=3)})
    result = placed(net.graph(tail, branches[2]), settings)
    assert [result.graph.by_name[name].inputs[0] for name in ("a", "b", "c")] == ["relu.u4", "relu.u4", "relu.u3"]
    assert result.graph.by_name["relu.u3"].inputs == ("relu.u8",)
    assert result.graph.by_name["add"].inputs == ("a.u8", "b", "relu.u8"), "the last accumulator alone is fused"


def test_an_accumulator_that_others_read_too_is_not_fused() -> None:
    net = Network(x=(3, 4, 4))
    first = net.conv("first", "x", 4)
    total = net.add("add", first, net.conv("second", first, 4))
    result = placed(net.graph(net.conv("last", total, 2)))
    assert result.graph.by_name["add"].inputs == ("first.u8", "second")
    doubled = Network(x=(3, 4, 4))
    total = doubled.add("add", *(doubled.conv("first", "x", 4),) * 2)
    assert placed(doubled.graph(doubled.conv("last", total, 2))).graph.by_name["add"].inputs == ("first.u8",) * 2


def test_a_strided_shortcut_moves_the_stream() -> None:
    net = Network(x=(3, 4, 4))
    stem = net.relu("relu", net.conv("stem", "x", 4))
    half = net.node("slice", "slice", stem, (None, 4, 2, 2), starts=(0,) * 4, stops=(0, 4, 4, 4), steps=(1, 1, 2, 2))
    wide = net.node("pad", "pad", half, (None, 6, 2, 2), before=(0, 1, 0, 0), after=(0, 1, 0, 0))
    inner = net.node("conv", "conv2d", stem, (None, 6, 2, 2), {"weight": np.ones((6, 4, 3, 3))},
                     stride=(2, 2), padding=(1,) * 4, dilation=(1, 1), groups=1)  # fmt: skip
    result = placed(net.graph(net.conv("last", net.relu("out", net.add("add", inner, wide)), 2)))
    assert result.graph.by_name["slice"].inputs == ("relu.u8",)
    assert result.graph.by_name["add"].inputs == ("conv", "pad")


def test_operands_of_a_concatenation_share_a_grid() -> None:
    net = Network(x=(3, 4, 4))
    left = net.relu("left", net.conv("a", "x", 2))
    right = net.conv("b", left, 2)
    joined = net.concat("concat", left, right)
    result = placed(net.graph(net.conv("last", joined, 2), joined), Settings(act_bits=5, act_grid="symmetric"))
    names = ("concat.0.s8", "concat.1.s8")
    assert result.ties == {"concat": names}
    assert result.graph.by_name["concat"].inputs == names
    assert result.graph.by_name["concat.0.s8"].inputs == ("left.u8",), "others read it, so it is stored by itself"
    assert result.graph.by_name["concat.1.s8"].inputs == ("b",), "straight from the accumulators"


def test_functions_read_eight_bits_and_absorb_what_is_one_for_all_channels() -> None:
    net = Network(x=(3, 4, 4))
    gate = net.node("gate", "function", net.conv("a", "x", 2), function="sigmoid")
    halved = net.node("half", "mul", gate, arrays={"factor": 0.5})
    scaled = net.node("scale", "mul", halved, arrays={"factor": [0.5, 2.0]})
    result = placed(net.graph(net.conv("last", scaled, 2)), Settings(act_bits=4, first_last_bits=4))
    assert elements(result) == {"x.u4": "u4", "a.u8": "u8", "half.u8": "u8", "scale.u4": "u4"}


def test_what_thresholds_realise_does_not_follow_an_addition() -> None:
    net = Network(x=(3, 4, 4))
    first = net.conv("first", "x", 4)
    total = net.add("add", first, net.conv("second", first, 4))
    bent = net.node("prelu", "prelu", total, arrays={"slope": 0.1})
    result = placed(net.graph(net.conv("last", bent, 2)))
    assert result.graph.by_name["prelu"].inputs == ("add.u8",)
    clamped = net.node("clamp", "clamp", net.conv("third", "prelu", 4), low=0.0, high=6.0)
    result = placed(net.graph(net.conv("tail", clamped, 2), "prelu"))
    assert result.graph.outputs == ("tail", "prelu.u8")


def test_signed_codes_where_a_symmetric_grid_may_meet_negative_values() -> None:
    net = Network(x=(3, 4, 4))
    bottleneck = net.conv("bottleneck", net.relu("relu", net.conv("a", "x", 2)), 2)
    graph = net.graph(net.conv("last", net.conv("c", bottleneck, 2), 2))
    symmetric = placed(graph, Settings(act_bits=4, act_grid="symmetric"))
    assert elements(symmetric) == {"x.s8": "s8", "relu.u4": "u4", "bottleneck.s4": "s4", "c.s8": "s8"}
    assert set(elements(placed(graph)).values()) == {"u8", "u4"}


def test_a_product_of_activations_reads_codes() -> None:
    net = Network(a=(3, 4), b=(4, 5))
    product = net.node("product", "matmul", ("a", "b"), (None, 3, 5))
    result = placed(net.graph(product), Settings(act_bits=7))
    assert result.graph.by_name["product"].inputs == ("a.u7", "b.u7")


def test_names_that_are_taken_get_longer() -> None:
    net = Network(x=(3, 4, 4))
    net.relu("a.u4", net.conv("a", "x", 2))
    result = placed(net.graph(net.conv("last", net.add("add", "a.u4", net.conv("a.u4.u8", "a", 2)), 2)))
    assert len({node.name for node in result.graph.nodes}) == len(result.graph.nodes)


@given(networks(), st.integers(2, 8), st.integers(2, 8), st.sampled_from(["symmetric", "asymmetric"]))
def test_any_network_is_well_placed(graph: FloatGraph, act_bits: int, residual_bits: int, act_grid: str) -> None:
    placed(graph, Settings(act_bits=act_bits, residual_bits=residual_bits, act_grid=act_grid))  # type: ignore[arg-type]


def test_the_width_of_a_pool_is_the_layers_behind_it() -> None:
    net = Network(x=(3, 4, 4))
    body = net.relu("relu", net.conv("b", net.relu("r", net.conv("a", "x", 4)), 4))
    result = placed(net.graph(net.linear("head", net.mean("mean", body), 5)), Settings(act_bits=3))
    assert elements(result) == {"x.u8": "u8", "r.u3": "u3", "relu.u8": "u8", "mean.pool.u8": "u8"}
