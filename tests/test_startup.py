"""What loads when: the package and its help must not wait for NumPy, PyTorch or Numba."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.torchless


def modules_loaded_by(code: str) -> set[str]:
    """The top-level modules in sys.modules after `code` ran in an interpreter of its own."""
    report = "import sys; print('\\n' + ' '.join({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{report}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def test_importing_the_package_loads_nothing_but_the_standard_library() -> None:
    loaded = modules_loaded_by("import intsim") - modules_loaded_by("pass")
    assert loaded - {"intsim"} <= set(sys.stdlib_module_names)


def test_help_loads_no_framework_and_no_compiler() -> None:
    code = """
from intsim.cli import main
import sys
sys.argv = ["intsim", "--help"]
try:
    main()
except SystemExit as leave:
    assert not leave.code, leave.code
"""
    assert not modules_loaded_by(code) & {"torch", "numba", "scipy", "onnx", "pydantic", "altair"}


def test_an_unknown_verb_names_those_there_are() -> None:
    import intsim

    verbs = "allocate, estimate, evaluate, export, load, prove, quantize, sweep, train, verify"
    with pytest.raises(AttributeError, match=f"'quantise'; its verbs are {verbs}"):
        _ = intsim.quantise
