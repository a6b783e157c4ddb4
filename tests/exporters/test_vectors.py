"""Exported vectors say all that hardware needs: whoever multiplies the matrices finds the sums and the codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from intsim.arithmetic.accumulate import Accumulator
from intsim.arithmetic.requantize import EngineRule
from intsim.arithmetic.rounding import Rounding
from intsim.backends import load_backend
from intsim.errors import InputError
from intsim.exporters import vectors
from intsim.exporters.product import Product
from intsim.exporters.vectors import export_vectors, needed_values
from intsim.ir import ops
from intsim.ir.graph import Node
from intsim.ir.types import Value
from tests.costing.rtl.networks import NETWORKS, Network, constant, grid

pytestmark = pytest.mark.torchless


def values_of(net: Network) -> dict[str, Value]:
    return load_backend("reference", net.graph).run(net.codes(), wanted=needed_values(net.graph))


def exported(net: Network, folder: Path) -> list[tuple[dict[str, Any], dict[str, NDArray[np.int64]], Path]]:
    """Manifest, arrays and folder of every layer."""
    export_vectors(net.graph, values_of(net), folder / "out")
    listed = json.loads((folder / "out" / "manifest.json").read_text())["layers"]
    layers = []
    for path in (folder / "out" / entry["folder"] for entry in listed):
        with np.load(path / "tensors.npz", allow_pickle=False) as arrays:
            layers.append((json.loads((path / "manifest.json").read_text()), dict(arrays), path))
    return layers


def rows_of(manifest: dict[str, Any], images: NDArray[np.int64], group: int) -> NDArray[np.int64]:
    """The matrix (m, k) of a group, element by element from the manifest."""
    attributes, product = manifest["attributes"], manifest["product"]
    height, width, channels = (manifest["input"][name] for name in ("height", "width", "channels"))
    (down, right), (top, _, left, _) = attributes.get("stride", (1, 1)), attributes.get("padding", (0, 0, 0, 0))
    dilation = attributes.get("dilation", (1, 1))
    depth = channels // product["groups"]
    kernel_width = manifest["kernel"][1]
    out_width = manifest["output"]["width"]
    pixels = manifest["output"]["height"] * out_width
    rows = np.zeros((product["m"], product["k"]), np.int64)
    for m in range(product["m"]):
        image, (y, x) = m // pixels, divmod(m % pixels, out_width)
        for k in range(product["k"]):
            channel, (i, j) = k // (product["k"] // depth), divmod(k % (product["k"] // depth), kernel_width)
            line, column = y * down + i * dilation[0] - top, x * right + j * dilation[1] - left
            inside = 0 <= line < height and 0 <= column < width
            position = line * width + column if inside else height * width
            rows[m, k] = images[image, position, group * depth + channel]
    return rows


@pytest.mark.parametrize("name", ["strided", "depthwise", "grouped", "sequence", "odd_grids", "pixels", "chain"])
def test_the_matrices_multiply_to_the_sums(name: str, tmp_path: Path) -> None:
    for manifest, arrays, _ in exported(NETWORKS[name](), tmp_path):
        n = manifest["product"]["n"]
        for group, weights in enumerate(arrays["weights"]):
            channels = slice(group * n, (group + 1) * n)
            sums = rows_of(manifest, arrays["activations"], group) @ weights + arrays["channels"][channels, 0]
            np.testing.assert_array_equal(sums, arrays["accumulators"][:, channels])


def test_results_are_laid_out_as_the_next_layer_reads_them(tmp_path: Path) -> None:
    layers = exported(NETWORKS["chain"](), tmp_path)
    for (_, arrays, _), (_, following, _) in zip(layers, layers[1:], strict=False):
        np.testing.assert_array_equal(arrays["codes"].ravel(), following["activations"].ravel())


def test_hex_files_hold_the_arrays(tmp_path: Path) -> None:
    for manifest, arrays, path in exported(NETWORKS["padded"](), tmp_path):
        assert {f"{name}.hex" for name in arrays} == set(manifest["files"])
        for name, array in arrays.items():
            described = manifest["files"][f"{name}.hex"]
            lines = (path / f"{name}.hex").read_text().split()
            assert described["shape"] == list(array.shape)
            assert {4 * len(line) for line in lines} == {described["bits"]}
            assert [int(line, 16) for line in lines] == [int(v) % (1 << described["bits"]) for v in array.ravel()]


@pytest.mark.parametrize(
    ("accumulator", "rounding", "reason"),
    [
        (Accumulator(16, "saturate"), Rounding.FLOOR, "accumulators are s16 saturate"),
        (Accumulator(48), Rounding.FLOOR, "accumulators are s48"),
        (Accumulator(), EngineRule.HAWQ_DYADIC, "rule hawq_dyadic"),
    ],
)
def test_what_the_arrays_cannot_run_is_exported_with_the_reason(
    accumulator: Accumulator, rounding: Rounding | EngineRule, reason: str, tmp_path: Path
) -> None:
    net = Network(grid("u4"), (1, 2, 3, 3))
    net.multiplier(
        net.conv((2, 2, 1, 1), grid("s4", axis=0), ops.Conv2d(accumulator=accumulator)), grid("s8"), rounding
    )
    ((manifest, arrays, path),) = exported(net, tmp_path)
    assert reason in manifest["not_in_hardware"]
    assert "codes" in arrays and not (path / "registers.hex").exists()


def test_scaling_in_floating_point_is_not_in_hardware(tmp_path: Path) -> None:
    net = Network(grid("u4"), (1, 2, 3, 3))
    net.add(ops.RequantizeFloat32(grid("s8"), (0.1,)), net.conv((2, 2, 1, 1), grid("s4", axis=0)))
    ((manifest, _, _),) = exported(net, tmp_path)
    assert manifest["not_in_hardware"].startswith("requantize_float32")


def test_accumulators_that_several_read_have_no_requantization_of_their_own(tmp_path: Path) -> None:
    net = Network(grid("u4"), (1, 2, 3, 3))
    acc = net.conv((2, 2, 1, 1), grid("s4", axis=0))
    net.shift(acc, grid("s8"), Rounding.FLOOR)
    net.shift(acc, grid("u4"), Rounding.FLOOR)
    ((manifest, arrays, _),) = exported(net, tmp_path)
    assert manifest["epilogue"] is None and "codes" not in arrays


def test_levels_beyond_16_bits_take_32(tmp_path: Path) -> None:
    net = Network(grid("s16", -40000), (1, 3))
    net.linear((2, 3), grid("s8", axis=0))
    ((manifest, _, _),) = exported(net, tmp_path)
    assert manifest["files"]["activations.hex"]["bits"] == 32
    assert manifest["files"]["weights.hex"]["bits"] == 16


def test_a_graph_without_layers_is_refused(tmp_path: Path) -> None:
    net = Network(grid("u4"), (1, 3))
    net.shift("x", grid("u4"), Rounding.FLOOR)
    with pytest.raises(InputError, match="neither"):
        export_vectors(net.graph, {}, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    net = NETWORKS["one_product"]()
    (tmp_path / "note").write_text("mine")
    with pytest.raises(InputError, match="is there already"):
        export_vectors(net.graph, values_of(net), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["note"]


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    net = NETWORKS["one_product"]()
    with pytest.raises(InputError, match="No such file or directory"):
        export_vectors(net.graph, values_of(net), tmp_path / "absent" / "out")


def test_nothing_is_left_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net, write = NETWORKS["chain"](), vectors._write_layer
    values = values_of(net)

    def fill_the_disk(product: Product, folder: Path) -> None:
        if folder.name.startswith("02"):
            raise OSError(28, "No space left on device")
        write(product, folder)

    monkeypatch.setattr(vectors, "_write_layer", fill_the_disk)
    with pytest.raises(InputError, match="No space left on device"):
        export_vectors(net.graph, values, tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_names_become_folders_that_any_system_takes(tmp_path: Path) -> None:
    net = Network(grid("u4"), (1, 3))
    net.constants["w"] = net.weight((2, 3), grid("s4", axis=0))
    net.nodes += [Node(name, ops.Linear(), ("x", "w")) for name in ("a/b", "a b")]
    export_vectors(net.graph, values_of(net), tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_dir()) == ["00_a_b", "01_a_b"]


def test_a_bias_is_in_the_words_of_its_channel(tmp_path: Path) -> None:
    net = Network(grid("u4"), (1, 3))
    net.add(ops.Linear(), "x", weight=net.weight((2, 3), grid("s4", axis=0)), bias=constant([7, -8]))
    ((_, arrays, _),) = exported(net, tmp_path)
    assert arrays["channels"].tolist() == [[7, 1, 0, 0, 0, 0, 0], [-8, 1, 0, 0, 0, 0, 0]]
