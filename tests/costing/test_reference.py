"""Published simulators, layer by layer: Bit Fusion's and SCALE-Sim 3.0.0's own figures."""

from __future__ import annotations

import csv
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import pytest

from intsim.costing import Array, Layer, estimate, read_topology
from intsim.costing.topology import CONVOLUTION, WIDTHS
from tests.conftest import shared

pytestmark = pytest.mark.torchless


def rows(name: str) -> list[dict[str, str]]:
    with shared(f"reference/{name}").open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("together", [True, False], ids=["networks", "single layers"])
def test_bitfusion_equals_its_simulator(together: bool, tmp_path: Path) -> None:
    """Through topology files: what reads the network's input, which the host unrolls, is seen from the extents."""
    references = rows("bitfusion_layers.csv")
    networks = [list(of_one) for _, of_one in groupby(references, key=itemgetter("net"))]
    for network in networks if together else [[row] for row in references]:
        topology = tmp_path / "network.csv"
        lines = [",".join(bitfusion_cells(row)) for row in network]
        topology.write_text("\n".join([",".join([*CONVOLUTION, *WIDTHS]), *lines]))
        result = estimate(read_topology(topology), "bitfusion", batch=int(network[0]["batch"]))
        for row, layer in zip(network, result.layers, strict=True):
            dram = layer.cost.traffic["dram"]
            got = {
                "cycles": layer.cost.cycles,
                "stall": layer.cost.stall_cycles,
                "dram_rd_bits": dram.read_bits,
                "dram_wr_bits": dram.write_bits,
            }
            assert got == {key: int(row[key]) for key in got}, row["layer"]
            assert layer.cost.energy_pj == pytest.approx(float(row["energy_nJ"]) * 1e3, rel=1e-9), row["layer"]


def bitfusion_cells(row: dict[str, str]) -> list[str]:
    """A line of the reference as a line of a topology, whose input is as large as the windows reach."""
    kernel, out, stride = (int(row[key]) for key in ("K", "O", "S"))
    extents = 2 * [(out - 1) * stride + kernel] + 2 * [kernel]
    return [row["layer"], *map(str, extents), row["IC"], row["OC"], row["S"], row["wbits"], row["ibits"]]


@pytest.mark.parametrize("dataflow", ["os", "ws"])
def test_scalesim_equals_its_report(dataflow: str, tmp_path: Path) -> None:
    result = estimate(scalesim_layers(tmp_path), f"scalesim3_{dataflow}")
    for row, layer in zip(rows("scalesim_resnet18_32x32.csv"), result.layers, strict=True):
        assert (layer.name, layer.cost.cycles) == (row["layer"], int(row[f"{dataflow}_cycles"]))
    assert result.stall_cycles == 0


def test_the_physical_array_is_scalesim_without_its_defects(tmp_path: Path) -> None:
    """One cycle more per layer, and the drain of R cycles per output-stationary fold."""
    for row, layer in zip(rows("scalesim_resnet18_32x32.csv"), scalesim_layers(tmp_path), strict=True):
        gemm, array = layer.gemm(1), Array(32, 32)
        folds = -(-gemm.m // array.rows) * -(-gemm.n // array.columns)
        physical = estimate([layer], "systolic_os").compute_cycles
        assert physical == int(row["os_cycles"]) + 1 + folds * array.rows


def scalesim_layers(path: Path) -> list[Layer]:
    """The layers of the reference, through a topology file, as SCALE-Sim got them."""
    columns = ("layer", "ifmap_h", "ifmap_w", "filter_h", "filter_w", "channels", "filters", "stride")
    lines = [",".join(row[column] for column in columns) for row in rows("scalesim_resnet18_32x32.csv")]
    topology = path / "resnet18.csv"
    topology.write_text("\n".join([f"{','.join(CONVOLUTION)},", *(f"{line}," for line in lines)]))
    return read_topology(topology)
