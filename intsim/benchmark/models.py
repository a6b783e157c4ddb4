"""Whole networks, from float32 images to logits: intsim at several widths against every engine that is installed."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from intsim.backends.native import NativeBackend
from intsim.benchmark.kernels import race
from intsim.benchmark.networks import NETWORKS, Network
from intsim.benchmark.peers import Floats, Peer, Run, installed_peers
from intsim.benchmark.peers.litert import litert
from intsim.benchmark.peers.saturation import SATURATES, largest_error
from intsim.benchmark.rate import Rate
from intsim.calibrate import Settings, quantize_graph
from intsim.calibrate.settings import Scales
from intsim.errors import InputError
from intsim.frontend.capture import capture
from intsim.frontend.execute import as_tensor
from intsim.ir.float_graph import FloatGraph
from intsim.ir.graph import Graph
from intsim.lower import lower
from intsim.progress import Progress, silent

WIDTHS = ((8, 8), (4, 4), (2, 2))
"""(weight, activation) bits of intsim; the first and the last layer and the residual stream have 8."""
CALIBRATION_IMAGES = 4
SMALL_IMAGE = 32
"""Pixels a side, up to which slow peers take part."""
SCALES: Scales = "threshold"
"""Comparisons up to 6 bits, multipliers above: whatever the network's scales are."""


def integer_graph(network: FloatGraph, images: Floats, weight_bits: int, act_bits: int) -> Graph:
    """The integer twin of a network, on the smallest grids that clip nothing: fit for timing, not for accuracy."""
    settings = Settings(method="minmax", weight_bits=weight_bits, act_bits=act_bits, scales=SCALES)
    return lower(quantize_graph(network, images[:CALIBRATION_IMAGES], settings))


def model_rates(
    networks: Sequence[str] = tuple(NETWORKS),
    batches: Sequence[int] = (1, 32),
    threads: Sequence[int] = (1, 2),
    rounds: int = 15,
    peers: Sequence[Peer] | None = None,
    tflite: Mapping[str, Path] | None = None,
    progress: Progress = silent,
) -> list[Rate]:
    """Times of whole networks, every network, batch and number of threads a run of its own, all engines in turns.

    rounds  at batch 1; a quarter of them, at least 3, at larger ones
    tflite  network -> a .tflite file of it, for LiteRT, which takes part with one image at a time
    raises  InputError for a network that there is none of
    """
    tflite = tflite or {}
    unknown = [name for name in (*networks, *tflite) if name not in NETWORKS]
    if unknown:
        raise InputError(f"no network {unknown[0]!r} to time: there are {', '.join(NETWORKS)}")
    peers = installed_peers() if peers is None else peers
    sums = integer_sums(peers)
    rates: list[Rate] = []
    runs = [(name, batch, count) for name in networks for batch in batches for count in threads]
    for done, (name, batch, count) in enumerate(runs):
        progress(f"{name}, batch {batch}, {count} threads", done, len(runs))
        turns = rounds if batch == 1 else max(3, rounds // 4)
        rates += _rates(name, NETWORKS[name], batch, count, turns, peers, sums, tflite.get(name))
    return rates


def integer_sums(peers: Sequence[Peer]) -> dict[str, str]:
    """Whether the sums of each int8 peer are exact on this processor, and if not, by how much they are off."""
    with tempfile.TemporaryDirectory() as folder:
        errors = {peer.name: largest_error(peer, Path(folder)) for peer in peers if peer.bits == 8}
    return {name: f"saturate: off by {error:.0%}" if error > SATURATES else "exact" for name, error in errors.items()}


def _rates(
    name: str,
    network: Network,
    batch: int,
    threads: int,
    rounds: int,
    peers: Sequence[Peer],
    sums: Mapping[str, str],
    tflite: Path | None,
) -> list[Rate]:
    model = network.make()
    images = np.random.default_rng(0).standard_normal((batch, *network.shape), np.float32)
    if batch > 1 or max(network.shape) > SMALL_IMAGE:
        peers = [peer for peer in peers if not peer.slow]
    floats = capture(model, as_tensor(images[:1]))
    graphs = {widths: integer_graph(floats, images, *widths) for widths in WIDTHS}
    with tempfile.TemporaryDirectory() as folder:
        competitors: dict[str, Run] = {peer.name: peer.prepare(model, images, threads, Path(folder)) for peer in peers}
        if tflite is not None and batch == 1:
            competitors["LiteRT int8"] = litert(tflite, threads)
        others = tuple(competitors)
        for widths, graph in graphs.items():
            competitors[str(widths)] = _run_native(graph, images, threads)
        timings, roof_gmacs = race(competitors, rounds, settle=1 if batch == 1 else 0)
    times = {name: timings[name].median_ms for name in others}
    spreads = {name: timings[name].spread_ms for name in others}
    rates = []
    for widths, graph in graphs.items():
        timing = timings[str(widths)]
        gmacs = batch * sum(graph.macs().values()) / timing.median_ms / 1e6
        own = timing.median_ms, timing.spread_ms, gmacs, roof_gmacs
        rates.append(Rate(name, *widths, SCALES, threads, batch, *own, times, spreads, sums))
    return rates


def _run_native(graph: Graph, images: Floats, threads: int) -> Run:
    backend = NativeBackend(graph, threads)
    (output,) = graph.outputs
    return lambda: backend.run(images)[output].codes
