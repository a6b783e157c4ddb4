"""Units of reconstruction: what stands together, what it ends with, and groups that make no sense."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from intsim.calibrate.place import place
from intsim.calibrate.settings import Settings
from intsim.calibrate.units import Unit, find_units, growing
from intsim.calibrate.widths import layer_widths
from intsim.errors import CalibrationError
from intsim.frontend.capture import capture
from intsim.ir.float_graph import FloatGraph


class Residual(nn.Module):
    """A stem, a block with a projection in its shortcut, an identity block, an inverted residual without addition."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.first = nn.ModuleDict({"a": nn.Conv2d(4, 6, 3, padding=1), "b": nn.Conv2d(6, 6, 3, padding=1)})
        self.shortcut = nn.Conv2d(4, 6, 1)
        self.second = nn.ModuleDict({name: nn.Conv2d(6, 6, 3, padding=1) for name in "abc"})
        self.inverted = nn.ModuleDict({"expand": nn.Conv2d(6, 12, 1), "project": nn.Conv2d(12, 4, 1)})
        self.tail = nn.Conv2d(4, 8, 1)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x))
        y = self.first["b"](torch.relu(self.first["a"](x)))
        x = torch.relu(y + self.shortcut(x))
        y = torch.relu(self.second["b"](torch.relu(self.second["a"](x))))
        x = torch.relu(self.second["c"](y) + x)
        x = self.inverted["project"](torch.relu(self.inverted["expand"](x)))
        return self.fc(torch.relu(self.tail(x)).mean(dim=(2, 3)))


@pytest.fixture(name="graph", scope="module")
def placed_graph() -> FloatGraph:
    graph = capture(Residual(), torch.randn(2, 3, 6, 6))
    settings = Settings(weight_bits=4, act_bits=4)
    return place(graph, layer_widths(graph, settings), settings).graph


def layers(units: list[Unit]) -> list[tuple[str, ...]]:
    return [unit.layers for unit in units]


def test_layers_are_consecutive_and_complete(graph: FloatGraph) -> None:
    units = find_units(graph, "layer")
    assert [node for unit in units for node in unit.nodes] == list(graph.nodes)
    assert all(len(unit.layers) == 1 and unit.name == unit.layers[0] for unit in units)


def test_blocks_end_behind_the_addition_and_its_activation(graph: FloatGraph) -> None:
    units = find_units(graph, "block")
    assert layers(units) == [
        ("stem",),
        ("first.a", "first.b", "shortcut"),
        ("second.a", "second.b", "second.c"),
        ("inverted.expand", "inverted.project"),
        ("tail",),
        ("fc",),
    ]
    assert [unit.name for unit in units][1:4] == ["first.a..shortcut", "second", "inverted"]
    ends = [graph.by_name[unit.targets[-1]].op for unit in units]
    assert ends == ["relu", "relu", "relu", "conv2d", "relu", "linear"]
    assert all(len(unit.targets) == 1 for unit in units)


def test_pairs_overlap_within_blocks_only(graph: FloatGraph) -> None:
    assert layers(find_units(graph, "pairs"))[3:6] == [
        ("second.a", "second.b"),
        ("second.b", "second.c"),
        ("inverted.expand", "inverted.project"),
    ]


def test_the_network_is_one_unit(graph: FloatGraph) -> None:
    (unit,) = find_units(graph, "network")
    assert unit.nodes == graph.nodes and unit.targets == graph.outputs


def test_groups_take_layers_and_modules(graph: FloatGraph) -> None:
    units = find_units(graph, "stem+first+shortcut, second,second.c+inverted, tail+fc")
    assert [len(unit.layers) for unit in units] == [4, 3, 3, 2]


def test_groups_come_in_the_networks_order_whatever_theirs_is(graph: FloatGraph) -> None:
    """A layer trained again behind one that has read its results would leave those stale."""
    rest = ("inverted", "tail", "fc")
    given = ",".join(["second.c", "second.a+second.b", *rest[::-1], "second.a", "stem+first+shortcut"])
    ordered = ",".join(["stem+first+shortcut", "second.a", "second.a+second.b", "second.c", *rest])
    assert layers(find_units(graph, given)) == layers(find_units(graph, ordered))
    assert [unit.name for unit in find_units(graph, given)][1:3] == ["second.a", "second"]


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ("stem,first,shortcut,second,inverted,tail", "'fc' is in none of them"),
        ("stem,first,shortcut,secnd,inverted,tail,fc", "no layer or module 'secnd'; did you mean 'second"),
        ("blok", "no layer or module 'blok'; did you mean 'block'"),
        ("stem+second,first,shortcut,inverted,tail,fc", "'stem\\+second' is no run of neighbours: 'first.a' lies"),
    ],
)
def test_groups_that_make_no_sense_are_one_line(graph: FloatGraph, groups: str, message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        find_units(graph, groups)


def test_a_network_without_additions_is_single_layers() -> None:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2)
    )
    graph = capture(network, torch.randn(2, 3, 6, 6))
    settings = Settings()
    placed = place(graph, layer_widths(graph, settings), settings).graph
    assert layers(find_units(placed, "block")) == layers(find_units(placed, "layer")) == [("0",), ("2",), ("5",)]


def test_what_grows_ends_at_the_last_unit(graph: FloatGraph) -> None:
    units = find_units(graph, "layer")
    drop = growing(units, 0.5)
    shares = [drop(unit) for unit in units]
    assert shares[-1] == 0.5 and shares[0] == pytest.approx(0.5 / len(units))
    assert [b - a for a, b in pairwise(shares)] == pytest.approx([shares[0]] * (len(units) - 1))
