"""What the cost model takes: estimates, allocations, fronts and sweeps of ResNet-18, beside the time they may take.

    python -m bench.cost        from the folder of the project; a table, and status 1 where something is too slow

An estimate is warm: the network and the target are loaded. "worked out anew" forgets every layer before each run.
"""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

from intsim.costing import Layer, Pair, allocate, estimate, load_target, menu_of, pareto, read_topology
from intsim.costing.estimate import layer_cost
from intsim.costing.sweep import Summary, sweep
from tests.conftest import SHARED
from tests.costing.hawq import hawq_problems

HAWQ = SHARED / "reference" / "hawq_resnet18_ilp.json"
SWEEP = """
networks = ["resnet18.csv"]
targets = ["systolic_ws", "systolic_os", "systolic_is", "scalesim3_ws", "stripes", "bitfusion"]
arrays = ["8x8", "8x16", "16x8", "16x16", "16x32", "32x16", "32x32", "32x64", "64x64"]
batches = [1, 4, 16, 64]
weight_bits = [2, 3, 4, 5, 6, 7, 8]
act_bits = [2, 3, 4, 5, 6, 7, 8]
first_last_bits = 8
"""


class Row(NamedTuple):
    """One figure: at most `allowed` of its unit."""

    what: str
    measured: float
    allowed: float
    unit: str

    @property
    def verdict(self) -> str:
        return "pass" if self.measured < self.allowed else "MISS"


def measure() -> Iterator[Row]:
    """Every figure, one after the other."""
    with TemporaryDirectory() as folder:
        topology = Path(folder, "resnet18.csv")
        topology.write_text(resnet18())
        layers = read_topology(topology)
        for target, allowed in (("systolic_ws", 1.0), ("systolic_os", 1.0), ("systolic_is", 1.0), ("bitfusion", 50.0)):
            yield from estimates(layers, target, allowed)
        yield from objectives()
        yield from fronts(layers)
        yield from sweeps(Path(folder))


def estimates(layers: list[Layer], target: str, allowed: float) -> Iterator[Row]:
    machine = load_target(target)

    def anew() -> None:
        layer_cost.cache_clear()
        estimate(layers, machine)

    yield Row(f"estimate, {target}", best_ms(lambda: estimate(layers, machine)), allowed, "ms")
    yield Row(f"estimate, {target}, worked out anew", best_ms(anew), allowed, "ms")


def objectives() -> Iterator[Row]:
    """HAWQ-V3's problems; none where the file with them is not beside the checkout."""
    for problem in hawq_problems(HAWQ) if HAWQ.exists() else ():
        found = allocate(problem.menu, [problem.budget])  # the first imports HiGHS
        assert round(found.predicted_loss, 6) == problem.objective
        took = best_ms(lambda problem=problem: allocate(problem.menu, [problem.budget]), 5)
        yield Row(f"HAWQ-V3's allocation, {problem.name}", took, 50.0, "ms")


def fronts(layers: list[Layer]) -> Iterator[Row]:
    """Every pair of 2..8 bits in every layer, priced and then put on the front, nothing known before."""
    pairs = [Pair(w, a) for w in range(2, 9) for a in range(2, 9)]
    loss = {layer.name: {(w, a): layer.macs * (4.0**-w + 0.7 * 4.0**-a) for w, a in pairs} for layer in layers}
    for target in ("systolic_ws", "bitfusion"):
        layer_cost.cache_clear()
        start = time.perf_counter()
        front = pareto(menu_of(layers, loss, target), "energy", 100)
        yield Row(f"Pareto front of {len(front)} points, {target}", time.perf_counter() - start, 5.0, "s")


def sweeps(folder: Path) -> Iterator[Row]:
    """A sweep on two processes, and the same one killed in the middle and continued."""
    spec, whole, stopped = folder / "sweep.toml", folder / "whole.sqlite", folder / "stopped.sqlite"
    spec.write_text(SWEEP)
    start = time.perf_counter()
    summary = sweep(spec, whole, workers=2)
    took = time.perf_counter() - start
    yield Row(f"sweep of {summary.points:,} points on 2 processes", took, 60.0, "s")

    command = [sys.executable, "-m", "intsim", "sweep", str(spec), "-o", str(stopped), "--workers", "2"]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    time.sleep(took / 2)
    running.send_signal(signal.SIGKILL)
    running.wait()
    continued = sweep(spec, stopped, workers=2)
    lost = len(set(rows(whole)) ^ set(rows(stopped)))
    yield Row(f"points that differ, {between(summary, continued):,} of them made before a kill", lost, 1, "")


def between(whole: Summary, continued: Summary) -> int:
    """Points that were there before the second run; the first was killed in the middle, or the figure means nothing."""
    there = whole.points - continued.estimated
    assert 0 < there < whole.points, f"the sweep was killed at {there} of {whole.points} points"
    return there


def rows(path: Path) -> list[tuple[Any, ...]]:
    with sqlite3.connect(path) as connection:
        return connection.execute("SELECT * FROM points").fetchall()


def best_ms(work: Callable[[], object], runs: int = 20) -> float:
    """Of several runs the shortest; one before them warms up."""
    work()
    return 1e3 * min(duration(work) for _ in range(runs))


def duration(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def resnet18() -> str:
    """Its 21 layers as a topology: padding is part of the input, as SCALE-Sim wants it."""
    lines = ["conv1,230,230,7,7,3,64,2", "fc,1,1,1,1,512,1000,1"]
    channels, size = 64, 56
    for stage, width in enumerate((64, 128, 256, 512), start=1):
        for block in range(2):
            stride = 2 if stage > 1 and block == 0 else 1
            lines.insert(-1, f"layer{stage}.{block}.conv1,{size + 2},{size + 2},3,3,{channels},{width},{stride}")
            if stride == 2:
                lines.insert(-1, f"layer{stage}.{block}.downsample,{size},{size},1,1,{channels},{width},2")
            channels, size = width, size // stride
            lines.insert(-1, f"layer{stage}.{block}.conv2,{size + 2},{size + 2},3,3,{width},{width},1")
    header = "Layer name,IFMAP Height,IFMAP Width,Filter Height,Filter Width,Channels,Num Filter,Strides"
    return "\n".join([header, *lines])


def test_times(benchmark: Any) -> None:
    """The table is under `extra_info`."""
    for row in benchmark.pedantic(lambda: list(measure()), rounds=1):
        benchmark.extra_info[row.what] = row._asdict()
        assert row.verdict == "pass", row


if __name__ == "__main__":
    missed = 0
    print(f"{'ResNet-18':64} {'measured':>12} {'allowed':>10}")
    for row in measure():
        print(
            f"{row.what:64} {row.measured:9.3f} {row.unit:2} {row.allowed:7g} {row.unit:2}  {row.verdict}", flush=True
        )
        missed += row.verdict == "MISS"
    sys.exit(missed > 0)
