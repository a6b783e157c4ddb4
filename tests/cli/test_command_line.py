"""What all commands share: help, one line for a wrong use, exit statuses, an interruption."""

from __future__ import annotations

import subprocess
import sys

import pytest

import intsim as package
from intsim.verbs import execution

pytestmark = pytest.mark.torchless

COMMANDS = (
    "demo",
    "quantize",
    "verify",
    "prove",
    "run",
    "eval",
    "inspect",
    "export",
    "cost",
    "report",
    "targets",
    "methods",
)


def test_no_arguments_show_the_help(intsim):
    alone = intsim()
    assert alone.status == 0
    assert alone.out == intsim("--help").out
    assert all(command in alone.out for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_and_speaks_json(intsim, command):
    result = intsim(command, "--help")
    assert result.status == 0
    assert "--json" in result.out


def test_the_version(intsim):
    assert intsim("--version").out == f"intsim {package.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("quantise",), "did you mean 'quantize'"),
        (("eval", "--backed", "numba"), "--backend"),
        (("eval",), "missing argument"),
        (("eval", "f.intsim"), "--data"),
        (("eval", "f.intsim", "--data", "d.npz", "--threads", "0"), "--threads"),
        (("cost", "f.intsim", "--target", "bitfusion", "--batch", "two"), "--batch"),
    ],
)
def test_a_wrong_use_is_one_line(intsim, arguments, message):
    assert message in intsim(*arguments).complaint.lower()


def test_an_interruption_ends_with_the_status_of_a_shell(intsim, monkeypatch, model, data, tmp_path):
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(execution, "load_backend", interrupted)
    before = sorted(tmp_path.iterdir())
    result = intsim("run", model, "--data", data, "-o", tmp_path / "codes.npz")
    assert (result.status, result.out) == (130, "")
    assert sorted(tmp_path.iterdir()) == before


def test_python_runs_the_package():
    done = subprocess.run([sys.executable, "-m", "intsim", "targets"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "bitfusion" in done.stdout
