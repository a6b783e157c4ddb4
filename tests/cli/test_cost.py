"""intsim cost and intsim targets: the figures of the cost model, with the fields that others read."""

from __future__ import annotations

import pytest

from intsim.costing import assigned_layers, estimate, layers_of, list_targets, load_target, resident_layers
from intsim.ir.file import load

pytestmark = pytest.mark.torchless

TOPOLOGY = """Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,
Conv1, 34, 34, 3, 3, 3, 16, 1,
"""


@pytest.mark.parametrize("target", [name for name in list_targets() if load_target(name).size])
def test_the_document_is_the_estimate(intsim, model, target):
    result = intsim("cost", model, "--target", target, "--batch", 2, "--array", "8x4", "--json")
    assert result.status == 0
    graph = load(model).graph
    layers = resident_layers(layers_of(graph), graph, load_target(target), 2)
    assert result.json == estimate(layers, target, "8x4", 2).to_dict()
    fields = {"name", "macs", "cycles", "compute_cycles", "stall_cycles", "dram_bits", "energy_pj"}
    assert {"target", "total_cycles", "compute_cycles", "stall_cycles", "energy_pj"} <= set(result.json)
    assert all(fields <= set(layer) for layer in result.json["layers"])


def test_the_table_names_every_layer_and_the_total(intsim, model):
    result = intsim("cost", model, "--target", "bitfusion")
    assert result.status == 0
    assert all(name in result.out for name in ("conv", "product", "fc", "total", "note: "))


def test_several_targets_stand_side_by_side(intsim, model):
    targets = ("systolic_ws", "bitfusion")
    options = [argument for target in targets for argument in ("--target", target)]
    graph = load(model).graph
    expected = [estimate(resident_layers(layers_of(graph), graph, load_target(name)), name) for name in targets]
    document = intsim("cost", model, *options, "--json").json
    assert document == {"estimates": [result.to_dict() for result in expected]}
    result = intsim("cost", model, *options)
    assert result.status == 0
    (total,) = (line.split() for line in result.out.splitlines() if line.strip().startswith("total"))
    assert total[1:4] == [f"{n:,}" for n in (expected[0].macs, *(e.total_cycles for e in expected))]
    assert all(f"note: {e.target}: {note}" in result.out for e in expected for note in e.notes)


def test_several_widths_stand_side_by_side(intsim, model, tmp_path):
    graph, file = load(model).graph, tmp_path / "widths.toml"
    file.write_text('[layer."conv"]\nweight_bits = 3\n')
    expected = []
    for target in ("systolic_ws", "bitfusion"):
        for widths in ("8/8", "2/4", file):
            layers = assigned_layers(layers_of(graph), widths)
            result = estimate(resident_layers(layers, graph, load_target(target)), target)
            expected.append(result.to_dict() | {"widths": str(widths)})
    options = ("--target", "systolic_ws", "--target", "bitfusion", "--widths", "8/8", "--widths", "2/4")
    assert intsim("cost", model, *options, "--widths", file, "--json").json == {"estimates": expected}
    table = intsim("cost", model, *options).out
    assert all(label in table for label in ("systolic_ws 8/8 cycles", "bitfusion 2/4 pJ"))


@pytest.mark.parametrize("widths", ["8", "8/", "0/8", "4/4/4", "a/b", "nowhere.toml"])
def test_widths_that_are_none(intsim, model, widths):
    assert (
        f"widths {'' if '.' in widths else repr(widths)}"
        in intsim("cost", model, "--target", "bitfusion", "--widths", widths).complaint
    )


def test_real_activations_are_those_of_the_models_own_widths(intsim, model, data):
    arguments = ("--target", "loom", "--data", data, "--widths", "4/4")
    assert "leave the widths out" in intsim("cost", model, *arguments).complaint


def test_a_topology_has_a_cost_too(intsim, tmp_path):
    path = tmp_path / "net.csv"
    path.write_text(TOPOLOGY)
    result = intsim("cost", path, "--target", "systolic_ws", "--json")
    assert [(layer["name"], layer["macs"]) for layer in result.json["layers"]] == [("Conv1", 32 * 32 * 27 * 16)]


@pytest.mark.parametrize(
    ("target", "message"),
    [("bitfuson", "did you mean 'bitfusion'"), ("mine.toml", "cannot be read"), ("", "unknown")],
)
def test_an_unknown_target_names_those_there_are(intsim, model, target, message):
    complaint = intsim("cost", model, "--target", target).complaint
    assert message in complaint
    assert "systolic_ws" in complaint


@pytest.mark.parametrize("arguments", [("--array", "8"), ("--array", "0x8"), ("--batch", "0")])
def test_extents_are_positive(intsim, model, arguments):
    assert arguments[0].strip("-") in intsim("cost", model, "--target", "bitfusion", *arguments).complaint


def test_targets_lists_them_all(intsim):
    document = intsim("targets", "--json").json
    assert [target["name"] for target in document["targets"]] == list_targets()
    table = intsim("targets").out
    assert all(name in table for name in list_targets())


def test_real_activations_save_cycles_where_leading_zeros_are_skipped(intsim, model, data):
    def cycles(target, *arguments):
        return intsim("cost", model, "--target", target, *arguments, "--json").json["compute_cycles"]

    assert cycles("loom", "--data", data) < cycles("loom")
    assert cycles("stripes", "--data", data) == cycles("stripes")


def test_a_topology_has_no_activations(intsim, tmp_path, data):
    path = tmp_path / "net.csv"
    path.write_text(TOPOLOGY)
    assert "no activations" in intsim("cost", path, "--target", "loom", "--data", data).complaint
