"""Test vectors for hardware: every convolution and linear layer with its data, and what has to come out, bit for bit.

    folder/
        manifest.json                 the layers in order
        00_conv1/
            manifest.json             shapes, grids, rules, and what each file holds
            tensors.npz               the same arrays for NumPy
            activations.hex  weights.hex  channels.hex  thresholds.hex
            registers.hex             how costing/rtl is set up; absent where it cannot run the layer
            accumulators.hex  codes.hex    expected

A .hex file is one two's complement word per line, as $readmemh reads it: levels in 16 bits (32 where they need them),
everything else in 32.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intsim.errors import InputError
from intsim.exporters.product import Product, epilogue_node, layer_nodes, product_of
from intsim.exporters.registers import NotInHardwareError, channel_words, layer_registers
from intsim.ir.attributes import Inline, encode_fields, encode_grid
from intsim.ir.graph import Graph
from intsim.ir.types import Grid, Value

FORMAT = 1
S16 = np.iinfo(np.int16)

Arrays = dict[str, NDArray[np.int64]]

MEANING = {
    "activations": "levels (images, positions, channels): positions by rows, then one of padding if the layer has any",
    "weights": "levels (groups, k, n); k counts (channel, row, column) of the kernel",
    "channels": "per output channel: bias, multiplier, shift, base, levels in use, strict, descending",
    "thresholds": "per output channel, ascending; the rest of a row is 0",
    "registers": "layer_t of costing/rtl/systolic_pkg.sv, in its order",
    "accumulators": "expected sums (m, output channels), bias included",
    "codes": "expected codes (m, output channels)",
}


def needed_values(graph: Graph) -> tuple[str, ...]:
    """Names of the values that `export_vectors` writes: inputs, accumulators and codes of the layers."""
    names = []
    for node in layer_nodes(graph):
        epilogue = epilogue_node(graph, node)
        names += [node.inputs[0], node.name, *([epilogue.name] if epilogue else [])]
    return tuple(dict.fromkeys(names))


def export_vectors(graph: Graph, values: Mapping[str, Value], folder: Path) -> None:
    """Write the folder, whole or not at all.

    values   what the reference backend makes of some images, at least the `needed_values`
    folder   does not exist yet, or is empty
    raises   InputError where it cannot be written, or the graph has no such layer
    """
    nodes = layer_nodes(graph)
    if not nodes:
        raise InputError("vectors are of conv2d and linear layers, and the graph has neither")
    with _complete_folder(folder) as building:
        entries = []
        for index, node in enumerate(nodes):
            name = f"{index:02}_{re.sub('[^A-Za-z0-9_.-]', '_', node.name)}"
            (building / name).mkdir()
            entries.append({"name": node.name, "operator": node.mnemonic, "folder": name})
            _write_layer(product_of(graph, node, values), building / name)
        _write_json(building / "manifest.json", {"format": FORMAT, "layers": entries, "metadata": dict(graph.metadata)})


def _write_layer(product: Product, folder: Path) -> None:
    channels, thresholds = channel_words(product)
    activations, padding = product.activations, product.padding
    if product.geometry.padded:
        position = np.broadcast_to(padding, (len(activations), 1, len(padding)))
        activations = np.concatenate([activations, position], axis=1)
    arrays: Arrays = {"activations": activations, "weights": product.weights, "channels": channels}
    if thresholds.size:
        arrays["thresholds"] = thresholds
    arrays["accumulators"] = product.accumulators
    if product.epilogue is not None:
        arrays["codes"] = product.epilogue.codes
    unsupported = None
    try:
        arrays["registers"] = layer_registers(product)
    except NotInHardwareError as error:
        unsupported = str(error)

    files = {}
    for name, array in arrays.items():
        level = name in ("activations", "weights")
        bits = 16 if level and S16.min <= array.min() and array.max() <= S16.max else 32
        (folder / f"{name}.hex").write_bytes(_hex(array, bits))
        files[f"{name}.hex"] = {"shape": list(array.shape), "bits": bits, "meaning": MEANING[name]}
    np.savez_compressed(folder / "tensors.npz", allow_pickle=False, **arrays)
    _write_json(folder / "manifest.json", _manifest(product) | {"not_in_hardware": unsupported, "files": files})


def _manifest(product: Product) -> dict[str, Any]:
    geometry, epilogue = product.geometry, product.epilogue
    return {
        "format": FORMAT,
        "name": product.node.name,
        "operator": product.node.mnemonic,
        "attributes": encode_fields(product.node.op, Inline()),
        "images": geometry.images,
        "input": {"height": geometry.height, "width": geometry.width, "channels": geometry.channels},
        "output": {"height": geometry.out_height, "width": geometry.out_width, "channels": geometry.out_channels},
        "kernel": list(geometry.kernel),
        "product": {"groups": geometry.groups, "m": geometry.m, "k": geometry.k, "n": geometry.n},
        "activation": _grid(product.activation_grid, product.activations, product.padding),
        "weight": _grid(product.weight_grid, product.weights),
        "padding_levels": product.padding.tolist(),
        "epilogue": None
        if epilogue is None
        else {
            "operator": epilogue.op.mnemonic,
            "attributes": encode_fields(epilogue.op, Inline()),
            "code_bits": epilogue.out.element.bits,
        },
    }


def _grid(grid: Grid, *levels: NDArray[np.int64]) -> dict[str, Any]:
    """A grid, and the least and the greatest level that occur."""
    least, greatest = min(int(a.min()) for a in levels), max(int(a.max()) for a in levels)
    return {"grid": encode_grid(grid, Inline()), "least_level": least, "greatest_level": greatest}


def _hex(array: NDArray[np.int64], bits: int) -> bytes:
    """Big-endian hexadecimal digits of every element, one element per line."""
    digits = array.astype(f">i{bits // 8}").tobytes().hex().encode()
    return b"\n".join(np.frombuffer(digits, f"S{bits // 4}").tolist()) + b"\n"


def _write_json(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=2, allow_nan=False) + "\n", encoding="utf-8")


@contextmanager
def _complete_folder(folder: Path) -> Iterator[Path]:
    """A folder beside `folder` that takes its name when all is written, and vanishes if something fails."""
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"{folder}: is there already, state the name of a new folder")
    try:
        building = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror}") from None
    try:
        yield building
        building.chmod(0o755)
        os.replace(building, folder)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror}") from None
    finally:
        shutil.rmtree(building, ignore_errors=True)
