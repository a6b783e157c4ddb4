"""What CONTRIBUTING.md says is true: its operator, its method and its target work as they stand there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from intsim.costing import load_target

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
BLOCKS = dict(re.findall(r"^```\w+\n(?:# (?:intsim/\S+/)?(\w+)\.py\n)(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
"""Python by the name of its file."""


def run(*parts: str) -> None:
    """Runs code in an interpreter of its own, so that nothing stays registered in this one."""
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(parts)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_operator_has_a_meaning_prints_and_runs():
    run(
        BLOCKS["flip"],
        """
from intsim.backends import BACKENDS, load_backend
from intsim.dtypes import IntType
from intsim.ir.graph import Graph, Node
from intsim.ir.text import parse_graph, print_graph
from intsim.ir.types import Grid, Scale

codes = TensorType(Grid(IntType.parse("u4"), Scale((0,), True)), (None, 2, 3))
graph = Graph({"x": codes}, {}, (Node("turned", Flip(2), ("x",)),), ("turned",))
graph = parse_graph(print_graph(graph))
x = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)
for backend in BACKENDS:
    turned = load_backend(backend, graph).run(x)["turned"].codes
    assert np.array_equal(turned, x[:, :, ::-1]), backend
""",
    )


def test_the_method_quantizes_and_is_listed():
    run(
        BLOCKS["trimmed"],
        """
import intsim
from intsim.calibrate import METHODS

assert METHODS["trimmed"].summary.startswith("minmax")
model = intsim.quantize("intsim.demo.network:digits_net", "intsim.demo.digits:calibration", method="trimmed")
assert intsim.evaluate(model, "intsim.demo.digits:evaluation").top1 > 0.95
""",
    )


def toml(value: object) -> str:
    match value:
        case dict():
            return "{ " + ", ".join(f"{key} = {toml(item)}" for key, item in value.items()) + " }"
        case list():
            return "[" + ", ".join(map(toml, value)) + "]"
        case _:
            return json.dumps(value)


def test_the_target_is_the_systolic_one_but_for_what_it_states(tmp_path):
    (text,) = re.findall(r"^```toml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    changes = tomllib.loads(text)
    target = tomllib.loads((ROOT / "intsim/costing/targets/systolic_ws.toml").read_text("utf-8"))
    target["memory"]["dram"] = changes.pop("memory")["dram"]
    path = tmp_path / "edge.toml"
    path.write_text("\n".join(f"{key} = {toml(value)}" for key, value in (target | changes).items()), "utf-8")
    loaded = load_target(path)
    assert (loaded.name, loaded.size.rows, loaded.memory.dram.bandwidth.value) == ("edge_8x8", 8, 25)


def test_the_kernel_is_still_to_be_written_where_the_page_says():
    (row,) = re.findall(r"^    \{\{.*$", PAGE, re.MULTILINE)
    kind = "EpilogueKind::kWide"
    assert kind in row
    assert kind not in (ROOT / "csrc/epilogue_avx2.cpp").read_text("utf-8")
    assert kind in (ROOT / "csrc/epilogue_portable.cpp").read_text("utf-8")
