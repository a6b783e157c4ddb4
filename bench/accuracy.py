"""The table of accuracies: what every method keeps of ResNet-20 and MobileNetV2, as integers.

    python bench/accuracy.py OUT [--rows PATTERN,..] [--seeds 0,1,2] [--shared DIR]

Every row and seed runs in a process of its own, which says its time and peak memory, and leaves in OUT one JSON
document and the integers themselves, NAME.SEED.intsim, for `intsim report`; what is there already is not run again.
Top-1 is that of the integer graph on the native backend; p is McNemar's, image by image, against the row's peer and
against float. Training and reconstruction keep their state in OUT/state: a row that was stopped goes on, and a tuned
row begins where its method ended. Its seconds are then those of the last process alone, and marked with a +.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from fnmatch import fnmatch
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from intsim.benchmark.scores import print_table, score

if TYPE_CHECKING:
    from torch import Tensor, nn

    from intsim.costing.menu import Measure
    from intsim.ir.file import Model

BENCH = Path(__file__).resolve().parent
PLAIN = "mse"
"""The method that rounds and trains nothing."""


@dataclass(frozen=True)
class Network:
    """A float network and its images: float32 inputs with labels, each made where it is needed."""

    make: Callable[[], nn.Module]
    calibration: Callable[[], tuple[Tensor, Tensor]]
    evaluation: Callable[[], tuple[Tensor, Tensor]]
    training: Callable[[], tuple[Tensor, Tensor]]


def networks(zoo: Any) -> dict[str, Network]:
    """The networks of the rows; `zoo` is the module of the shared folder."""

    def cifar10() -> tuple[Tensor, Tensor]:
        images, labels = zoo.cifar10("train")
        return zoo.normalize_cifar(images), labels

    return {
        "resnet20": Network(zoo.resnet20, zoo.cifar10_calibration, zoo.cifar10_evaluation, cifar10),
        "mobilenet": Network(
            zoo.mobilenet_v2, zoo.imagenet_calibration, zoo.imagenet_evaluation, zoo.imagenet_calibration
        ),
    }


@dataclass(frozen=True)
class Row(ABC):
    """One line of the table.

    variant  what the row's options are called, where they are too many for its name
    peer     the name of the row that it is compared with
    """

    network: str
    method: str
    weight_bits: int
    act_bits: int
    scales: str = "multiplier"
    tune: str = "none"
    options: Mapping[str, str] = field(default_factory=dict)
    variant: str = ""
    peer: str = ""

    @property
    def name(self) -> str:
        tuned = "" if self.tune == "none" else f"+{self.tune}"
        return f"{self.network}.{self.label}{tuned}.w{self.weight_bits}a{self.act_bits}.{self.scales}"

    @property
    def label(self) -> str:
        options = [self.variant] if self.variant else [f"{name}={value}" for name, value in self.options.items()]
        return ":".join((self.method, *options))

    @property
    def origin(self) -> Row:
        """The row whose training or measurements this one shares."""
        return replace(self, tune="none")

    @abstractmethod
    def integers(self, network: Network, seed: int, state: Path) -> Model:
        """What the row is about; `state` is the folder from which stopped work goes on."""


@dataclass(frozen=True)
class Calibrated(Row):
    """`intsim quantize`, on the calibration images.

    widths  a file of widths beside this one, by its name without .toml
    """

    equalize: bool = False
    widths: str = ""

    @property
    def label(self) -> str:
        return ":".join(filter(None, (super().label, "equalize" * self.equalize, self.widths)))

    def integers(self, network: Network, seed: int, state: Path) -> Model:
        widths = BENCH / f"{self.widths}.toml" if self.widths else None
        return self.quantized(network, self.method, seed, widths=widths, resume=state)

    def quantized(self, network: Network, method: str, seed: int, **where: Path | None) -> Model:
        from intsim.verbs import quantize

        return quantize(
            network.make(),
            network.calibration(),
            method=method,
            weight_bits=self.weight_bits,
            act_bits=self.act_bits,
            scales=self.scales,
            weight_grid=WEIGHT_GRID,
            equalize=self.equalize,
            tune=self.tune,
            seed=seed,
            options=self.options,
            **where,
        )


class Trained(Row):
    """`intsim train`, 8 epochs of the training images, flipped and shifted."""

    def integers(self, network: Network, seed: int, state: Path) -> Model:
        from intsim.verbs import train

        return train(
            network.make(),
            network.training(),
            method=self.method,
            weight_bits=self.weight_bits,
            act_bits=self.act_bits,
            scales=self.scales,
            augment=True,
            seed=seed,
            resume=state,
        )


@dataclass(frozen=True)
class Allocated(Calibrated):
    """`intsim allocate`, then `intsim quantize --widths`: the least loss within what the row's bits cost everywhere.

    within    the budgets: size alone leaves activations free, up to the widest choice; with bit operations, wider
              activations in one layer are paid for by another. The loss is the divergence of the logits, measured
    rounding  the method, without training, that is measured and quantizes
    """

    within: tuple[Measure, ...] = ("size",)
    rounding: str = PLAIN

    @property
    def label(self) -> str:
        return ":".join((self.method, *[self.rounding] * (self.rounding != PLAIN), *self.within))

    @property
    def origin(self) -> Row:
        return replace(self, tune="none", within=("size",))

    def integers(self, network: Network, seed: int, state: Path) -> Model:
        from intsim.costing import Pair, allocate
        from intsim.costing.budget import Budget
        from intsim.verbs import menu, write_widths

        choices = menu(
            network.make(),
            network.calibration(),
            "systolic_ws",
            bits=WIDTHS_TO_ALLOCATE,
            weight_grid=WEIGHT_GRID,
            loss="kl",
            method=self.rounding,
            sensitivities=state,
        )
        uniform = choices.at(Pair(self.weight_bits, self.act_bits))
        best = allocate(choices, [Budget(measure, uniform[measure]) for measure in self.within])
        widths = state / f"{self.name}.toml"
        write_widths(widths, best)
        return self.quantized(network, self.rounding, seed, widths=widths)


WEIGHT_GRID = "asymmetric"
"""One zero point for each weight scale, as the papers have it: worth 2 points of plain rounding at 4 bits."""
FASTER = {"weight_scale_rate": "3e-3", "act_scale_rate": "3e-3"}
FEW_IMAGES = {
    "adaquant": {"iterations": "150", "weight_rate": "2e-2", "bias_rate": "2e-2", **FASTER},
    "uwc": {"iterations": "200", "weight_rate": "3e-2", "bias_rate": "3e-2", **FASTER, "drop": "0.5"},
    "rapq": {"phase": "100", "iterations": "200", "network": "100", "rounding_rate": "5e-2", "bias_rate": "3e-2"},
}
"""For 200 images: fewer iterations at higher rates, and half of the activations float in UWC's deep units."""
TWO_BITS = {**FEW_IMAGES["uwc"], "iterations": "300", "rounding": "adaround", "rounding_rate": "5e-2"}
WIDTHS_TO_ALLOCATE = (2, 3, 4, 5)


def rows() -> list[Row]:
    """Every row, peers first; each method also with BatchNorm tuning, compared with itself without."""
    table: list[Row] = []

    def add(network: str, method: str, weights: int, acts: int, scales: str = "multiplier", peer: str = PLAIN) -> None:
        against = "" if method == peer else Calibrated(network, peer, weights, acts, scales).name
        plain = Calibrated(network, method, weights, acts, scales, peer=against)
        table.extend((plain, replace(plain, tune="batchnorm", peer=plain.name)))

    for weight_bits, act_bits in ((4, 4), (3, 3), (2, 4)):
        for method in (PLAIN, "minmax", "percentile", "least_squares", "adaquant"):
            add("resnet20", method, weight_bits, act_bits)
        for method in ("uwc", "adaround", "brecq", "qdrop"):
            add("resnet20", method, weight_bits, act_bits, peer="adaquant")
        for method in (PLAIN, "least_squares"):
            add("resnet20", method, weight_bits, act_bits, "pow2")
        fixed = Calibrated("resnet20", "rapq", weight_bits, act_bits, "pow2", options={"exponents": "fixed"})
        rapq = replace(fixed, options={}, peer=fixed.name)
        table += [fixed, rapq, replace(rapq, tune="batchnorm", peer=rapq.name)]
        table.append(replace(fixed, options={**fixed.options, "start": "least_squares"}, peer=rapq.name))
        free = Calibrated("resnet20", "uwc", weight_bits, act_bits, options={"rounding": "adaround"})
        table.append(replace(free, peer=rapq.name))  # RAPQ's loop with free scales
    budgets: tuple[tuple[Measure, ...], ...] = (("size",), ("size", "bops"))
    for rounding, within, tune in product((PLAIN, "least_squares"), budgets, ("none", "batchnorm")):
        peer = Calibrated("resnet20", rounding, 3, 3, tune=tune).name
        table.append(
            Allocated("resnet20", "allocate", 3, 3, "multiplier", tune, peer=peer, within=within, rounding=rounding)
        )
    lsq = Trained("resnet20", "lsq", 2, 2, "threshold")
    table += [lsq, Trained("resnet20", "n2uq", 2, 2, "threshold", peer=lsq.name)]
    for weight_bits, act_bits in ((6, 6), (4, 4), (2, 4)):
        for method in (PLAIN, "least_squares", "adaquant"):
            add("mobilenet", method, weight_bits, act_bits)
    add("mobilenet", "uwc", 4, 4, peer="adaquant")
    plain = Calibrated("mobilenet", "uwc", 4, 4)
    few = replace(plain, equalize=True, options=FEW_IMAGES["uwc"], variant="few_images", peer=plain.name)
    table += [few, replace(few, widths="mobilenet_first_output", peer=few.name)]
    table += [replace(few, weight_bits=w, act_bits=a, peer="") for w, a in ((8, 4), (4, 8))]  # which of both costs
    few = Calibrated("mobilenet", "adaquant", 4, 4, options=FEW_IMAGES["adaquant"], variant="few_images")
    tuned = replace(few, tune="bias", peer=few.name)
    options = {**few.options, "start": "least_squares"}
    begun = replace(few, equalize=True, options=options, variant="few_images:least_squares", peer=few.name)
    table += [few, tuned, begun, replace(begun, tune="bias", peer=tuned.name)]
    plain = Calibrated("mobilenet", "least_squares", 4, 4, equalize=True)
    table += [plain, replace(plain, tune="batchnorm", peer=plain.name)]
    for method in ("adaquant", "uwc"):  # moments alone took adaquant from 60 to 10 of 100 after 50 iterations
        untuned = Calibrated("mobilenet", method, 4, 4)
        table.append(replace(untuned, tune="bias", peer=untuned.name))
    add("mobilenet", PLAIN, 2, 4, "pow2")
    add("mobilenet", "rapq", 2, 4, "pow2")
    free = Calibrated("mobilenet", "uwc", 2, 4, options=TWO_BITS, variant="few_images", equalize=True)
    few = Calibrated("mobilenet", "rapq", 2, 4, "pow2", options=FEW_IMAGES["rapq"], variant="few_images")
    table += [free, replace(few, peer=free.name)]
    table += [replace(few, weight_bits=w, act_bits=a, peer="") for w, a in ((8, 4), (2, 8))]
    return table


def measure(row: Row, seed: int, out: Path, network: Network) -> dict[str, Any]:
    """Make and score one row; everything about it that the table may need."""
    from intsim.frontend.capture import capture
    from intsim.ir.file import save

    state = out / "state" / f"{row.origin.name}.{seed}"
    state.parent.mkdir(exist_ok=True)
    resumed, start = state.exists(), time.perf_counter()
    model = row.integers(network, seed, state)
    seconds = time.perf_counter() - start
    save(out / f"{row.name}.{seed}.intsim", model)
    images, labels = network.evaluation()
    floats = capture(network.make(), images[:2])
    return {
        **asdict(row),
        "name": row.name,
        "seed": seed,
        "seconds": seconds,
        "resumed": resumed,
        **score(model, floats, images.numpy(), labels.numpy()),
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--rows", default="*", help="names or patterns, with commas")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--shared", type=Path, default=BENCH.parents[1] / "shared")
    parser.add_argument("--only", action="store_true", help=argparse.SUPPRESS)  # a row's own process
    arguments = parser.parse_args()
    patterns, seeds = arguments.rows.split(","), [int(seed) for seed in arguments.seeds.split(",")]
    table = [row for row in rows() if any(fnmatch(row.name, pattern) for pattern in patterns)]
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.only:
        sys.path.insert(0, str(arguments.shared))
        import zoo

        (row,), (seed,) = table, seeds
        document = measure(row, seed, arguments.out, networks(zoo)[row.network])
        target = arguments.out / f"{row.name}.{seed}.json"
        target.with_suffix(".part").write_text(json.dumps(document))
        target.with_suffix(".part").rename(target)
        return
    for seed in seeds:
        for row in table:
            if not (arguments.out / f"{row.name}.{seed}.json").exists():
                command = [sys.executable, __file__, str(arguments.out), "--rows", row.name, "--seeds", str(seed)]
                status = subprocess.run([*command, "--shared", str(arguments.shared), "--only"]).returncode
                print(f"{row.name} seed {seed}: {'done' if status == 0 else f'failed with {status}'}", file=sys.stderr)
    print_table([(row.name, row.peer) for row in table], seeds, arguments.out)


if __name__ == "__main__":
    main()
