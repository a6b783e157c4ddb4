"""intsim export: vectors of every layer, whole or not at all."""

from __future__ import annotations

import json

import numpy as np
import pytest

from intsim.backends.reference import ReferenceBackend
from intsim.ir.file import load

pytestmark = pytest.mark.torchless


def test_vectors_hold_what_the_reference_computes(intsim, model, data, tmp_path):
    folder = tmp_path / "vectors"
    result = intsim("export", model, "--to", "vectors", "--data", data, "--images", "2", "-o", folder, "--json")
    assert result.status == 0
    graph = load(model).graph
    with np.load(data) as archive:
        names = result.json["layers"]
        expected = ReferenceBackend(graph).run(archive["inputs"][:2], wanted=names)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert [entry["name"] for entry in manifest["layers"]] == names
    for entry in manifest["layers"]:
        with np.load(folder / entry["folder"] / "tensors.npz") as tensors:
            sums = np.moveaxis(expected[entry["name"]].codes, 1, -1)
            np.testing.assert_array_equal(tensors["accumulators"], sums.reshape(-1, sums.shape[-1]))


@pytest.mark.parametrize(("extra", "message"), [(["--to", "verilog"], "vectors"), (["--data", "none.npz"], "none.npz")])
def test_bad_input_is_one_line_and_writes_nothing(intsim, model, data, tmp_path, extra, message):
    arguments = {"--data": data, "--to": "vectors", **dict([extra])}
    options = [part for pair in arguments.items() for part in pair]
    result = intsim("export", model, *options, "-o", tmp_path / "vectors")
    assert result.status == 2
    assert message in result.err
    assert not (tmp_path / "vectors").exists()
