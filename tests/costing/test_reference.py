"""Published simulators, layer by layer: Bit Fusion's and SCALE-Sim 3.0.0's own figures."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from intsim.costing import Array, Layer, estimate, read_topology
from intsim.costing.topology import CONVOLUTION
from tests.conftest import shared

pytestmark = pytest.mark.torchless


def rows(name: str) -> list[dict[str, str]]:
    with shared(f"reference/{name}").open(newline="") as file:
        return list(csv.DictReader(file))


def test_bitfusion_equals_its_simulator() -> None:
    seen: set[str] = set()
    for row in rows("bitfusion_layers.csv"):
        kernel, out, stride, in_channels, out_channels, act_bits, weight_bits, batch = (
            int(row[key]) for key in ("K", "O", "S", "IC", "OC", "ibits", "wbits", "batch")
        )
        is_conv, size = row["layer"].endswith("Convolution"), (out - 1) * stride + kernel
        # The host unrolls the first convolution of a network, which AlexNet lists once per group.
        from_input = is_conv and (row["net"] not in seen or row["layer"] == "conv1_b/Convolution")
        seen.add(row["net"])
        layer = Layer(
            row["layer"],
            "conv" if is_conv else "linear",
            in_channels,
            out_channels,
            weight_bits,
            act_bits,
            act_bits,
            in_height=size,
            in_width=size,
            out_height=out,
            out_width=out,
            kernel=(kernel, kernel),
            stride=(stride, stride),
            from_input=from_input,
        )
        cost = estimate([layer], "bitfusion", batch=batch).layers[0].cost
        dram = cost.traffic["dram"]
        got = {
            "cycles": cost.cycles,
            "stall": cost.stall_cycles,
            "dram_rd_bits": dram.read_bits,
            "dram_wr_bits": dram.write_bits,
        }
        assert got == {key: int(row[key]) for key in got}, row["layer"]
        assert cost.energy_pj == pytest.approx(float(row["energy_nJ"]) * 1e3, rel=1e-9), row["layer"]


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
