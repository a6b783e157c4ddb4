"""The table of accuracies: what every method keeps of ResNet-20 and MobileNetV2, as integers.

    python bench/accuracy.py OUT [--rows PATTERN,..] [--seeds 0,1,2] [--shared DIR]

Every row and seed runs in a process of its own, which says its time and peak memory, and leaves one JSON document in
OUT; what is there already is not run again. Methods that are not registered are listed as absent. Top-1 is that of the
integer graph on the native backend; p is McNemar's, image by image, against the row's peer and against float.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

SQNR_IMAGES, VERIFY_IMAGES, RUN_IMAGES = 50, 100, 100


@dataclass(frozen=True)
class Row:
    """One line of the table; `peer` is the name of the row that it is compared with."""

    network: str
    method: str
    weight_bits: int
    act_bits: int
    scales: str = "multiplier"
    tune: str = "none"
    options: dict[str, str] = field(default_factory=dict)
    peer: str = ""

    @property
    def name(self) -> str:
        tuned = "" if self.tune == "none" else f"+{self.tune}"
        return f"{self.network}.{self.method}{tuned}.w{self.weight_bits}a{self.act_bits}.{self.scales}"


def rows() -> list[Row]:
    """Every row, peers first; each method also with BatchNorm tuning, compared with itself without."""
    table: list[Row] = []

    def add(
        network: str, method: str, weight_bits: int, act_bits: int, scales: str = "multiplier", peer: str = "mse"
    ) -> None:
        plain = Row(network, method, weight_bits, act_bits, scales)
        against = "" if method == peer else Row(network, peer, weight_bits, act_bits, scales).name
        table.append(Row(network, method, weight_bits, act_bits, scales, peer=against))
        table.append(Row(network, method, weight_bits, act_bits, scales, "batchnorm", peer=plain.name))

    for weight_bits, act_bits in ((4, 4), (3, 3), (2, 4)):
        for method in ("mse", "minmax", "percentile", "adaquant"):
            add("resnet20", method, weight_bits, act_bits)
        for method in ("uwc", "adaround", "brecq", "qdrop"):
            add("resnet20", method, weight_bits, act_bits, peer="adaquant")
        for method in ("mse", "rapq"):
            add("resnet20", method, weight_bits, act_bits, "pow2")
    for weight_bits, act_bits in ((6, 6), (4, 4), (2, 4)):
        for method in ("mse", "adaquant"):
            add("mobilenet", method, weight_bits, act_bits)
    add("mobilenet", "uwc", 4, 4, peer="adaquant")
    add("mobilenet", "mse", 2, 4, "pow2")
    add("mobilenet", "rapq", 2, 4, "pow2")
    return table


def measure(row: Row, seed: int, out: Path, zoo: Any) -> dict[str, Any]:
    """Calibrate, evaluate, verify and prove one row; everything about it that the table may need."""
    import torch

    from intsim.backends import load_backend
    from intsim.benchmark.accuracy import layer_sqnr
    from intsim.calibrate import Settings, quantize_graph
    from intsim.frontend.capture import capture
    from intsim.frontend.execute import run_float
    from intsim.ir.file import Model
    from intsim.lower import lower
    from intsim.verification import prove, verify

    make, calibration, evaluation, shape = {
        "resnet20": (zoo.resnet20, zoo.cifar10_calibration, zoo.cifar10_evaluation, (2, 3, 32, 32)),
        "mobilenet": (zoo.mobilenet_v2, zoo.imagenet_calibration, zoo.imagenet_evaluation, (2, 3, 224, 224)),
    }[row.network]
    graph = capture(make(), torch.zeros(shape))
    settings = Settings(
        row.method,
        row.weight_bits,
        row.act_bits,
        row.scales,  # type: ignore[arg-type]
        weight_grid="asymmetric",  # one zero point for each scale: worth 2 points of plain rounding at 4 bits
        tune=row.tune,  # type: ignore[arg-type]
        seed=seed,
        options=row.options,
    )
    start = time.perf_counter()
    quantized = quantize_graph(graph, calibration()[0], settings, resume=out / "state" / f"{row.name}.{seed}")
    seconds = time.perf_counter() - start
    integers = lower(quantized)
    (output,) = integers.outputs
    images, labels = evaluation()
    engine = load_backend("native", integers)
    batches = (engine.run(batch.numpy(), wanted=(output,))[output].reals for batch in images.split(RUN_IMAGES))
    right = np.concatenate([reals.argmax(1) for reals in batches]) == labels.numpy()
    float_right = [run_float(graph, batch)[graph.outputs[0]].argmax(1) for batch in images.split(RUN_IMAGES)]
    layers = {node.name for node in graph.weighted}
    wanted: dict[str, Any] = {}
    sample = images[:SQNR_IMAGES]
    run_float(graph, sample, visit=lambda name, x: wanted.update({name: x.numpy()}) if name in layers else None)
    model = Model(integers, quantized)
    report = verify(model, (images[:VERIFY_IMAGES].numpy(),), sample=4)
    return {
        **asdict(row),
        "name": row.name,
        "seed": seed,
        "top1": float(right.mean()),
        "right": np.packbits(right).tobytes().hex(),
        "float_right": np.packbits(torch.cat(float_right).numpy() == labels.numpy()).tobytes().hex(),
        "images": len(right),
        "sqnr_db": layer_sqnr(integers, (sample.numpy(),), wanted),
        "seconds": seconds,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "bit_exact": report.bit_exact,
        "proved": prove(model).proved,
    }


def bits_of(document: dict[str, Any], key: str) -> np.ndarray:
    return np.unpackbits(np.frombuffer(bytes.fromhex(document[key]), np.uint8))[: document["images"]].astype(bool)


def print_table(table: list[Row], seeds: list[int], out: Path) -> None:
    """Medians over the seeds; p of the median seed against the peer's with the same seed, and against float."""
    from intsim.benchmark.accuracy import mcnemar
    from intsim.calibrate import METHODS

    def found(name: str, seed: int) -> dict[str, Any] | None:
        path = out / f"{name}.{seed}.json"
        return json.loads(path.read_text()) if path.exists() else None

    print(f"{'row':52} {'top-1':>6} {'p(peer)':>9} {'p(float)':>9} {'s':>7} {'GiB':>5}  exact proved")
    for row in table:
        runs = [run for seed in seeds if (run := found(row.name, seed)) is not None]
        if not runs:
            print(f"{row.name:52} {'absent: no such method' if row.method not in METHODS else 'not run'}")
            continue
        middle = min(runs, key=lambda run: abs(run["top1"] - median(r["top1"] for r in runs)))
        right, peer = bits_of(middle, "right"), found(row.peer, middle["seed"]) if row.peer else None
        against = "" if peer is None else f"{mcnemar(right, bits_of(peer, 'right')):.2g}"
        floats = f"{mcnemar(right, bits_of(middle, 'float_right')):.2g}"
        seconds, peak = (max(run[key] for run in runs) for key in ("seconds", "peak_bytes"))
        exact, proved = (all(run[key] for run in runs) for key in ("bit_exact", "proved"))
        print(
            f"{row.name:52} {100 * middle['top1']:6.2f} {against:>9} {floats:>9} {seconds:7.0f} {peak / 2**30:5.1f}"
            f"  {exact!s:5} {proved}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", default="*", help="names or patterns, with commas")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--shared", type=Path, default=Path(__file__).resolve().parents[2] / "shared")
    parser.add_argument("--only", action="store_true", help=argparse.SUPPRESS)  # a row's own process
    arguments = parser.parse_args()
    patterns, seeds = arguments.rows.split(","), [int(seed) for seed in arguments.seeds.split(",")]
    table = [row for row in rows() if any(fnmatch(row.name, pattern) for pattern in patterns)]
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.only:
        sys.path.insert(0, str(arguments.shared))
        import zoo

        (row,), (seed,) = table, seeds
        document = measure(row, seed, arguments.out, zoo)
        target = arguments.out / f"{row.name}.{seed}.json"
        target.with_suffix(".part").write_text(json.dumps(document))
        target.with_suffix(".part").rename(target)
        return
    from intsim.calibrate import METHODS

    for row in table:
        for seed in seeds:
            if row.method in METHODS and not (arguments.out / f"{row.name}.{seed}.json").exists():
                command = [sys.executable, __file__, str(arguments.out), "--rows", row.name, "--seeds", str(seed)]
                status = subprocess.run([*command, "--shared", str(arguments.shared), "--only"]).returncode
                print(f"{row.name} seed {seed}: {'done' if status == 0 else f'failed with {status}'}", file=sys.stderr)
    print_table(table, seeds, arguments.out)


if __name__ == "__main__":
    main()
