"""Text and file keep a graph to the last bit."""

from __future__ import annotations

import numpy as np
import pytest

from intsim.backends.reference import ReferenceBackend
from intsim.errors import GraphError
from intsim.ir.check import check
from intsim.ir.graph import Graph
from intsim.ir.op import OPS
from intsim.ir.text import parse_graph, print_graph
from tests.ir.sample import every_operator


def assert_equal_graphs(a: Graph, b: Graph) -> None:
    assert dict(a.inputs) == dict(b.inputs)
    assert a.nodes == b.nodes
    assert a.outputs == b.outputs
    assert dict(a.metadata) == dict(b.metadata)
    assert list(a.constants) == list(b.constants)
    for name, value in a.constants.items():
        assert value.type == b.constants[name].type
        np.testing.assert_array_equal(value.codes, b.constants[name].codes)
        assert value.codes.dtype == b.constants[name].codes.dtype


def test_the_sample_has_every_operator():
    assert {node.mnemonic for node in check(every_operator())} == set(OPS)


def test_printing_and_parsing_is_exact():
    graph = every_operator()
    again = parse_graph(print_graph(graph))
    assert_equal_graphs(graph, again)
    assert print_graph(again) == print_graph(graph)


def test_a_parsed_graph_runs_as_the_printed_one():
    graph = every_operator()
    x = np.random.default_rng(1).normal(size=(3, 4, 6, 6)).astype(np.float32)
    expected = ReferenceBackend(graph).run(x)
    for name, value in ReferenceBackend(parse_graph(print_graph(graph))).run(x).items():
        np.testing.assert_array_equal(value.codes, expected[name].codes)


def test_every_attribute_is_shown():
    line = next(line for line in print_graph(every_operator(), elide=True).splitlines() if line.startswith("%q = "))
    assert 'rounding="half_up"' in line
    assert "zero_point_first=true" in line
    assert "low=0 high=14" in line
    assert line.endswith(": u4[N, 4, 5, 4]")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("conv2d(", "conv3d(", "unknown operator 'conv3d'"),
        ("stride=[1, 2]", "stride=[1, 2, 3]", "stride: expected"),
        ('rounding="half_up"', 'rounding="up"', "rounding: expected Rounding"),
        ("%q.shift)", "%q.shaft)", "reads 'q.shaft', which nothing before it makes"),
        ("s20[N, 4, 5, 4]", "s20[N, 4, 5, 5]", "the text says"),
        ("output %fc", "output %fd", "output 'fd' is not made"),
    ],
)
def test_what_does_not_parse_is_named(old, new, message):
    text = print_graph(every_operator())
    assert old in text
    with pytest.raises(GraphError, match=message):
        parse_graph(text.replace(old, new, 1))
