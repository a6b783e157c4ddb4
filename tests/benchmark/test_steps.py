"""A profile has every step of a run, with its kernel. Nothing about how fast."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from intsim.backends.native import NativeBackend
from intsim.benchmark.layers import ConvShape, conv_codes, conv_graph
from intsim.benchmark.steps import step_times
from intsim.cli import execute
from intsim.ir.file import Model, save


def small_graph() -> Any:
    return conv_graph(conv_codes(ConvShape(16, 24, 3, 1, 1, 8), 1, 4, 4), 4, 4, "threshold")


def test_steps_add_up_and_name_their_kernels() -> None:
    graph = small_graph()
    steps = step_times(graph, batch=3, rounds=2)
    assert sum(step.share for step in steps) == pytest.approx(1)
    (layer,) = [step for step in steps if step.kernel]
    assert (layer.name, layer.kernel) == ("conv", NativeBackend(graph).kernels["conv"])
    assert layer.gmacs * layer.ms * 1e6 == pytest.approx(3 * graph.macs()["conv"])


def test_a_profile_covers_many_images() -> None:
    """More than go through a plan at once."""
    x = np.random.default_rng(0).integers(0, 16, (70, 16, 8, 8), np.uint8)
    profile = NativeBackend(small_graph(), 2).profile(x)
    assert len(profile) >= 3 and all(ns > 0 for _, ns in profile)


def test_the_command_prints_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "layer.intsim"
    save(file, Model(small_graph()))
    assert execute(["bench", "steps", str(file), "--rounds", "2", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [row["name"] for row in rows].count("conv") == 1
    assert execute(["bench", "steps", str(file), "--rounds", "2"]) == 0
    assert "ms in all" in capsys.readouterr().out
