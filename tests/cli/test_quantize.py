"""intsim quantize: a model file out of a module and data, and one line for everything that is wrong with either."""

from __future__ import annotations

import json

import numpy as np
import pytest

import intsim as package
from intsim.errors import InputError
from intsim.ir.file import load

ZOO = '''
import torch
from torch import nn


def net():
    torch.manual_seed(0)
    first, second = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 4, 3)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), nn.Flatten(), nn.Linear(36, 5))


def separable():
    torch.manual_seed(0)
    first, depthwise = nn.Conv2d(2, 4, 1), nn.Conv2d(4, 4, 3, groups=4)
    return nn.Sequential(first, nn.ReLU(), depthwise, nn.ReLU(), nn.Flatten(), nn.Linear(36, 5))


def zero_channel():
    model = net()
    with torch.no_grad():
        model[2].weight[1] = 0
    return model


def not_finite():
    model = net()
    with torch.no_grad():
        model[0].weight[0, 0, 0, 0] = torch.nan
    return model


def too_long():
    """204,800 products of 8 bits, all of one sign, do not fit 32 bits."""
    model = nn.Sequential(nn.Upsample(scale_factor=64), nn.Flatten(), nn.Linear(2 * 320 * 320, 1))
    nn.init.ones_(model[2].weight)
    return model


class Sorts(nn.Module):
    def forward(self, x):
        return torch.sort(x, dim=1).values


def unsupported():
    return nn.Sequential(nn.Conv2d(2, 2, 1), Sorts())


def no_module():
    return 3


def raises():
    raise ValueError("no weights here")


def images():
    torch.manual_seed(1)
    return torch.rand(20, 2, 5, 5), torch.randint(0, 5, (20,))


def no_images():
    return torch.rand(0, 2, 5, 5), None


def wrong_shape():
    return torch.rand(20, 3, 5, 5), None


def nan():
    x, labels = images()
    x[0, 0, 0, :3] = torch.nan
    return x, labels


def pixels():
    x, labels = images()
    return (x * 255).to(torch.uint8), labels
'''


@pytest.fixture
def zoo(tmp_path):
    path = tmp_path / "zoo.py"
    path.write_text(ZOO)
    return path


@pytest.fixture
def quantize(intsim, zoo, tmp_path):
    """Quantizes a network of the zoo on some of its data; the file is model.intsim."""

    def run(model="net", data="images", *options):
        output = tmp_path / "model.intsim"
        return intsim("quantize", f"{zoo}:{model}", "--data", f"{zoo}:{data}", "-o", output, *options)

    return run


@pytest.mark.parametrize("scales", ["pow2", "multiplier", "threshold"])
def test_what_is_written_runs_evaluates_proves_and_costs(intsim, quantize, zoo, tmp_path, scales):
    options = ("--weight-bits", 4, "--act-bits", 3, "--first-last-bits", 6, "--scales", scales)
    result = quantize("net", "images", *options, "--json")
    assert result.status == 0
    path = tmp_path / "model.intsim"
    assert result.json["file_bytes"] == path.stat().st_size
    weights = {name: str(value.type.integer.element) for name, value in load(path).graph.constants.items()}
    assert [weights[f"{layer}.weight"] for layer in "025"] == ["s6", "s4", "s6"]
    assert intsim("eval", path, "--data", f"{zoo}:images", "--json").json["samples"] == 20
    assert intsim("prove", path, "--json").json["proved"] is True
    assert intsim("cost", path, "--target", "bitfusion", "--json").json["total_cycles"] > 0


def test_the_certificate_is_written_and_printed_alike(intsim, quantize, tmp_path):
    quantize()
    proof = tmp_path / "proof.json"
    printed = intsim("prove", tmp_path / "model.intsim", "-o", proof, "--json")
    assert printed.status == 0
    assert all({"name", "acc_min", "acc_max", "acc_bits", "witness"} <= set(layer) for layer in printed.json["layers"])
    assert printed.json == json.loads(proof.read_text())


def test_inspect_shows_the_graph_and_its_layers(intsim, quantize, tmp_path):
    quantize("net", "images", "--weight-bits", 3)
    result = intsim("inspect", tmp_path / "model.intsim", "--json")
    assert result.status == 0
    layers = {layer["name"]: layer for layer in result.json["layers"]}
    assert layers["2"]["weight"] == "s3[4, 3, 3, 3]"
    assert layers["2"]["weight_bytes"] == -(-4 * 27 * 3 // 8)
    assert layers["2"]["macs"] == 9 * 4 * 27
    assert layers["2"]["kernel"].startswith("gemm")
    assert "|acc| <= " in result.json["proofs"]["2"]
    assert 0 < result.json["live_bytes"] <= result.json["arena_bytes"]
    assert "rounding=" in result.json["text"]
    assert "gemm_" in intsim("inspect", tmp_path / "model.intsim").out


def test_passes_are_printed_on_request(quantize):
    result = quantize("net", "images", "--print-passes")
    assert result.status == 0
    assert "# after translate" in result.err
    assert "# after check_overflow" in result.err


def test_the_graph_takes_pixels_on_request(intsim, quantize, zoo, tmp_path):
    result = quantize("net", "pixels", "--input", "u8", "--mean", "0.1,0.2", "--std", "0.5")
    assert result.status == 0, result
    (type,) = load(tmp_path / "model.intsim").graph.inputs.values()
    assert str(type) == "u8[N, 2, 5, 5]"
    assert intsim("eval", tmp_path / "model.intsim", "--data", f"{zoo}:pixels").status == 0


def test_a_constant_zero_channel_has_a_legal_scale(intsim, quantize, tmp_path):
    for scales in ("pow2", "multiplier", "threshold"):
        assert quantize("zero_channel", "images", "--scales", scales).status == 0
        weight = load(tmp_path / "model.intsim").graph.constants["2.weight"]
        assert (np.isfinite(weight.type.integer.scale.array) & (weight.type.integer.scale.array > 0)).all()


def test_weights_have_zero_points_on_request(intsim, quantize, tmp_path):
    options = ("--method", "minmax", "--weight-bits", 8, "--weight-grid", "asymmetric")
    assert quantize("net", "images", *options).status == 0
    path = tmp_path / "model.intsim"
    assert any(load(path).graph.constants["2.weight"].type.integer.zero_point)
    assert intsim("prove", path, "--json").json["proved"] is True


@pytest.mark.parametrize("scales", ["pow2", "multiplier", "threshold"])
def test_tuned_models_keep_their_codes_and_stay_exact(intsim, quantize, zoo, tmp_path, scales):
    path, options = tmp_path / "model.intsim", ("--weight-bits", 3, "--scales", scales)
    quantize("net", "images", *options)
    before = load(path).graph.constants["2.weight"]
    result = quantize("net", "images", *options, "--tune", "both", "--json")
    assert result.json["metadata"]["tune"] == "both"
    after = load(path).graph.constants["2.weight"]
    assert (before.codes == after.codes).all()
    assert intsim("prove", path, "--json").json["proved"] is True
    assert intsim("verify", path, "--data", f"{zoo}:images", "--json").json["bit_exact"] is True


def test_depthwise_layers_are_equalized_on_request(intsim, quantize, zoo, tmp_path):
    path = tmp_path / "model.intsim"
    result = quantize("separable", "images", "--act-bits", 4, "--equalize", "--json")
    assert result.json["metadata"]["equalize"] == "True"
    assert intsim("prove", path, "--json").json["proved"] is True
    assert intsim("verify", path, "--data", f"{zoo}:images", "--json").json["bit_exact"] is True


def test_widths_come_from_a_file(quantize, tmp_path):
    widths = tmp_path / "widths.toml"
    widths.write_text('[layer."2"]\nweight_bits = 2\n')
    assert quantize("net", "images", "--widths", widths).status == 0
    constants = load(tmp_path / "model.intsim").graph.constants
    assert str(constants["2.weight"].type.integer.element) == "s2"


@pytest.mark.parametrize(
    ("model", "data", "options", "message"),
    [
        ("absent", "images", (), "absent"),
        ("nets", "images", (), "the nearest name is 'net'"),
        ("no_module", "images", (), "expected an nn.Module, got int"),
        ("raises", "images", (), "no weights here"),
        ("not_finite", "images", (), "1 of 54 weights are NaN or infinite"),
        ("too_long", "images", (), "'2'"),
        ("too_long", "images", (), "channel 0"),
        ("unsupported", "images", (), "sort"),
        ("unsupported", "images", (), "zoo.py:"),
        ("unsupported", "images", (), "supported: "),
        ("net", "no_images", (), "empty"),
        ("net", "wrong_shape", (), "got 3 channels"),
        ("net", "nan", (), "3 of 1000 elements are NaN"),
        ("net", "pixels", (), "uint8"),
        ("net", "images", ("--weight-bits", 1), "weight_bits: expected 2 to 8 bits, got 1"),
        ("net", "images", ("--act-bits", 9), "act_bits: expected 2 to 8 bits, got 9"),
        ("net", "images", ("--method", "mes"), "'mse'"),
        ("net", "images", ("--scales", "pow"), "pow2"),
        ("net", "images", ("--weight-grid", "odd"), "weight_grid: expected symmetric or asymmetric, got 'odd'"),
        ("net", "images", ("--tune", "weights"), "tune: expected none or batchnorm or bias or both, got 'weights'"),
        ("net", "images", ("--profile", "torsh"), "did you mean 'torch'"),
        ("net", "images", ("--input", "float"), "did you mean 'float32'"),
        ("net", "images", ("--mean", "a,b"), "--mean"),
        ("net", "images", ("--mean", "0"), "mean: belongs to pixels"),
        ("net", "images", ("--std", "0.5"), "std: belongs to pixels"),
        ("net", "images", ("--seed", -1), "seed: expected a whole number from 0"),
        ("net", "images", ("-o", "/proc/model.intsim"), "/proc/model.intsim: nothing can be written to /proc"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(quantize, tmp_path, model, data, options, message):
    assert message in quantize(model, data, *options).complaint
    assert not (tmp_path / "model.intsim").exists()


def test_a_widths_file_with_an_unknown_layer_suggests_the_nearest(quantize, tmp_path):
    widths = tmp_path / "widths.toml"
    widths.write_text("[layer.02]\nweight_bits = 2\n")
    complaint = quantize("net", "images", "--widths", widths).complaint
    assert "'02'" in complaint
    assert "'0'" in complaint or "'2'" in complaint


def test_an_interruption_leaves_no_file(quantize, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("intsim.ir.file.os.replace", interrupted)
    before = sorted(tmp_path.iterdir())
    assert quantize().status == 130
    assert [path.name for path in sorted(tmp_path.iterdir())] == [path.name for path in before]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--method", "adaqaunt"), "did you mean 'adaquant'"),
        (("--method", "n2uq"), "n2uq trains the network: use `intsim train --method n2uq`"),
        (("--method", "adaquant", "--set", "iteration=5"), "did you mean 'iterations'"),
        (("--method", "adaquant", "--set", "iterations=many"), "expected a whole number, got 'many'"),
        (("--method", "adaquant", "--set", "batch=0"), "batch: expected at least 1, got 0"),
        (("--method", "adaquant", "--resume", "zoo.py"), "zoo.py: is a file, expected a folder"),
        (("--method", "adaquant", "--resume", "zoo.py/state"), "zoo.py is a file, expected a folder"),
    ],
)
def test_mistakes_in_options_are_found_before_the_model_is_made(quantize, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    assert message in quantize("raises", "images", *options).complaint


def test_options_are_a_mapping():
    with pytest.raises(
        InputError, match=r"options: expected a mapping such as {'iterations': 500}, got 'iterations=3'"
    ):
        package.quantize("absent.py:net", "absent.py:images", options="iterations=3")
