"""Settings and widths: what is refused, and which width each layer ends up with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from intsim.calibrate.settings import LayerWidths, Pixels, Settings
from intsim.calibrate.widths import Widths, layer_widths, read_widths
from intsim.errors import CalibrationError, InputError, IntsimError
from tests.calibrate.networks import Network, residual_network


@pytest.mark.parametrize("name", ["weight_bits", "act_bits", "first_last_bits", "residual_bits"])
@pytest.mark.parametrize("bits", [1, 9, 0, -4, 4.0, True, "4"])
def test_widths_outside_2_to_8_are_refused(name: str, bits: Any) -> None:
    with pytest.raises(CalibrationError, match=f"{name}: expected 2 to 8 bits, got {bits!r}"):
        Settings(**{name: bits})


@pytest.mark.parametrize("name", ["scales", "weight_grid", "act_grid"])
def test_unknown_kinds_are_refused(name: str) -> None:
    with pytest.raises(CalibrationError, match=f"{name}: expected .* or .*, got 'round'"):
        Settings(**{name: "round"})  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", [-1, 1 << 32, 0.5, "1"])
def test_seeds_are_whole_numbers_from_0(seed: Any) -> None:
    with pytest.raises(CalibrationError, match=f"seed: expected a whole number from 0 to 4294967295, got {seed!r}"):
        Settings(seed=seed)


@pytest.mark.parametrize(("mean", "std"), [((), (1.0,)), ((0.5,), ()), ((0.5,), (0.0,)), ((0.5,), (float("nan"),))])
def test_deviations_are_positive(mean: tuple[float, ...], std: tuple[float, ...]) -> None:
    with pytest.raises(CalibrationError, match="positive deviations"):
        Pixels(mean, std)


def test_first_and_last_layers_have_widths_of_their_own() -> None:
    widths = layer_widths(residual_network(), Settings(weight_bits=3, act_bits=4, first_last_bits=7))
    assert widths == {
        "stem": Widths(7, 7),
        "block.conv1": Widths(3, 4),
        "block.conv2": Widths(3, 4),
        "head": Widths(7, 7),
    }


def test_a_layers_own_widths_come_first() -> None:
    own = {"head": LayerWidths(weight_bits=2), "block.conv1": LayerWidths(act_bits=5)}
    widths = layer_widths(residual_network(), Settings(weight_bits=3, act_bits=4, widths=own))
    assert widths["head"] == Widths(2, 8)
    assert widths["block.conv1"] == Widths(3, 5)


def test_a_single_layer_is_first_and_last() -> None:
    net = Network(x=(6,))
    assert layer_widths(net.graph(net.linear("only", "x", 2)), Settings(weight_bits=4)) == {"only": Widths(8, 8)}


@pytest.mark.parametrize(("name", "nearest"), [("block.conv22", "block.conv2"), ("heed", "head"), ("zzz", "")])
def test_an_unknown_layer_suggests_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(CalibrationError, match=f"no layer '{name}': did you mean '{nearest}"):
        layer_widths(residual_network(), Settings(widths={name: LayerWidths(4, 4)}))


def written(folder: Path, text: str) -> Path:
    path = folder / "widths.toml"
    path.write_text(text, "utf-8")
    return path


def test_a_file_of_widths(tmp_path: Path) -> None:
    text = '[layer."layer1.0.conv1"]\nweight_bits = 3\nact_bits = 4\n[layer.head]\nweight_bits = 2\n'
    assert read_widths(written(tmp_path, text)) == {
        "layer1.0.conv1": LayerWidths(3, 4),
        "head": LayerWidths(2, None),
    }
    assert read_widths(written(tmp_path, "")) == {}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[layer", "no file of widths"),
        ("weight_bits = 3", "expected tables such as .*, got 'weight_bits'"),
        ("layer = 3", "expected tables such as .*, got 'layer'"),
        ("[layers.conv1]\nweight_bits = 3", "expected tables such as .*, got 'layers'"),
        ("[layer.conv1.0]\nweight_bits = 3", "layer 'conv1' takes weight_bits and act_bits; a name with dots needs"),
        ("[layer]\nconv1 = 3", "layer 'conv1' takes weight_bits and act_bits$"),
        ("[layer.conv1]\nbits = 3", "layer 'conv1' takes weight_bits and act_bits"),
        ("[layer.conv1]\nweight_bits = 9", "layer 'conv1': weight_bits: expected 2 to 8 bits, got 9"),
        ('[layer.conv1]\nact_bits = "4"', "layer 'conv1': act_bits: expected 2 to 8 bits, got '4'"),
    ],
)
def test_a_bad_file_of_widths_says_where(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(IntsimError, match=message):
        read_widths(written(tmp_path, text))


def test_a_missing_file_of_widths(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere.toml"):
        read_widths(tmp_path / "nowhere.toml")
