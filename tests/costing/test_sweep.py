"""Sweeps: what a plan holds, and one file of results whatever happens on the way."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from intsim.costing import estimate, read_topology
from intsim.costing.load_target import BUILTIN
from intsim.costing.plan import read_plan
from intsim.costing.sweep import Summary, sweep
from intsim.errors import CostError

pytestmark = pytest.mark.torchless

TOPOLOGY = """Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,
first, 10, 10, 3, 3, 3, 16, 1,
middle, 8, 8, 3, 3, 16, 24, 2,
last, 1, 1, 1, 1, 96, 10, 1,
"""
SPEC = """
networks = ["net.csv"]
targets = ["systolic_ws", "mine.toml"]
arrays = ["4x4", "8x16"]
batches = [1, 2]
weight_bits = [2, 4, 8]
act_bits = [3, 8]
first_last_bits = 8
widths = ["widths.toml"]
"""
POINTS = 2 * 2 * 2 * (3 * 2 + 1)


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    (tmp_path / "net.csv").write_text(TOPOLOGY)
    (tmp_path / "widths.toml").write_text('[layer."middle"]\nweight_bits = 5\n')
    text = (BUILTIN / "systolic_os.toml").read_text().replace('name = "systolic_os"', 'name = "mine"')
    (tmp_path / "mine.toml").write_text(text)
    path = tmp_path / "spec.toml"
    path.write_text(SPEC)
    return path


def rows(path: Path) -> list[tuple[object, ...]]:
    with sqlite3.connect(path) as connection:
        return connection.execute("SELECT * FROM points").fetchall()


def test_every_point_is_the_estimate_of_its_network(spec: Path) -> None:
    results = spec.with_name("results.sqlite")
    assert sweep(spec, results, workers=1) == Summary(POINTS, POINTS, 0)
    layers = read_topology(spec.with_name("net.csv"))
    found = {row[:5]: row for row in rows(results)}
    assert len(found) == POINTS
    for allocation, (weight_bits, act_bits) in {"4/3": (4, 3), "widths.toml": (5, 8)}.items():
        made = [layers[0], replace(layers[1], weight_bits=weight_bits, act_bits=act_bits), layers[2]]
        for name, target in (("systolic_ws", "systolic_ws"), ("mine.toml", spec.with_name("mine.toml"))):
            expected = estimate(made, target, "8x16", batch=2)
            row = found["net.csv", allocation, name, "8x16", 2]
            assert (row[6:10], row[11]) == (
                (expected.macs, expected.total_cycles, expected.compute_cycles, expected.stall_cycles),
                expected.dram_bits,
            )
            assert row[12] == pytest.approx(expected.energy_pj)


def test_networks_have_their_own_widths_unless_the_plan_states_some(spec: Path) -> None:
    spec.write_text('networks = ["net.csv"]\ntargets = ["bitfusion"]\n')
    (point,) = read_plan(spec)
    assert point.key == ("net.csv", "own", "bitfusion", "16x32", 1)
    assert list(point.layers) == read_topology(spec.with_name("net.csv"))


def test_a_stopped_sweep_continues(spec: Path) -> None:
    whole, stopped = spec.with_name("whole.sqlite"), spec.with_name("stopped.sqlite")
    sweep(spec, whole, workers=1)

    class StopError(Exception):
        pass

    def stop(what: str, done: int, total: int) -> None:
        if 0 < done < total:
            raise StopError

    with pytest.raises(StopError):
        sweep(spec, stopped, workers=1, progress=stop)
    there = len(rows(stopped))
    assert 0 < there < POINTS
    assert sweep(spec, stopped, workers=1) == Summary(POINTS, POINTS - there, 0)
    assert rows(stopped) == rows(whole)
    assert sweep(spec, stopped, workers=1) == Summary(POINTS, 0, 0)


def test_results_that_an_edited_network_changes_are_replaced(spec: Path) -> None:
    results = spec.with_name("results.sqlite")
    sweep(spec, results, workers=1)
    before = rows(results)
    spec.with_name("net.csv").write_text(TOPOLOGY.replace("24", "25"))
    assert sweep(spec, results, workers=1) == Summary(POINTS, POINTS, 0)
    assert len(rows(results)) == len(before)
    assert not set(rows(results)) & set(before)


def test_a_killed_worker_loses_nothing_and_duplicates_nothing(spec: Path) -> None:
    whole, results = spec.with_name("whole.sqlite"), spec.with_name("results.sqlite")
    sweep(spec, whole, workers=1)
    killed: list[int] = []

    def kill_one(what: str, done: int, total: int) -> None:
        if done and not killed:
            workers = multiprocessing.active_children()
            assert len(workers) == 2
            killed.append(workers[0].pid or 0)
            os.kill(killed[0], signal.SIGKILL)

    spec.write_text(SPEC.replace("[1, 2]", str([*range(1, 20)])))  # long enough to be in the middle
    sweep(spec, results, workers=2, progress=kill_one)
    assert killed
    assert len(rows(results)) == POINTS // 2 * 19
    assert set(rows(whole)) <= set(rows(results))


def test_a_real_cluster_with_a_killed_worker(spec: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="needs dask.distributed")
    whole, results = spec.with_name("whole.sqlite"), spec.with_name("results.sqlite")
    spec.write_text(SPEC.replace("[1, 2]", str([*range(1, 20)])))
    sweep(spec, whole, workers=2)
    killed: list[int] = []
    quiet = {"distributed.logging.distributed": "critical", "distributed.nanny.environ.OMP_NUM_THREADS": 1}
    dask = pytest.importorskip("dask")
    with (
        dask.config.set(quiet),
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
    ):

        def kill_one(what: str, done: int, total: int) -> None:
            if done and not killed:
                killed.append(next(iter(cluster.workers.values())).pid)
                os.kill(killed[0], signal.SIGKILL)

        summary = sweep(spec, results, scheduler=cluster.scheduler_address, progress=kill_one)
    assert killed
    assert summary == Summary(POINTS // 2 * 19, POINTS // 2 * 19, 0)
    assert rows(results) == rows(whole)


def test_a_scheduler_that_does_not_answer(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed", reason="needs dask.distributed")
    monkeypatch.setattr("intsim.costing.workers.CONNECT_S", 1)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()  # takes connections and says nothing
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(CostError, match=rf"scheduler {address}: no answer within 1 s") as error:
            sweep(spec, spec.with_name("results.sqlite"), scheduler=address)
    assert "\n" not in str(error.value)
    with pytest.raises(CostError, match="scheduler nonsense:"):
        sweep(spec, spec.with_name("results.sqlite"), scheduler="nonsense://x")
    assert not spec.with_name("results.sqlite").exists()


def test_points_without_an_estimate_say_why(spec: Path) -> None:
    spec.write_text('networks = ["net.csv"]\ntargets = ["bitfusion"]\nweight_bits = [8]\nact_bits = [8, 16]\n')
    results = spec.with_name("results.sqlite")
    assert sweep(spec, results, workers=1) == Summary(2, 2, 1)
    errors = [row[-1] for row in rows(results)]
    assert errors == [
        "layer 'first': activations have 16 bits, but target 'bitfusion' supports 1 to 8; "
        "use fewer bits or another target",
        None,
    ]


@pytest.mark.parametrize(
    ("line", "instead", "complaint"),
    [
        ('networks = ["net.csv"]', "", r"spec\.toml: networks: missing field"),
        ('networks = ["net.csv"]', "networks = []", r"networks: .*at least 1 item"),
        ("net.csv", "nowhere.csv", r"nowhere\.csv: cannot be read"),
        ("systolic_ws", "systolic_wx", "target 'systolic_wx': unknown; did you mean 'systolic_ws'"),
        ("4x4", "4by4", "array '4by4': expected rows x columns"),
        ("batches = [1, 2]", "batches = [0]", r"batches\.0: .*greater than 0, got 0"),
        ("batches = [1, 2]", "batch = 1", "batch: unknown field"),
        ("weight_bits = [2, 4, 8]", "", "act_bits: weight_bits and act_bits go together"),
        ("act_bits = [3, 8]", "", "act_bits: weight_bits and act_bits go together"),
        ("networks", "networks networks", "not a readable TOML file"),
    ],
)
def test_a_bad_plan_is_one_line_and_leaves_no_file(spec: Path, line: str, instead: str, complaint: str) -> None:
    assert line in SPEC
    spec.write_text(SPEC.replace(line, instead, 1))
    results = spec.with_name("results.sqlite")
    with pytest.raises(CostError, match=complaint) as error:
        sweep(spec, results)
    assert "\n" not in str(error.value)
    assert not results.exists()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('[layer."nowhere"]\nweight_bits = 4', "the network has no layer 'nowhere'"),
        ('[layer."middle"]\nweight_bits = "four"', r"layer\.middle\.weight_bits: .*got 'four'"),
        ('[layer."middle"]\nbits = 4', r"layer\.middle\.bits: unknown field"),
        ("[layer", "not a readable TOML file"),
    ],
)
def test_a_bad_file_of_widths(spec: Path, text: str, complaint: str) -> None:
    spec.with_name("widths.toml").write_text(text)
    with pytest.raises(CostError, match=complaint):
        read_plan(spec)


def test_a_file_of_something_else_is_left_alone(spec: Path) -> None:
    other = spec.with_name("other.sqlite")
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE points (x)")
    with pytest.raises(CostError, match="a database of something else; name another file"):
        sweep(spec, other, workers=1)
    other.write_text("text")
    with pytest.raises(CostError, match="cannot be written: file is not a database"):
        sweep(spec, other, workers=1)
    assert other.read_text() == "text"
    with pytest.raises(CostError, match="cannot be written: unable to open"):
        sweep(spec, spec.parent / "nowhere" / "results.sqlite", workers=1)


def test_no_workers(spec: Path) -> None:
    with pytest.raises(CostError, match="a sweep needs at least 1 worker, got 0"):
        sweep(spec, spec.with_name("results.sqlite"), workers=0)
    assert not spec.with_name("results.sqlite").exists()
