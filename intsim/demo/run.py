"""The demo: one trained network at 8, 4 and 2 bits; each is verified, proved, priced and timed against float32."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from intsim import verbs
from intsim.backends import load_backend
from intsim.benchmark.measure import Timing, interleave
from intsim.benchmark.peers.pytorch import torch_float32
from intsim.costing import Estimate
from intsim.data import load_data
from intsim.demo.network import WEIGHTS, digits_net
from intsim.progress import Progress, silent
from intsim.verification import Certificate, Report

BITS = (8, 4, 2)
TARGETS = ("systolic_ws", "bitfusion")
THREADS = 1
"""Of every competitor. With more, what else the machine does decides the race, since threads wait for each other."""
MODEL = "intsim.demo.network:digits_net"
CALIBRATION = "intsim.demo.digits:calibration"
EVALUATION = "intsim.demo.digits:evaluation"


@dataclass(frozen=True, eq=False)
class Variant:
    """The network with `bits` for weights and activations; first and last layer and the residual stream keep 8."""

    bits: int
    path: Path
    top1: float
    report: Report
    certificate: Certificate
    estimates: tuple[Estimate, ...]
    timing: Timing

    @property
    def file_bytes(self) -> int:
        return self.path.stat().st_size


@dataclass(frozen=True, eq=False)
class Outcome:
    """What the demo found out. Timings are of all evaluation images in one batch."""

    float_top1: float
    float_bytes: int
    float_timing: Timing
    variants: tuple[Variant, ...]
    images: int
    threads: int

    @property
    def exact(self) -> bool:
        """Whether every variant is bit-exact and proved."""
        return all(variant.report.bit_exact and variant.certificate.proved for variant in self.variants)

    def to_dict(self) -> dict[str, object]:
        """The JSON document of `intsim demo`."""
        return {
            "exact": self.exact,
            "images": self.images,
            "threads": self.threads,
            "float32": {"top1": self.float_top1, "file_bytes": self.float_bytes, "ms": self.float_timing.median_ms},
            "variants": [
                {
                    "file": str(variant.path),
                    "weight_bits": variant.bits,
                    "act_bits": variant.bits,
                    "top1": variant.top1,
                    "bit_exact": variant.report.bit_exact,
                    "proved": variant.certificate.proved,
                    "file_bytes": variant.file_bytes,
                    "ms": variant.timing.median_ms,
                    "cost": {
                        e.target: {"total_cycles": e.total_cycles, "energy_pj": e.energy_pj} for e in variant.estimates
                    },
                }
                for variant in self.variants
            ],
        }


def run_demo(folder: Path, progress: Progress = silent) -> Outcome:
    """Write the models and their certificates into `folder`, and find out everything about them."""
    folder.mkdir(parents=True, exist_ok=True)
    data = load_data(EVALUATION)
    models = {bits: _quantize(bits, folder, progress) for bits in BITS}

    (images,) = data.inputs
    float32 = torch_float32(digits_net(), images, THREADS)
    engines = {str(bits): load_backend("native", model.graph, THREADS) for bits, (_, model) in models.items()}
    timings = interleave({"float32": float32} | {name: partial(e.run, images) for name, e in engines.items()})

    variants = tuple(
        Variant(
            bits=bits,
            path=path,
            top1=verbs.evaluate(model, data, progress=progress).top1,
            report=verbs.verify(model, data, progress=progress),
            certificate=verbs.prove(model, output=path.with_suffix(".proof.json"), progress=progress),
            estimates=tuple(verbs.estimate(model, target) for target in TARGETS),
            timing=timings[str(bits)],
        )
        for bits, (path, model) in models.items()
    )
    float_top1 = float(np.mean(float32().argmax(1) == data.labels))
    return Outcome(float_top1, WEIGHTS.stat().st_size, timings["float32"], variants, len(data), THREADS)


def _quantize(bits: int, folder: Path, progress: Progress) -> tuple[Path, verbs.Model]:
    path = folder / f"digits-{bits}bit.intsim"
    return path, verbs.quantize(
        MODEL, CALIBRATION, weight_bits=bits, act_bits=bits, scales="pow2", output=path, progress=progress
    )
