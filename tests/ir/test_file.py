"""The .intsim file: exact round trips, and one clear error for anything damaged, truncated, foreign or hostile."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from intsim.errors import FileFormatError
from intsim.ir.check import check
from intsim.ir.file import Model, load, save
from tests.ir.sample import every_operator
from tests.ir.test_text import assert_equal_graphs


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "sample.intsim"
    save(path, Model(every_operator()))
    return path


def test_saving_and_loading_is_exact(path):
    assert_equal_graphs(load(path).graph, every_operator())


def test_nothing_is_left_beside_the_file(path):
    assert [p.name for p in path.parent.iterdir()] == ["sample.intsim"]


def test_saving_is_deterministic(path, tmp_path):
    save(tmp_path / "again.intsim", Model(every_operator()))
    assert path.read_bytes() == (tmp_path / "again.intsim").read_bytes()


def rewrite(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change the JSON in the header and write the file as safetensors has it."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    outer = json.loads(data[8 : 8 + length])
    inner = json.loads(outer["__metadata__"]["intsim"])
    change(inner)
    outer["__metadata__"]["intsim"] = json.dumps(inner)
    header = json.dumps(outer).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + data[8 + length :])


def node(model: dict[str, Any], name: str) -> list[Any]:
    return next(item for item in model["graph"]["nodes"] if item[0] == name)


HOSTILE: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "another version": (lambda m: m.update(format=99), "format 99"),
    "no version": (lambda m: m.pop("format"), "not one of intsim"),
    "no graph": (lambda m: m.pop("graph"), "graph"),
    "a shape that overflows": (
        lambda m: m["graph"]["constants"]["conv.weight"].update(shape=[4, 2, 3, 1 << 62]),
        "extents below",
    ),
    "a shape larger than its data": (
        lambda m: m["graph"]["constants"]["conv.weight"].update(shape=[4, 2, 3, 300000]),
        "conv.weight.*bytes",
    ),
    "a negative extent": (lambda m: m["graph"]["constants"]["conv.weight"].update(shape=[4, 2, 3, -3]), "positive"),
    "a reference out of range": (
        lambda m: m["graph"]["constants"]["conv.bias"].update(data=[1 << 40, [4], "s32"]),
        "array",
    ),
    "a reference before the start": (
        lambda m: m["graph"]["constants"]["conv.bias"].update(data=[-8, [4], "s32"]),
        "array",
    ),
    "a reference of wrong width": (
        lambda m: m["graph"]["constants"]["conv.bias"].update(data=[0, [4], "s99"]),
        "array|type",
    ),
    "a node that reads the future": (
        lambda m: node(m, "conv").__setitem__(2, ["fc", "conv.weight"]),
        "nothing before it",
    ),
    "a name taken twice": (lambda m: node(m, "q").__setitem__(0, "conv"), "the name is taken"),
    "an unknown operator": (lambda m: node(m, "q").__setitem__(1, "exec"), "unknown operator 'exec'"),
    "an unknown attribute": (lambda m: node(m, "conv")[3].update(shell="rm"), "expected the fields"),
    "a negative stride": (lambda m: node(m, "conv")[3].update(stride=[-1, 1]), "stride"),
    "a stride that is text": (lambda m: node(m, "conv")[3].update(stride="1"), "stride: expected"),
    "a huge padding": (lambda m: node(m, "conv")[3].update(padding=[1 << 40] * 4), "elements"),
    "a missing attribute": (lambda m: node(m, "q")[3].pop("rounding"), "rounding is missing"),
    "an output that is not there": (lambda m: m["graph"].update(outputs=["nothing"]), "output 'nothing'"),
    "a scale of zero": (lambda m: node(m, "q")[3]["out"].update(scale=0.0), "positive"),
    "a scale that is NaN": (lambda m: node(m, "q")[3]["out"].update(scale="nan"), "scale"),
    "a type of 99 bits": (lambda m: node(m, "q")[3]["out"].update(element="u99"), "integer type"),
    "a table of wrong length": (lambda m: m["graph"]["constants"]["lut"].update(shape=[8]), "a table of 16 entries"),
    "nested without end": (lambda m: m.update(graph=json.loads("[" * 900 + "]" * 900)), "not a readable"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_headers_get_one_clear_error(path, name):
    change, message = HOSTILE[name]
    rewrite(path, change)
    with pytest.raises(FileFormatError, match=message) as error:
        load(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_unsorted_thresholds_are_refused(tmp_path):
    graph = every_operator()
    graph.constants["t.thresholds"].codes[2, 0] = 3000
    save_unchecked(tmp_path / "bad.intsim", graph)
    with pytest.raises(FileFormatError, match="threshold 't': thresholds of channel 2 are not sorted"):
        load(tmp_path / "bad.intsim")


def save_unchecked(path: Path, graph: Any) -> None:
    import intsim.ir.file as file

    original, file.check = file.check, lambda g: g  # type: ignore[assignment]
    try:
        save(path, Model(graph))
    finally:
        file.check = original


@pytest.mark.parametrize("keep", [0, 7, 8, 100, -1, -50])
def test_truncated_files_are_refused(path, keep):
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(FileFormatError, match="not a readable"):
        load(path)


def test_foreign_files_are_refused(tmp_path):
    (tmp_path / "a.intsim").write_bytes(b"PK\x03\x04 not a model at all, but long enough to have a header")
    with pytest.raises(FileFormatError, match="not a readable"):
        load(tmp_path / "a.intsim")
    save_file({"weight": np.zeros(3, np.float32)}, tmp_path / "b.intsim")
    with pytest.raises(FileFormatError, match="not one of intsim"):
        load(tmp_path / "b.intsim")
    with pytest.raises(FileFormatError, match="No such file"):
        load(tmp_path / "c.intsim")


@pytest.mark.parametrize("seed", range(200))
def test_a_damaged_byte_is_refused_or_harmless(path, seed):
    """Any single damaged byte gives a clear error, or a graph that still satisfies every check."""
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(seed)
    data[rng.integers(len(data))] ^= 1 << rng.integers(8)
    path.write_bytes(bytes(data))
    with suppress(FileFormatError):
        check(load(path).graph)
