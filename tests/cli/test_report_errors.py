"""intsim report --model --data: what roundings do to every layer, file by file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from intsim.costing import layers_of
from intsim.demo.digits import calibration
from intsim.demo.network import digits_net
from intsim.ir.file import load
from intsim.verbs import quantize

DIGITS = ("intsim.demo.network:digits_net", "--data", "intsim.demo.digits:calibration")


@pytest.fixture(scope="module")
def rounded(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The demo's network, plainly rounded to 8/8 and to 3/3 bits."""
    folder = tmp_path_factory.mktemp("rounded")
    for bits in (8, 3):
        file = folder / f"bits{bits}.intsim"
        quantize(digits_net(), calibration(), method="minmax", weight_bits=bits, act_bits=bits, output=file)
    return folder / "bits3.intsim", folder / "bits8.intsim"


def test_layers_are_compared_with_the_float_network(intsim, rounded, tmp_path):
    page = tmp_path / "page.html"
    assert intsim("report", *rounded, "-o", page, "--model", *DIGITS).status == 0
    text = page.read_text()
    rows = re.findall(r'<td class="text">([\w.]+)</td><td>(-?[\d.]+)</td><td>(-?[\d.]+)</td></tr>', text)
    assert [name for name, _, _ in rows] == [layer.name for layer in layers_of(load(rounded[0]).graph)]
    gains = sorted(float(eight) - float(three) for _, three, eight in rows)
    assert gains[1] > 10  # all but the stem, which has 8 bits in both
    (median,) = re.findall(r"median gain</td><td></td><td>\+([\d.]+)</td>", text)
    assert float(median) == pytest.approx((gains[(len(gains) - 1) // 2] + gains[len(gains) // 2]) / 2, abs=0.2)
    assert text.count('<path class="curve"') == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--data", "intsim.demo.digits:calibration"), "give both, or neither"),
        (("--model", *DIGITS), "the file was not made from this network"),
    ],
)
def test_a_comparison_with_nothing_or_another_network_is_refused(intsim, model, tmp_path, arguments, message):
    page = tmp_path / "page.html"
    assert message in intsim("report", model, "-o", page, *arguments).complaint
    assert not page.exists()
