"""Published simulators, layer by layer: Bit Fusion's and SCALE-Sim 3.0.0's own figures."""

from __future__ import annotations

import csv

import pytest

from intsim.costing import Array, Layer, estimate
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
def test_scalesim_equals_its_report(dataflow: str) -> None:
    for row in rows("scalesim_resnet18_32x32.csv"):
        cost = estimate([unpadded(row)], f"scalesim3_{dataflow}")
        assert cost.total_cycles == int(row[f"{dataflow}_cycles"]), row["layer"]
        assert cost.stall_cycles == 0


def test_the_physical_array_is_scalesim_without_its_defects() -> None:
    """One cycle more per layer, and the drain of R cycles per output-stationary fold."""
    for row in rows("scalesim_resnet18_32x32.csv"):
        layer = unpadded(row)
        gemm, array = layer.gemm(1), Array(32, 32)
        folds = -(-gemm.m // array.rows) * -(-gemm.n // array.columns)
        physical = estimate([layer], "systolic_os").compute_cycles
        assert physical == int(row["os_cycles"]) + 1 + folds * array.rows


def unpadded(row: dict[str, str]) -> Layer:
    height, width, kernel_h, kernel_w, in_channels, out_channels, stride = (
        int(row[key]) for key in ("ifmap_h", "ifmap_w", "filter_h", "filter_w", "channels", "filters", "stride")
    )
    return Layer(
        row["layer"],
        "conv",
        in_channels,
        out_channels,
        8,
        8,
        8,
        in_height=height,
        in_width=width,
        out_height=-(-(height - kernel_h + stride) // stride),
        out_width=-(-(width - kernel_w + stride) // stride),
        kernel=(kernel_h, kernel_w),
        stride=(stride, stride),
    )
