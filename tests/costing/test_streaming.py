"""The streaming target: FINN's own report of a network, its folding against plain search, units against loops."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from intsim.costing import Layer, StreamingTarget, estimate, load_target, menu_of
from intsim.costing.folding import Stage, fold
from intsim.costing.fpga import resources
from intsim.costing.load_target import BUILTIN
from intsim.errors import CostError
from tests.costing.layers import conv, layers, resnet20, with_bits

pytestmark = pytest.mark.torchless


def finn(path: Path | None = None, **values: object) -> StreamingTarget:
    """The target, with other values of some fields if a file is given to write them to."""
    lines = (BUILTIN / "finn.toml").read_text().splitlines()
    for field, value in values.items():
        (at,) = [i for i, line in enumerate(lines) if line.startswith(f"{field} = ")]
        old = lines[at].partition(" = ")[2]
        lines[at] = f"{field} = " + (
            f'"{value}"' if isinstance(value, str) else old.replace(old.split()[3], f"{value},")
        )
    name: str | Path = "finn"
    if path is not None:
        name = path
        path.write_text("\n".join(lines))
    target = load_target(name)
    assert isinstance(target, StreamingTarget)
    return target


def mlp() -> list[Layer]:
    """FINN's cybersecurity example: 2-bit weights and activations, binary input."""
    return [
        Layer("fc0", "linear", 600, 64, 2, 1, 2, from_input=True),
        Layer("fc1", "linear", 64, 64, 2, 2, 2),
        Layer("fc2", "linear", 64, 64, 2, 2, 2),
        Layer("fc3", "linear", 64, 1, 2, 2, 1),
    ]


def test_finn_reports_the_same_of_its_example(tmp_path: Path) -> None:
    """estimate_network_performance, auto_folding_config and BRAMs of cybsec-mlp at 1,000,000 images a second."""
    result = estimate(mlp(), finn(tmp_path / "finn.toml", frame=100, weight_stream=80))
    folding = [(x.cost.resources["pe"], x.cost.resources["simd"]) for x in result.layers]
    assert folding == [(16, 40), (1, 64), (1, 64), (1, 1)]
    assert (result.total_cycles, result.interval_cycles) == (252, 64)
    assert result.resources["bram18"] == 45
    assert result.resources["dsp"] == 0
    assert result.latency_ms == pytest.approx(2520e-6)
    assert 1e5 * result.clock_mhz * 10 / result.interval_cycles == pytest.approx(1562500)


def test_luts_and_dsps_by_hand(tmp_path: Path) -> None:
    stage = Stage(mlp()[1], pe=2, simd=4, cycles=512, window_simd=0, window_cycles=0, parallel=False)
    # products 4 * 1 * 4, adders 4 * 7, sums of log2(64) + 3 rounded up and one bit more
    assert resources(stage, finn())["lut"] == int(300 + 1.1 * 2 * (16 + 28 + 11))
    assert resources(stage, finn())["bram18"] == 1  # 16 bits wide, 512 deep
    changed = finn(tmp_path / "a.toml", multipliers="dsp", weight_memory="distributed", threshold_memory="distributed")
    found = resources(stage, changed)
    assert found["lut"] == int(300 + 1.1 * 2 * (28 + 11 + 3 * 11 + 3 * 11) + 2 * 4 * 2 * 8)
    assert (found["bram18"], found["dsp"]) == (0, 8)


@given(layers(), st.integers(10, 100_000))
def test_folding_is_the_first_that_keeps_the_pace(layer: Layer, frame: int) -> None:
    if layer.kind == "matmul" or layer.groups > 1:
        return
    target, gemm = finn(), layer.gemm(1)
    stage = fold(layer, target, frame)
    assert gemm.n % stage.pe == 0
    assert gemm.k % stage.simd == 0
    assert stage.cycles == gemm.macs // (stage.pe * stage.simd)
    if stage.cycles >= frame:
        assert stage.pe == gemm.n  # nothing more can be done within the width of the stream
    elif stage.pe > 1:
        slower = max(pe for pe in range(1, stage.pe) if gemm.n % pe == 0)
        assert gemm.macs // (slower * stage.simd) >= frame
        wider = min((s for s in range(stage.simd + 1, gemm.k + 1) if gemm.k % s == 0), default=None)
        assert wider is None or wider * layer.weight_bits > target.weight_stream.value


def walked(layer: Layer, simd: int) -> int:
    """Cycles of a window unit: it fills until the first window is there, then for each line of windows puts out all
    their pixels, or takes in the lines that the next needs, whichever takes longer."""
    width = (layer.out_width - 1) * layer.stride[1] + layer.kernel[1]
    width = max(width, layer.in_width)
    pixel = layer.in_channels // simd
    cycles = sum(pixel for _ in range((layer.kernel[0] - 1) * width + layer.kernel[1]))
    for _line in range(layer.out_height):
        out = sum(pixel for _ in range(layer.out_width) for _tap in range(layer.kernel[0] * layer.kernel[1]))
        cycles += max(out, layer.stride[1] * width * pixel)
    return cycles


@pytest.mark.parametrize(("size", "kernel", "stride", "channels"), [(16, 3, 1, 12), (16, 3, 2, 12), (9, 5, 3, 4)])
def test_windows(size: int, kernel: int, stride: int, channels: int) -> None:
    layer = conv("x", channels, 8, size, kernel, stride)
    for frame in (200, 1000, 10_000, 10**9):
        stage = fold(layer, finn(), frame)
        if not stage.parallel:
            assert stage.window_cycles == walked(layer, stage.window_simd)
    pointwise = fold(conv("x", channels, 8, size, 1), finn(), 1000)
    assert (pointwise.window_simd, pointwise.window_cycles) == (0, 0)


def test_a_depthwise_layer_takes_channels_first_then_taps() -> None:
    layer = conv("x", 32, 32, 16, 3, groups=32)
    slow, fast, fastest = (fold(layer, finn(), frame) for frame in (20_000, 2500, 300))
    assert (slow.pe, slow.simd, slow.cycles) == (4, 1, 32 * 9 * 256 // 4)
    assert (fast.pe, fast.simd) == (32, 1)
    assert (fastest.pe, fastest.simd) == (32, 9)
    assert fastest.parallel
    assert slow.window_simd == slow.pe


@pytest.mark.parametrize("frame", [2_000, 50_000, 1_000_000])
def test_all_layers_keep_the_pace_of_the_slowest(tmp_path: Path, frame: int) -> None:
    target = finn(tmp_path / "finn.toml", frame=frame)
    result = estimate(with_bits(resnet20(), 4, 4), target, batch=5)
    assert result.interval_cycles == max(layer.cost.cycles for layer in result.layers) // 5
    assert result.total_cycles == sum(layer.cost.cycles // 5 for layer in result.layers) + 4 * result.interval_cycles
    for layer, costed in zip(resnet20(), result.layers, strict=True):
        cost = costed.cost
        assert cost.macs == 5 * layer.macs
        assert cost.cycles * cost.peak_macs_per_cycle >= cost.macs
        assert cost.stall_cycles == 0
    # A second search for what the slowest reaches makes no layer larger than the first.
    first = [fold(layer, target, frame) for layer in with_bits(resnet20(), 4, 4)]
    assert all(x.cost.resources["pe"] <= s.pe for x, s in zip(result.layers, first, strict=True))


def test_narrower_operands_take_fewer_luts_and_blocks() -> None:
    found = [estimate(with_bits(resnet20(), bits, bits), "finn").resources for bits in (8, 4, 2)]
    assert found[0]["lut"] > found[1]["lut"] > found[2]["lut"]
    assert found[0]["bram18"] > found[1]["bram18"] >= found[2]["bram18"]


def test_the_document_has_no_array_but_resources() -> None:
    document = estimate(mlp(), "finn").to_dict()
    assert document["array"] is None
    assert set(document["resources"]) == {"lut", "bram18", "dsp"}  # type: ignore[call-overload]
    assert document["total_cycles"] >= document["interval_cycles"]  # type: ignore[operator]


@pytest.mark.parametrize(
    ("layer", "complaint"),
    [
        (Layer("x", "matmul", 8, 8, 8, 8, 8), "layer 'x': multiplies two activations, but target 'finn' keeps weights"),
        (conv("x", 8, 8, 8, 3, groups=2), "layer 'x': has 2 groups; target 'finn' supports 1, or one per channel"),
        (conv("x", 8, 8, 8, 3, act_bits=9), "layer 'x': activations have 9 bits, but target 'finn' supports 1 to 8"),
    ],
)
def test_what_has_no_hardware(layer: Layer, complaint: str) -> None:
    with pytest.raises(CostError, match=complaint):
        estimate([layer], "finn")


def test_it_has_no_array() -> None:
    with pytest.raises(CostError, match="target 'finn' has no array: every layer has hardware of its own"):
        estimate(mlp(), "finn", "8x8")


def test_widths_are_not_allocated_for_a_pipeline() -> None:
    with pytest.raises(CostError, match="target 'finn': the pace of a streaming network is no sum over its layers"):
        menu_of(mlp(), {}, "finn")


def test_results_do_not_depend_on_names() -> None:
    renamed = [replace(layer, name=f"other {layer.name}") for layer in mlp()]
    assert estimate(renamed, "finn").total_cycles == estimate(mlp(), "finn").total_cycles
