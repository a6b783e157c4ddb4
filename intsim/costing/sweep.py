"""Many estimates: on all cores of one machine, or on the workers of a Dask scheduler; stopped, it continues.

Workers estimate chunks of points and return them; this process alone writes. So a worker that is killed loses what it
had not returned, which another worker estimates again, and a point is listed once however often it was estimated.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from intsim.costing.plan import read_plan
from intsim.costing.results import open_results
from intsim.costing.workers import expect_answer, expect_workers, on_dask, on_processes
from intsim.progress import Progress, silent

CHUNK = 32
"""Points between two messages of a worker; neighbours differ in widths only, and share the layers that do not."""


@dataclass(frozen=True)
class Summary:
    """points: all of the sweep; estimated: those that were new; failed: all without an estimate."""

    points: int
    estimated: int
    failed: int


def sweep(
    spec: str | Path,
    results: str | Path,
    *,
    workers: int | None = None,
    scheduler: str | None = None,
    progress: Progress = silent,
) -> Summary:
    """Estimate every point of a SPEC.toml (plan.py) that the file of results does not have yet, and keep it there.

    results     SQLite file, made where there is none; results that an edited network or target changes are replaced
    workers     processes on this machine, one per core that this process may use unless given
    scheduler   address of a Dask scheduler, "tcp://host:8786", whose workers have intsim installed, instead
    raises      CostError: a bad plan or file, a scheduler that does not answer, workers that keep dying
    """
    points = read_plan(spec)
    expect_workers(workers) if scheduler is None else expect_answer(scheduler)
    with open_results(results) as file:
        there = file.digests()
        missing = [point for point in points if there.get(point.key) != point.digest]
        tasks = [tuple(missing[i : i + CHUNK]) for i in range(0, len(missing), CHUNK)]
        done = len(points) - len(missing)
        progress("sweep", done, len(points))
        chunks = on_processes(tasks, workers) if scheduler is None else on_dask(tasks, scheduler)
        for finished in chunks:
            file.add(finished)
            done += len(finished)
            progress("sweep", done, len(points))
        return Summary(len(points), len(missing), file.failures())
