"""Topology files: SCALE-Sim's own cycles for them, the forms in which they are published, and one line for bad ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from intsim.costing import estimate, read_topology
from intsim.errors import CostError

pytestmark = pytest.mark.torchless

HEADER = "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,"
TOPOLOGY = f"""{HEADER}
ragged, 9, 7, 3, 2, 5, 21, 1,
strided, 13, 10, 4, 3, 3, 9, 3,
pointwise, 6, 6, 1, 1, 40, 17, 1,
linear, 1, 1, 1, 1, 70, 30, 1,
stripDP, 8, 8, 3, 3, 4, 2, 2,
row, 5, 1, 5, 1, 1, 21, 4,
"""

# Total cycles that SCALE-Sim 3.0.0 reports for it; the four channels of the depthwise layer are added up.
REPORTED = [
    ("os", "8x8", [791, 199, 809, 335, 180, 56]),
    ("os", "16x5", [734, 109, 707, 533, 108, 119]),
    ("os", "3x11", [1175, 287, 1247, 245, 500, 33]),
    ("ws", "8x8", [767, 379, 869, 827, 300, 68]),
    ("ws", "16x5", [769, 305, 851, 1079, 200, 179]),
    ("ws", "3x11", [1139, 371, 1427, 1151, 368, 63]),
    ("is", "8x8", [1031, 309, 974, 467, 380, 42]),
    ("is", "16x5", [1007, 527, 1247, 324, 588, 55]),
    ("is", "3x11", [1439, 575, 1791, 1079, 404, 71]),
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "topology.csv"


@pytest.mark.parametrize(("dataflow", "array", "cycles"), REPORTED)
def test_cycles_equal_those_that_scalesim_reports(path: Path, dataflow: str, array: str, cycles: list[int]) -> None:
    path.write_text(TOPOLOGY)
    result = estimate(read_topology(path), f"scalesim3_{dataflow}", array)
    assert [layer.cost.cycles for layer in result.layers] == cycles


def test_layers_have_the_widths_that_the_file_states(path: Path) -> None:
    path.write_text(
        f"{HEADER} Weight Bits, Activation Bits\na,8,8,3,3,4,6,1,2,5\nb,6,6,1,1,6,6,1,3,\nc,6,6,1,1,6,6,1\n"
    )
    layers = read_topology(path)
    widths = [(layer.name, layer.weight_bits, layer.act_bits, layer.out_bits) for layer in layers]
    assert widths == [("a", 2, 5, 5), ("b", 3, 8, 8), ("c", 8, 8, 8)]
    assert [layer.from_input for layer in layers] == [True, False, False]


@pytest.mark.parametrize(
    ("lines", "read"),
    [
        (["8,8,3,3,3,6,1", "8,8,3,3,3,6,1", "6,6,3,3,3,6,1"], [True, True, False]),  # an image, read twice
        (["8,8,3,3,64,6,1", "8,8,3,3,64,6,1"], [False, False]),  # a part of a network
        (["1,1,1,1,64,64,1", "1,1,1,1,64,64,1"], [True, False]),
    ],
)
def test_what_reads_the_networks_input(path: Path, lines: list[str], read: list[bool]) -> None:
    path.write_text("\n".join([HEADER, *(f"layer{i},{line}" for i, line in enumerate(lines))]))
    assert [layer.from_input for layer in read_topology(path)] == read


def test_columns_are_found_by_name(path: Path) -> None:
    path.write_text(
        "\ufefflayer NAME,Activation bits,strides,num filters,channels,"
        "ifmap width,ifmap height,filter width,filter  height\n"
        "x,4,2,16,3,20,30,5,7\n"
    )
    (layer,) = read_topology(path)
    assert (layer.in_height, layer.in_width, layer.kernel, layer.stride) == (30, 20, (7, 5), (2, 2))
    assert (layer.out_height, layer.out_width, layer.in_channels, layer.out_channels) == (13, 9, 3, 16)
    assert (layer.weight_bits, layer.act_bits) == (8, 4)


def test_published_files_have_comments_blank_lines_and_commas(path: Path) -> None:
    path.write_text(f"{HEADER}\r\n\r\n\tConv1 ,112 , 112, 3, 3, 1, 1, 2,#dw\r\nConv2, 28, 28, 1, 1, 8, 8, 1\r\n,,,\r\n")
    assert [(layer.name, layer.out_height) for layer in read_topology(path)] == [("Conv1", 56), ("Conv2", 28)]


def test_matrix_products(path: Path) -> None:
    path.write_text("Layer,M,N,K,Weight Bits,\nL0,196,192,384,4,\nL1,196,1176,64,\n")
    first, second = read_topology(path)
    assert (first.gemm(1).m, first.gemm(1).k, first.gemm(1).n) == (196, 384, 192)
    assert (first.weight_bits, second.weight_bits, second.macs) == (4, 8, 196 * 1176 * 64)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (f"{HEADER}\na, 8, x8, 3, 3, 4, 6, 1,", r"line 2: column 'ifmap width': expected a whole number .* got 'x8'"),
        (f"{HEADER}\na, 8, 8.5, 3, 3, 4, 6, 1,", r"line 2: column 'ifmap width': .* got '8\.5'"),
        (f"{HEADER}\n\na, 8, 8, 3, 3, 0, 6, 1,", r"line 3: column 'channels': .* got '0'"),
        (f"{HEADER}\na, 8, 8, 3, 3, -4, 6, 1,", r"line 2: column 'channels': .* got '-4'"),
        (f"{HEADER}\na, 8, 8, 3, 3, 4, 6,", r"line 2: column 'strides': .* the cell is empty"),
        (f"{HEADER}\na, {'9' * 5000}, 8, 3, 3, 4, 6, 1", r"line 2: column 'ifmap height': expected a whole number"),
        (
            f"{HEADER}\na, 2, 8, 3, 3, 4, 6, 1,",
            r"line 2: the filter is 3x3 but its input only 2x8; state the input with",
        ),
        (f"{HEADER}\na, 8, 8, 3, 3, 4, 6, 1, 4", r"line 2: expected 8 cells, as the first line names, got 9"),
        (f"{HEADER}\n, 8, 8, 3, 3, 4, 6, 1,", r"line 2: column 'layer name': the layer has no name"),
        (f"{HEADER} Weight Bits\na, 8, 8, 3, 3, 4, 6, 1, int4", r"column 'weight bits': .* got 'int4'"),
        (f"{HEADER} Sparsity\na, 8, 8, 3, 3, 4, 6, 1, 2:4", r"column 'sparsity': expected a dense layer .* got '2:4'"),
        (
            f"{HEADER} Padding\na, 8, 8, 3, 3, 4, 6, 1, 1",
            r"unknown column 'padding'; optional are weight bits, activation",
        ),
        (f"{HEADER} Strides\na, 8, 8, 3, 3, 4, 6, 1, 1", r"column 'strides' stands twice"),
        ("a, 8, 8, 3, 3, 4, 6, 1,\n", r"no column 'layer name'; the first line must name layer name, ifmap height"),
        (HEADER, r"no layers; expected one per line"),
        ("", r"the file is empty; its first line must name the columns"),
    ],
)
def test_a_bad_file_is_one_line_that_says_where(path: Path, text: str, complaint: str) -> None:
    path.write_text(text)
    with pytest.raises(CostError, match=complaint) as error:
        read_topology(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_file_that_cannot_be_read(path: Path) -> None:
    with pytest.raises(CostError, match="cannot be read"):
        read_topology(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CostError, match="cannot be read"):
        read_topology(path)
    path.write_text(f"{HEADER}\n{'x' * 200_000},8,8,3,3,4,4,1")
    with pytest.raises(CostError, match="cannot be read: field larger than field limit"):
        read_topology(path)


def test_extents_that_nobody_could_mean(path: Path) -> None:
    path.write_text(f"{HEADER}\na,100000,100000,3,3,100000,100000,1")
    with pytest.raises(CostError, match=r"line 2: the layer has 9\.0e\+20 products; correct its extents"):
        read_topology(path)
