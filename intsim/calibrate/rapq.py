"""RAPQ: every scale a power of two, exponents and roundings reconstructed unit by unit, with a norm from BatchNorm."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from intsim.calibrate.method import Decision, Problem, decide, method
from intsim.calibrate.training_options import Start, check_counts, check_rates, check_shares
from intsim.calibrate.uwc import NETWORK_RATE
from intsim.errors import CalibrationError

if TYPE_CHECKING:
    from torch import Tensor

    from intsim.calibrate.reconstruct import Trained
    from intsim.calibrate.units import Unit

SEARCHED_IMAGES = 256
"""Images on which neighbouring exponents of activations are compared."""


@dataclass(frozen=True)
class RapqOptions:
    """Hyper-parameters of RAPQ; learning rates are in quantization steps an iteration, of exponents in octaves.

    exponents   learned: of weights and activations, over the unit; fixed: those of `start`
    start       the method whose codes and grids training begins with; learned exponents begin with its real scales
    phase       iterations of each unit in which exponents are learned
    iterations  of each unit in which roundings are learned, with the exponents settled
    network     iterations of the biases alone behind all units, at the network's output
    norm_range  c of the norm p = 1 + c * sigmoid(..); 0.9 is the paper's headline setting, 0.1 the released code's
    drop        share of activations that stays float while the last unit's roundings are learned (QDrop), less in those
                before, nearly none in the first
    regulariser of AdaRound
    """

    exponents: Literal["learned", "fixed"] = "learned"
    start: Start = "mse"
    phase: int = 300
    iterations: int = 1000
    network: int = 300
    batch: int = 32
    units: str = "block"
    norm_range: float = 0.9
    drop: float = 0.0
    exponent_rate: float = 2e-2
    act_exponent_rate: float = 1e-2
    rounding_rate: float = 2e-2
    bias_rate: float = 1e-2
    regulariser: float = 0.01

    def __post_init__(self) -> None:
        check_counts(self, 1, "phase", "iterations", "batch")
        check_counts(self, 0, "network")
        check_shares(self, "drop", "norm_range")
        check_rates(self)


@method("rapq", "powers of two for all scales: exponents, then roundings, learned over units (needs pow2)", RapqOptions)
def rapq(problem: Problem, options: RapqOptions) -> Decision:
    """Exponents are integers before any rounding is trained, and the integers have the scales that training saw.

    The released code hardens nothing and keeps real scales and zero points; what is built here is what it means
    (methods.md 2.6 and 2.7). Ours: exponents of activations are learned with those of the weights and compared with
    their neighbours before they are settled, biases are trained too, and at last over the whole network.
    Source: Yao et al. 2022, arXiv 2204.12322.
    raises  CalibrationError where the settings ask for other scales than powers of two
    """
    if not problem.settings.power_of_two:
        raise CalibrationError(
            f"rapq makes all scales powers of two: expected scales 'pow2', got '{problem.settings.scales}'"
        )
    from intsim.calibrate.power_of_two import PowerOfTwoActivation, PowerOfTwoWeight
    from intsim.calibrate.reconstruct import Stage, Training, reconstruct
    from intsim.calibrate.simulation import Parametrisation
    from intsim.calibrate.units import find_units, growing

    graph, learned = problem.placed.graph, options.exponents == "learned"
    units = find_units(graph, options.units)
    norms = choose_norms(problem, units, options.norm_range)
    start = decide(options.start, problem)
    if learned:
        weights_alone = replace(problem.placed, elements={})  # activations are decided
        real = replace(problem, placed=weights_alone, settings=replace(problem.settings, scales="multiplier"))
        start = replace(start, weights=decide(options.start, real).weights)

    def norm(unit: Unit) -> float:
        return norms[unit.name].p

    def note(trained: Trained) -> Mapping[str, str]:
        chosen = norms.get(trained.unit.name)
        settled = settle_activations(trained, chosen.p) if learned and chosen is not None else {}
        return settled | ({} if chosen is None else {f"norm.{trained.unit.name}": str(chosen)})

    rates = {
        "weight_exponent": options.exponent_rate,
        "act_exponent": options.act_exponent_rate,
        "bias": options.bias_rate,
    }
    exponents = Training(options.phase, rates, options.batch, norm, decay="linear")
    rates = {"rounding": options.rounding_rate, "bias": options.bias_rate}
    roundings = Training(options.iterations, rates, options.batch, norm, drop=growing(units, options.drop))
    phases = (exponents, roundings) if learned else (roundings,)
    stages = [Stage((unit,), phase) for unit in units for phase in phases]
    if options.network:
        last = Training(options.network, {"bias": options.bias_rate * NETWORK_RATE}, options.batch, centered=False)
        stages.append(Stage(find_units(graph, "network"), last))
    parametrisation = Parametrisation(
        lambda weight, grid: PowerOfTwoWeight(weight, grid, options.regulariser), PowerOfTwoActivation
    )
    return reconstruct(problem, stages, parametrisation, start, note)


@dataclass(frozen=True)
class Norm:
    """p of a unit's loss |y^ - y|**p, and where it comes from."""

    p: float
    source: str

    def __str__(self) -> str:
        return f"{self.p} ({self.source})"


def norm_of(gamma: NDArray[np.floating], norm_range: float) -> float:
    """p for the gamma (C,) of a unit's last BatchNorm.

    Exact:   1 + c * sigmoid((sum(gamma) - 1) / C), to one decimal
    Source:  RAPQ's code, methods.md 2.4
    """
    mean = (float(gamma.sum()) - 1) / len(gamma)
    return round(1 + norm_range / (1 + math.exp(-mean)), 1)


def choose_norms(problem: Problem, units: Sequence[Unit], norm_range: float) -> dict[str, Norm]:
    """The norm of every unit by its name: by its last layer's gamma, or 2 where that is no convolution.

    Without BatchNorm gamma is what it stands for: the deviation of each channel, over the calibration data.
    """
    graph = problem.placed.graph
    last = {unit.name: graph.by_name[unit.layers[-1]] for unit in units if unit.layers}
    bare = [node.name for node in last.values() if node.op == "conv2d" and "gamma" not in node.arrays]
    deviations = channel_deviations(problem, bare) if bare else {}
    norms = {unit.name: Norm(2.0, "not a convolution") for unit in units}
    for name, node in last.items():
        if node.name in deviations:
            deviation = deviations[node.name]
            norms[name] = Norm(norm_of(deviation, norm_range), "no BatchNorm: deviations on calibration data")
        elif node.op == "conv2d":
            norms[name] = Norm(norm_of(node.arrays["gamma"], norm_range), "gamma of BatchNorm")
    return norms


def channel_deviations(problem: Problem, layers: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """Deviation of every channel of these layers' float results over the calibration data, float64 (C,)."""
    import torch

    from intsim.calibrate.observers import watch

    sums = dict.fromkeys(layers, torch.zeros((), dtype=torch.float64))
    squares, counts = dict(sums), dict.fromkeys(layers, 0)

    def visit(name: str, value: Tensor) -> None:
        if name in counts:
            channels = value.transpose(0, 1).flatten(1).double()
            sums[name] = sums[name] + channels.sum(1)
            squares[name] = squares[name] + channels.square().sum(1)
            counts[name] += channels.shape[1]

    with torch.no_grad():
        watch(problem.placed.graph, problem.inputs, visit, problem.progress, "deviations")
    means = {name: sums[name] / counts[name] for name in layers}
    return {name: (squares[name] / counts[name] - means[name] ** 2).clamp(min=0).sqrt().numpy() for name in layers}


def settle_activations(trained: Trained, p: float) -> dict[str, str]:
    """Of every trained exponent of an activation and its neighbours take the one with the least error of the unit.

    p        of the error, mean |y^ - y|**p over SEARCHED_IMAGES images
    returns  what changed, for the metadata
    Nothing happens to a unit whose roundings are hard already, which fit the exponents as they are.
    """
    from intsim.calibrate.power_of_two import PowerOfTwoActivation, PowerOfTwoWeight

    unit = trained.simulation
    if any(isinstance(module, PowerOfTwoWeight) and module.hard for module in unit.trainables):
        return {}
    notes = {}
    for node in unit.nodes:
        module = unit.simulation.activations.get(node.name)
        if isinstance(module, PowerOfTwoActivation) and module.trained:
            learned, errors = module.exponent, dict[int, float]()
            for module.exponent in (learned, learned - 1, learned + 1):
                errors[module.exponent] = trained.error(SEARCHED_IMAGES, p)
            module.exponent = min(errors, key=lambda exponent: errors[exponent])
            notes[f"exponent.{node.name}"] = f"{module.exponent} (learned {learned})"
    return notes
