"""Widths in place of a network's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from intsim.costing import Layer, assigned_layers
from intsim.costing.assignment import uniform_layers
from intsim.errors import CostError
from tests.costing.layers import conv

pytestmark = pytest.mark.torchless

NETWORK = [conv("a", 3, 8, 6, 3), Layer("qk", "matmul", 8, 8, 8, 8, 8), conv("b", 8, 8, 6, 3), conv("c", 8, 8, 6, 3)]


def widths(layers: list[Layer]) -> list[tuple[int, int, int]]:
    return [(layer.weight_bits, layer.act_bits, layer.out_bits) for layer in layers]


def test_the_same_everywhere() -> None:
    """Both operands of a product of activations have their width, and results stay as wide as they are."""
    assert widths(assigned_layers(NETWORK, "2/5")) == [(2, 5, 8), (5, 5, 8), (2, 5, 8), (2, 5, 8)]
    assert widths(uniform_layers(NETWORK, 2, 5, ends=7)) == [(7, 7, 8), (5, 5, 8), (2, 5, 8), (7, 7, 8)]


def test_those_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "widths.toml"
    file.write_text('[layer."b"]\nweight_bits = 3\nact_bits = 4\n[layer."qk"]\nact_bits = 6\n')
    assert widths(assigned_layers(NETWORK, file)) == [(8, 8, 8), (6, 6, 8), (3, 4, 8), (8, 8, 8)]
    file.write_text('[layer."d"]\nweight_bits = 3\n')
    with pytest.raises(CostError, match=r"widths\.toml: the network has no layer 'd'"):
        assigned_layers(NETWORK, file)
