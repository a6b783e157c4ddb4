"""Target files: every number with its unit and source, and one clear line for whatever is wrong."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from intsim.costing import list_targets, load_target
from intsim.costing.load_target import BUILTIN
from intsim.errors import CostError

pytestmark = pytest.mark.torchless


def numbers(table: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every table with a value, by its place in the file."""
    if isinstance(table, dict):
        if "value" in table:
            yield path, table
        for key, inner in table.items():
            yield from numbers(inner, f"{path}.{key}")


@pytest.mark.parametrize("name", list_targets())
def test_every_number_has_a_unit_and_a_source(name: str) -> None:
    target = load_target(name)
    assert target.name == name
    found = dict(numbers(tomllib.loads((BUILTIN / f"{name}.toml").read_text())))
    assert len(found) >= 10
    assert all(quantity["unit"] and quantity["source"] for quantity in found.values())


def test_the_targets_that_come_with_it() -> None:
    assert {"bitfusion", "systolic_ws", "systolic_ws_fused", "scalesim3_os", "scalesim3_ws"} <= set(list_targets())


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    text = (BUILTIN / "bitfusion.toml").read_text().replace('name = "bitfusion"', 'name = "mine"')
    path = tmp_path / "mine.toml"
    path.write_text(text)
    target = load_target(path)
    assert target.name == "mine"
    assert load_target(str(path)) is target
    path.write_text(text.replace('name = "mine"', 'name = "edited"'))
    assert load_target(path).name in ("mine", "edited")  # the same name only within one tick of the file's clock


BANDWIDTH = 'bandwidth = { value = 192, unit = "bit/cycle", source = "hsharma35/bitfusion bf_e_conf.ini, if_width" }'


@pytest.mark.parametrize(
    ("line", "instead", "complaint"),
    [
        (BANDWIDTH, "", r"memory\.dram\.bandwidth: missing field"),
        (BANDWIDTH, BANDWIDTH.replace("192", "0"), r"memory\.dram\.bandwidth\.value: .*greater than 0, got 0"),
        (BANDWIDTH, BANDWIDTH.replace("192", "-3"), r"memory\.dram\.bandwidth\.value: .*greater than 0, got -3"),
        (BANDWIDTH, BANDWIDTH.replace("192", "1.5"), r"memory\.dram\.bandwidth\.value: .*got 1\.5"),
        (BANDWIDTH, BANDWIDTH.replace("192", '"fast"'), r"memory\.dram\.bandwidth\.value: .*got 'fast'"),
        (BANDWIDTH, BANDWIDTH.replace("bit/", "byte/"), r"bandwidth: expected the unit 'bit/cycle', got 'byte/cycle'"),
        (
            BANDWIDTH,
            BANDWIDTH.replace(', source = "hsharma35/bitfusion bf_e_conf.ini, if_width"', ""),
            "source: missing",
        ),
        (BANDWIDTH, BANDWIDTH + "\nbandwith = 3", r"memory\.dram\.bandwith: unknown field"),
        (BANDWIDTH, "bandwidth = 192", r"memory\.dram\.bandwidth: expected a table .* got 192"),
        ('model = "fusion"', "", "model: missing field"),
        (
            'model = "fusion"',
            'model = "magic"',
            "model: expected one of 'systolic', 'scalesim3', 'fusion', .*got 'magic'",
        ),
        ('axis = "K"', 'axis = "M"', "widths: a fusion unit adds its products"),
        ("up_to_bits = 2,", "up_to_bits = 9,", r"widths\.weights\.steps: widths must ascend, got \[9, 4, 8\]"),
        ("value = 15,", "value = nan,", r"memory\.dram\.read\.value: .*finite"),
        ('model = "fusion"', "model = ", "not a readable TOML file"),
    ],
)
def test_a_bad_field_is_one_line_that_names_it(tmp_path: Path, line: str, instead: str, complaint: str) -> None:
    text = (BUILTIN / "bitfusion.toml").read_text()
    assert line in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(line, instead, 1))
    with pytest.raises(CostError) as error:
        load_target(path)
    message = str(error.value)
    assert re.search(complaint, message), message
    assert str(path) in message and "\n" not in message


def test_an_unknown_name_suggests_the_nearest() -> None:
    with pytest.raises(CostError, match="target 'bitfussion': unknown; did you mean 'bitfusion'"):
        load_target("bitfussion")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CostError, match=r"nowhere\.toml: cannot be read"):
        load_target(tmp_path / "nowhere.toml")
