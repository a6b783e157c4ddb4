"""The demo, from beginning to end: every variant exact and proved, one page, files that load."""

from __future__ import annotations

import json

from intsim.backends.native import NativeBackend
from intsim.cli import execute
from intsim.demo.run import BITS, TARGETS
from intsim.ir.file import load


def test_the_demo_is_exact_and_leaves_a_page(tmp_path, capsys):
    folder = tmp_path / "new" / "out"
    assert execute(["demo", "--out", str(folder), "--json"]) == 0
    outcome = json.loads(capsys.readouterr().out)
    assert outcome["exact"] is True
    assert outcome["images"] == 500
    assert outcome["float32"]["top1"] > 0.98
    accuracies = {variant["weight_bits"]: variant["top1"] for variant in outcome["variants"]}
    assert tuple(accuracies) == BITS
    assert accuracies[8] > 0.98
    assert accuracies[4] > 0.97
    assert accuracies[2] > 0.85
    for variant in outcome["variants"]:
        assert variant["bit_exact"] and variant["proved"]
        assert set(variant["cost"]) == set(TARGETS)
        graph = load(variant["file"]).graph
        assert "reference" not in NativeBackend(graph).kernels.values()  # every node has a kernel
        assert str(graph.constants["block2.conv1.weight"].type.integer.element) == f"s{variant['weight_bits']}"
    sizes = [variant["file_bytes"] for variant in outcome["variants"]]
    assert sizes == sorted(sizes, reverse=True)
    assert sum(path.suffix == ".json" for path in folder.iterdir()) == len(BITS)
    page = (folder / "index.html").read_text("utf-8")
    assert outcome["page"] == str(folder / "index.html")
    assert all(text in page for text in ("8 bits", "4 bits", "2 bits", *TARGETS))
