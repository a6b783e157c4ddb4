"""Races against other engines: all compute the same, who sums exactly is found out, and it is printed and drawn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from intsim.backends import load_backend
from intsim.benchmark.layers import MULTIPLIER, VARIANTS, ConvShape, conv_codes, conv_graph, rates_of, shapes_of
from intsim.benchmark.models import model_rates
from intsim.benchmark.networks import NETWORKS
from intsim.benchmark.peers import Peer, installed_peers
from intsim.benchmark.peers.layers import installed_layer_peers
from intsim.benchmark.peers.saturation import SATURATES, largest_error
from intsim.benchmark.rate import Rate
from intsim.cli import execute
from intsim.errors import InputError
from intsim.reporting.html import render_rates
from intsim.reporting.rates import compare_rates
from tests.conftest import shared

SMALL = ConvShape(inputs=8, outputs=16, kernel=3, stride=2, groups=1, size=9)


def test_every_engine_gives_the_output_of_the_float_network_nearly(tmp_path: Path) -> None:
    network = NETWORKS["resnet20"]
    model, images = network.make(), np.random.default_rng(0).standard_normal((2, *network.shape), np.float32)
    with torch.inference_mode():
        expected = model(torch.from_numpy(images)).numpy()
    for peer in (peer for peer in installed_peers() if peer.bits in (8, 32)):
        output = peer.prepare(model, images, 1, tmp_path)()
        allowed = 1e-4 if peer.bits == 32 else 0.35  # 8 bits, and sums that saturate in some
        assert np.abs(output - expected).max() < allowed * np.abs(expected).max(), peer.name


def test_float_peers_have_exact_integer_sums_and_a_saturating_one_is_found(tmp_path: Path) -> None:
    floats = next(peer for peer in installed_peers() if peer.bits == 32)
    assert largest_error(floats, tmp_path) == 0

    def saturating(model: torch.nn.Module, inputs: np.ndarray, threads: int, folder: Path):
        exact = floats.prepare(model, inputs, threads, folder)
        return lambda: np.clip(exact(), -200, 200)

    assert largest_error(Peer("cut off", 8, "torch", saturating), tmp_path) > SATURATES


def test_a_layer_is_the_same_integers_in_every_form_and_in_an_engine_that_sums_exactly() -> None:
    layer = conv_codes(SMALL, 2, 8, 8)
    acc = torch.nn.functional.conv2d(
        torch.from_numpy(layer.x).double(), torch.from_numpy(layer.weight).double(), stride=2, padding=1
    ).numpy()
    expected = np.clip(np.rint(acc / 2.0**layer.shift), 0, 255)
    outputs = load_backend("reference", conv_graph(layer, 8, 8, "shift")).run(layer.x)
    np.testing.assert_array_equal(outputs["y"].codes, expected)
    half = 1 << 29 + layer.shift
    multiplied = (acc.astype(np.int64) * MULTIPLIER + half) >> 30 + layer.shift  # an odd multiplier leaves no ties
    outputs = load_backend("reference", conv_graph(layer, 8, 8, "multiplier")).run(layer.x)
    np.testing.assert_array_equal(outputs["y"].codes, np.clip(multiplied, 0, 255))
    precise = [peer for peer in installed_layer_peers() if peer.name.endswith(("precise", "u8u8"))]
    assert precise
    for peer in precise:
        np.testing.assert_array_equal(peer.prepare(layer, 1)(), expected, peer.name)


def test_thresholds_of_a_layer_round_ties_up() -> None:
    layer = conv_codes(SMALL, 1, 4, 4)
    graph = conv_graph(layer, 4, 4, "threshold")
    values = load_backend("reference", graph).run(layer.x, wanted=("conv", "y"))
    expected = np.clip((values["conv"].codes + (1 << layer.shift >> 1)) >> layer.shift, 0, 15)
    np.testing.assert_array_equal(values["y"].codes, expected)


def test_the_rows_of_a_layer() -> None:
    rates = rates_of(SMALL, threads=1, batch=1, rounds=2, peers=installed_layer_peers())
    assert [(r.weight_bits, r.act_bits, r.epilogue) for r in rates] == list(VARIANTS)
    for rate in rates:
        assert rate.times_roof == pytest.approx(rate.gmacs / rate.fp32_roof_gmacs)
        assert rate.gmacs * rate.ms * 1e6 == pytest.approx(SMALL.macs)
        assert rate.sums["ONNX Runtime u8u8"] == rate.sums["ONNX Runtime u8s8 precise"] == "exact"


def test_the_convolutions_of_a_network() -> None:
    shapes = shapes_of("resnet18")
    assert shapes[0] == ConvShape(3, 64, 7, 2, 1, 224)
    assert ConvShape(512, 512, 3, 1, 1, 7) in shapes
    assert len(shapes) == len(set(shapes)) == 11


def test_a_network_and_its_peers_are_one_row_for_each_width() -> None:
    peers = [peer for peer in installed_peers() if peer.package == "torch"]
    rates = model_rates(["resnet20"], batches=(1,), threads=(1,), rounds=2, peers=peers)
    assert [(r.weight_bits, r.act_bits) for r in rates] == [(8, 8), (4, 4), (2, 2)]
    assert all(rate.peers.keys() == {peer.name for peer in peers} for rate in rates)


def test_an_unknown_network_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(InputError, match="no network 'alexnet' to time: there are resnet18, resnet20, mobilenet_v2"):
        model_rates(["alexnet"])
    assert execute(["bench", "layers", "--network", "alexnet"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_tflite_file_takes_part() -> None:
    """Not the same network: what counts here is that LiteRT runs it in turns."""
    file = shared("tflite") / "pretrainedResnet_quant.tflite"
    rates = model_rates(["resnet20"], (1,), (1,), rounds=2, peers=(), tflite={"resnet20": file})
    assert all(rate.peers.keys() == {"LiteRT int8"} for rate in rates)


@pytest.mark.parametrize(
    ("option", "message"),
    [("resnet20", "expected NAME=FILE"), (f"resnet20={__file__}", "no network that LiteRT reads")],
)
def test_a_file_that_is_no_network_is_one_line(option: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["bench", "models", "--network", "resnet20", "--batch", "1", "--threads", "1", "--rounds", "2"]
    assert execute([*command, "--tflite", option]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


FIELDS = {"name", "weight_bits", "act_bits", "threads", "batch", "ms", "gmacs", "fp32_roof_gmacs", "peers"}
PEERS = {"A float32": 8.0, "B int8": 2.0}
OTHERS = (PEERS, dict.fromkeys(PEERS, 0.0), {"B int8": "saturate"})
RATES = [
    Rate("net", 8, 8, "shift", 1, 1, 4.0, 0.1, 50.0, 50.0, *OTHERS),
    Rate("net", 4, 4, "threshold", 1, 1, 1.0, 0.1, 200.0, 50.0, *OTHERS),
]


def test_the_fastest_integer_peer_counts_exact_or_not() -> None:
    assert RATES[0].fastest_int8 == ("B int8", 2.0)
    assert RATES[1].to_dict()["times_fastest_int8"] == 0.5
    assert RATES[0].peer_times_roof("B int8") == 2.0


def test_the_figure_has_every_engine_in_order_and_says_who_is_inexact() -> None:
    page = compare_rates("Networks", RATES)
    (race,) = page.races
    assert [bar.label for bar in race.bars] == ["intsim 4/4 threshold", "B int8", "intsim 8/8 shift", "A float32"]
    assert [bar.percent / page.roof_percent for bar in race.bars] == pytest.approx([4, 2, 1, 0.5])
    html = render_rates(page)
    assert "saturate" in html
    assert "http" not in html.replace("http-equiv", "")


def test_the_command_writes_rows_and_the_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figure = tmp_path / "rates.html"
    command = ["bench", "models", "--network", "resnet20", "--batch", "1", "--threads", "1", "--rounds", "2"]
    assert execute([*command, "--figure", str(figure), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert rows[0].keys() >= {
        "name",
        "weight_bits",
        "act_bits",
        "threads",
        "batch",
        "ms",
        "gmacs",
        "fp32_roof_gmacs",
        "peers",
    }
    assert "resnet20, batch 1, 1 thread" in figure.read_text("utf-8")
