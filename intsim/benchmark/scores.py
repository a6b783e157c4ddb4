"""A table of accuracies: what each quantized network gets right, and how surely it differs from others."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from intsim.backends import load_backend
from intsim.benchmark.accuracy import float_layers, layer_sqnr, mcnemar
from intsim.data import check_labels
from intsim.ir.file import Model
from intsim.ir.float_graph import FloatGraph

SQNR_IMAGES, VERIFY_IMAGES, RUN_IMAGES = 50, 100, 100


def score(
    model: Model, network: FloatGraph, images: NDArray[np.float32], labels: NDArray[np.integer]
) -> dict[str, Any]:
    """What a table says of a quantized network, as JSON has it.

    network  in floating point
    images   (N, ...), labels (N,)
    returns  top1 of the integers on the native backend; which images they and the network get right, as bits in
             hexadecimal; SQNR of every layer on the first SQNR_IMAGES images; integers of the first VERIFY_IMAGES
             that differ from the PyTorch mirror; whether the model is proved
    raises   InputError for labels that are none of the model's classes
    """
    from intsim.frontend.execute import as_tensor, run_float
    from intsim.verification import prove, verify

    (output,) = model.graph.outputs
    check_labels(labels, int(model.graph.types[output].shape[1] or 0))
    engine = load_backend("native", model.graph)
    batches = [images[start : start + RUN_IMAGES] for start in range(0, len(images), RUN_IMAGES)]
    found = [engine.run(batch, wanted=(output,))[output].reals.argmax(1) for batch in batches]
    floats = [run_float(network, as_tensor(batch))[network.outputs[0]].numpy().argmax(1) for batch in batches]
    right, float_right = (np.concatenate(classes) == labels for classes in (found, floats))
    sample = (images[:SQNR_IMAGES],)
    report = verify(model, (images[:VERIFY_IMAGES],), sample=4)
    return {
        "top1": float(right.mean()),
        "right": _packed(right),
        "float_right": _packed(float_right),
        "images": len(right),
        "sqnr_db": layer_sqnr(model.graph, sample, float_layers(network, sample)),
        "verified_images": report.images,
        "mismatches": sum(comparison.mismatches for comparison in report.exact),
        "proved": prove(model).proved,
    }


def _packed(right: NDArray[np.bool_]) -> str:
    return np.packbits(right).tobytes().hex()


def _unpacked(run: dict[str, Any], key: str) -> NDArray[np.bool_]:
    return np.unpackbits(np.frombuffer(bytes.fromhex(run[key]), np.uint8))[: run["images"]].astype(bool)


def print_table(names: Sequence[tuple[str, str]], seeds: Sequence[int], out: Path) -> None:
    """Medians over the seeds; p of the median seed against the peer's with the same seed, and against float.

    names  of each row, and of the row that is its peer, or ""
    out    the folder that has what `score` says of a row and seed, with "seconds", "resumed" and "peak_bytes", in
           NAME.SEED.json
    """

    def found(name: str, seed: int) -> dict[str, Any] | None:
        path = out / f"{name}.{seed}.json"
        return json.loads(path.read_text()) if path.exists() else None

    width = max((len(name) for name, _ in names), default=0)
    print(
        f"{'row':{width}} {'seeds':>5} {'top-1':>6} {'p(peer)':>9} {'p(float)':>9} {'s':>7} {'GiB':>5}"
        f" {'mismatches':>10} {'of images':>9}  proved"
    )
    for name, peer in names:
        runs = {seed: run for seed in seeds if (run := found(name, seed)) is not None}
        if not runs:
            print(f"{name:{width}} not run")
            continue
        middle = median(run["top1"] for run in runs.values())
        seed = min(runs, key=lambda seed: abs(runs[seed]["top1"] - middle))
        right, other = _unpacked(runs[seed], "right"), found(peer, seed) if peer else None
        against = "" if other is None else f"{mcnemar(right, _unpacked(other, 'right')):.2g}"
        floats = f"{mcnemar(right, _unpacked(runs[seed], 'float_right')):.2g}"
        seconds, peak = (max(run[key] for run in runs.values()) for key in ("seconds", "peak_bytes"))
        time_text = f"{seconds:.0f}{'+' * any(run['resumed'] for run in runs.values())}"
        mismatches, images = (sum(run[key] for run in runs.values()) for key in ("mismatches", "verified_images"))
        proved = "yes" if all(run["proved"] for run in runs.values()) else "NO"
        print(
            f"{name:{width}} {len(runs):5} {100 * runs[seed]['top1']:6.2f} {against:>9} {floats:>9} {time_text:>7}"
            f" {peak / 2**30:5.1f} {mismatches:10} {images:9}  {proved}"
        )
