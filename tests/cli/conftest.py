"""Commands run in this process: the exit status, and what stands on stdout and stderr."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intsim.cli import execute
from intsim.ir.file import Model, save
from tests.ir.sample import every_operator


@dataclass(frozen=True)
class Result:
    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def complaint(self) -> str:
        """The one line of a command that met bad input and printed nothing else."""
        assert (self.status, self.out) == (2, ""), self
        (line,) = self.err.splitlines()
        assert line.startswith("intsim: ")
        return line


Command = Callable[..., Result]


@pytest.fixture
def intsim(capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs `intsim ARGUMENTS..`."""

    def run(*arguments: object) -> Result:
        status = execute([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Result(status, captured.out, captured.err)

    return run


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """An .intsim file whose first output is (N, 5) for (N, 4, 6, 6) float32."""
    path = tmp_path / "sample.intsim"
    save(path, Model(every_operator()))
    return path


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Seven images for `model`, with labels."""
    path = tmp_path / "data.npz"
    rng = np.random.default_rng(0)
    images = rng.uniform(0, 2, (7, 4, 6, 6)).astype(np.float32)
    np.savez(path, inputs=images, labels=rng.integers(0, 5, 7))
    return path
