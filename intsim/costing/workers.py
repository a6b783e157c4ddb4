"""Who makes the estimates of a sweep: processes of this machine, or the workers of a Dask scheduler.

Both take chunks of points and yield each chunk's results as they come, in any order. A chunk whose worker died is given
to another; if its worker did return it before, it comes once or twice, with the same results.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache
from multiprocessing import get_context, parent_process
from threading import Thread

from intsim.costing.estimate import estimate
from intsim.costing.load_target import parse_target
from intsim.costing.plan import Point
from intsim.costing.results import Finished, Row
from intsim.costing.target import Target
from intsim.errors import CostError

Chunk = tuple[Point, ...]

CONNECT_S = 10
"""Seconds that a scheduler may take to answer."""
DEATHS = 3
"""So many times a chunk is given to another worker."""


def estimate_points(points: Chunk) -> list[Finished]:
    """What a worker does. Distinct layers are estimated once in its life (estimate.py keeps them)."""
    return [(point.key, point.digest, _row(point)) for point in points]


def _row(point: Point) -> Row:
    try:
        result = estimate(point.layers, _target(point.target_json), point.key.array or None, point.key.batch)
    except CostError as error:
        return Row(error=str(error))
    return Row(
        result.macs,
        result.total_cycles,
        result.compute_cycles,
        result.stall_cycles,
        result.latency_ms,
        result.dram_bits,
        result.energy_pj,
        result.utilisation,
    )


@lru_cache
def _target(text: str) -> Target:
    """One object for each target, since that is how estimates are remembered."""
    return parse_target(text)


def expect_workers(workers: int | None) -> None:
    """CostError for a number of processes that is none."""
    if workers is not None and workers < 1:
        raise CostError(f"a sweep needs at least 1 worker, got {workers}")


def expect_answer(address: str) -> None:
    """CostError where dask is not installed, or the scheduler at `address` says nothing within CONNECT_S."""
    try:
        from distributed import rpc
    except ImportError:
        raise CostError(
            "a sweep on a scheduler needs dask, which is not installed: pip install 'intsim[sweep]'"
        ) from None

    async def greet() -> None:
        async with rpc(address) as scheduler:
            await scheduler.identity()

    try:  # a client waits forever for who takes the connection and says nothing
        asyncio.run(asyncio.wait_for(greet(), CONNECT_S))
    except (OSError, ValueError, TimeoutError) as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise CostError(f"scheduler {address}: no answer within {CONNECT_S} s: {reason}") from None


def on_processes(chunks: Sequence[Chunk], workers: int | None) -> Iterator[list[Finished]]:
    """Chunks on processes of this machine, one per core that this process may use unless `workers` says how many.

    raises   CostError: workers died several times and nothing was finished in between
    """
    count = min(workers or len(os.sched_getaffinity(0)), len(chunks))
    waiting, deaths = set(range(len(chunks))), 0
    while waiting:
        finished = 0
        # Not forked: threads of this process, such as a progress bar's, may hold locks.
        pool = ProcessPoolExecutor(count, mp_context=get_context("spawn"), initializer=_end_with_parent)
        try:
            running = {pool.submit(estimate_points, chunks[i]): i for i in sorted(waiting)}
            for future in as_completed(running):
                if not isinstance(future.exception(), BrokenProcessPool):
                    yield future.result()
                    waiting.remove(running[future])
                    finished += 1
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        deaths = 0 if finished else deaths + 1
        if deaths == DEATHS:
            raise CostError(
                f"worker processes died {DEATHS} times before they finished anything, most likely for want of memory; "
                "state fewer workers"
            )


def _end_with_parent() -> None:
    """A worker whose parent was killed would wait for work forever."""
    parent = parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    Thread(target=watch, daemon=True).start()


def on_dask(chunks: Sequence[Chunk], address: str) -> Iterator[list[Finished]]:
    """Chunks on the workers of the scheduler at `address`, which have intsim installed.

    raises   CostError: a chunk killed several workers
    """
    from distributed import Client, KilledWorker
    from distributed import as_completed as as_they_complete

    with Client(address) as client:
        running = client.map(estimate_points, chunks, pure=False)
        try:
            for future in as_they_complete(running):
                yield future.result()
                future.release()
        except KilledWorker as error:
            raise CostError(f"scheduler {address}: {' '.join(str(error).split())}") from None
