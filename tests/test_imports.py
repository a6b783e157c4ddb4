"""Who may import whom: data flows one way, and this reads the import statements to keep it so."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.torchless

ROOT = Path(__file__).resolve().parents[1]

# A stage may import the stages of every layer above its own, itself, and no other...
LAYERS = (
    ("errors", "dtypes", "references", "progress", "data"),
    ("arithmetic",),
    ("ir",),
    ("backends", "profiles", "costing", "exporters"),
    ("lower",),
    ("calibrate", "frontend"),
    ("verification",),
    ("benchmark", "reporting"),
    ("verbs", "demo", "cli"),
    ("__main__",),
)
# ...but for these, within one layer.
NEIGHBOURS = {
    ("dtypes", "errors"),
    ("references", "errors"),
    ("data", "errors"),
    ("data", "references"),
    ("calibrate", "frontend"),
    ("reporting", "benchmark"),
    ("demo", "verbs"),
    ("cli", "verbs"),
    ("cli", "demo"),
}
# What only some files may import: those whose path starts with one of these.
RESERVED = {
    "torch": (
        "intsim/frontend/",
        "intsim/calibrate/",
        "intsim/benchmark/peers/",
        "intsim/benchmark/networks.py",
        "intsim/demo/network.py",
        "intsim/verbs/",  # for the type of an argument
    ),
    "numba": ("intsim/backends/numba.py", "intsim/backends/_numba_kernels.py"),
    "intsim._native": ("intsim/backends/native",),
}
# The one look ahead, inside a function: the verb `graph.run(x)` finds the backends when it is called.
LOOKS_AHEAD = {("intsim/ir/graph.py", "intsim.backends.load_backend")}

LAYER_OF = {stage: number for number, layer in enumerate(LAYERS) for stage in layer}


def allowed(importer: str, imported: str) -> bool:
    lower = LAYER_OF[imported] < LAYER_OF[importer]
    return lower or importer == imported or (importer, imported) in NEIGHBOURS


def imported_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of everything that `tree` imports, import_module("...") of a literal included."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, name.name) for name in names)
            case ast.ImportFrom(level=0, module=str(module), names=names):
                yield from ((node.lineno, f"{module}.{name.name}") for name in names)
            case ast.ImportFrom():
                yield node.lineno, "a relative name"
            case ast.Call(
                func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"),
                args=[ast.Constant(value=str(module)), *_],
            ):
                yield node.lineno, module


def reserved(path: str, name: str) -> bool:
    return any(
        f"{name}.".startswith(f"{module}.") and not path.startswith(places) for module, places in RESERVED.items()
    )


def violations(path: str, source: str) -> list[str]:
    """The imports in the file at `path`, such as "intsim/ir/graph.py", that the rule forbids, one line each."""
    stage = Path(path).parts[1].removesuffix(".py")
    if stage == "__init__":
        return []  # the verbs, loaded lazily; test_startup.py watches over what it loads
    if stage not in LAYER_OF:
        return [f"{path}: {stage!r} has no place in LAYERS"]
    found = []
    for line, name in imported_names(ast.parse(source)):
        package, _, rest = name.partition(".")
        target = rest.partition(".")[0]
        where = f"{path}:{line}: {stage} may not import {name}"
        if (path, name) in LOOKS_AHEAD:
            continue
        if name == "a relative name" or reserved(path, name):
            found.append(where)
        elif package == "intsim" and target not in ("_native", "__version__"):
            if target not in LAYER_OF:
                found.append(f"{where}, which has no place in LAYERS")
            elif not allowed(stage, target):
                found.append(where)
    return found


def test_every_import_follows_the_layers() -> None:
    files = sorted((ROOT / "intsim").rglob("*.py"))
    assert files
    found = [line for file in files for line in violations(file.relative_to(ROOT).as_posix(), file.read_text("utf-8"))]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("intsim/costing/estimate.py", "from intsim.backends import native"),
        ("intsim/costing/estimate.py", "from intsim import backends"),
        ("intsim/arithmetic/rounding.py", "def f():\n    import intsim.ir.graph"),
        ("intsim/frontend/capture.py", "from intsim.calibrate.mse import search"),
        ("intsim/verification/prove.py", "import torch.nn as nn"),
        ("intsim/ir/graph.py", "from torch import Tensor"),
        ("intsim/cli/run.py", "importlib.import_module('torch')"),
        ("intsim/backends/native.py", "import numba"),
        ("intsim/backends/reference.py", "from intsim import _native"),
        ("intsim/ir/graph.py", "from . import types"),
        ("intsim/ir/graph.py", "import intsim"),
        ("intsim/ir/graph.py", "from intsim import verify"),
        ("intsim/lower/fold.py", "from intsim.helpers import chain"),
        ("intsim/helpers/chain.py", "import os"),
    ],
)
def test_a_forbidden_import_is_found(path: str, source: str) -> None:
    assert len(violations(path, source)) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("intsim/calibrate/mse.py", "import torch\nfrom intsim.frontend.capture import capture"),
        ("intsim/backends/native.py", "from intsim import _native\nfrom intsim.ir.graph import Graph"),
        ("intsim/backends/numba.py", "import numba"),
        ("intsim/ir/file.py", "from intsim import __version__\nimport torchless"),
        ("intsim/cli/__init__.py", "from intsim import verbs"),
    ],
)
def test_an_allowed_import_passes(path: str, source: str) -> None:
    assert violations(path, source) == []


def test_only_the_bindings_know_python() -> None:
    includes = re.compile(r"^\s*#\s*include\s*[<\"](pybind11/|Python\.h|bindings\.h)", re.MULTILINE)
    sources = [file for file in sorted((ROOT / "csrc").glob("*")) if includes.search(file.read_text("utf-8"))]
    bindings = ["bindings.cpp", "bindings.h", "bindings_operators.cpp", "bindings_plan.cpp"]
    assert [file.name for file in sources] in ([], bindings)
