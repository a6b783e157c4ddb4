"""Reconstruction: the one loop that trains quantizers, unit after unit, towards what the float network has there.

A method is a list of stages, each with units and how they are trained, and a parametrisation of weights and
activations. Unit by unit, in order: the inputs are those that really arrive from the finished layers, for all
calibration data, the targets those of the float network; Adam minimises |y^ - y|**p over random batches. Later stages
go on from where earlier ones ended, so a unit of the whole network may follow units of single blocks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from intsim.calibrate.checkpoint import Checkpoint
from intsim.calibrate.memory import kept_memory
from intsim.calibrate.method import Decision, Problem
from intsim.calibrate.simulation import Mix, Parametrisation, Simulation, UnitSimulation
from intsim.calibrate.trainable import Trainable
from intsim.calibrate.units import Unit
from intsim.calibrate.values import Values
from intsim.errors import CalibrationError

SNAPSHOT = 100
"""Iterations between two looks at whether the loss still is one, and two good states."""
DIVERGED, PATIENCE = 100.0, 20
"""A loss of so many times the first, for so many iterations or the last tenth of all, is no training any more."""
WARM_UP = 20
"""Iterations until the rates are reached: Adam's first steps are full ones however small the gradient."""
ADVANCES = 100
"""How often in its training what is soft may become hard."""
CENTERED = 32
"""Images at least from which biases begin; more where feature maps are small."""
POSITIONS, FEWEST = 1 << 15, 4
"""Positions of the largest feature map that a batch needs no more of, and images that it has at any rate: what blurs a
gradient is few positions, of which an image of 112x112 has as many as twelve of 32x32."""

Decay = Literal["cosine", "linear", "constant"]


@dataclass(frozen=True)
class Training:
    """How units are trained.

    iterations  of each unit
    rates       learning rates at the start, by the kind of parameter: weight, weight_scale, bias, act_scale, ..; kinds
                that are missing are not trained
    batch       images in one iteration, fewer where feature maps are large
    norm        p of the loss |y^ - y|**p, or what says it for a unit
    decay       of the learning rates, to 0; of all but roundings, of which the last have to move as fast as the first
    drop        share of activations, and of what a unit reads, that stays float while training (QDrop), or what says it
                for a unit
    parallel    units read what the float network gives, not what arrives from the quantized layers before
    centered    biases begin where every layer's mean results are the float network's; else where they are
    """

    iterations: int
    rates: Mapping[str, float]
    batch: int = 32
    norm: float | Callable[[Unit], float] = 2.0
    decay: Decay = "cosine"
    drop: float | Callable[[Unit], float] = 0.0
    parallel: bool = False
    centered: bool = True


@dataclass(frozen=True)
class Stage:
    """Units with how they are trained, in order."""

    units: Sequence[Unit]
    training: Training


@dataclass(frozen=True, eq=False)
class Trained:
    """A unit after its training, with all calibration data, for whoever measures it."""

    unit: Unit
    simulation: UnitSimulation
    inputs: Sequence[Tensor]
    targets: Sequence[Tensor]

    def error(self, images: int, norm: float = 2.0, rounded: Collection[str] | None = None) -> float:
        """Mean |y^ - y|**norm over the first images, targets added up.

        rounded  layers with rounded weights and inputs; None stands for all
        """
        inputs, targets = ([x[:images] for x in tensors] for tensors in (self.inputs, self.targets))
        at_once, total = _images_at_once(inputs, targets), 0.0
        for start in range(0, len(inputs[0]), at_once):
            rows = slice(start, start + at_once)
            with torch.no_grad():
                results = self.simulation.run([x[rows] for x in inputs], rounded=rounded)
            for y, target in zip(results, targets, strict=True):
                total += float(_power(y - target[rows], norm).sum()) / target.numel()
        return total


Measure = Callable[[Trained], Mapping[str, str]]
"""What to note of a unit once it is trained; it may settle what training cannot, before later units see the unit."""


@dataclass(frozen=True, eq=False)
class _Job:
    """One unit of one stage; `hardens` are the quantizers that no later unit of the stage trains."""

    unit: Unit
    training: Training
    simulation: UnitSimulation
    hardens: tuple[Trainable, ...]


@kept_memory()
def reconstruct(
    problem: Problem,
    stages: Sequence[Stage],
    parametrisation: Parametrisation,
    start: Decision,
    measure: Measure | None = None,
) -> Decision:
    """Train every unit of every stage.

    start   where training begins
    raises  CalibrationError with the unit and the iteration where the loss is NaN or diverges, and for a folder to
            resume from that is another calibration's
    """
    if problem.placed.has_own_quantizers:
        raise CalibrationError(
            f"{problem.settings.method}: the network has quantizers of its own, which stay as they are; minmax, mse "
            "and percentile calibrate what is left"
        )
    simulation = Simulation(problem, start, parametrisation)
    graph = problem.placed.graph
    simulated = Values(graph, problem.inputs, simulation.evaluate)
    floats = Values(graph, problem.inputs, simulation.evaluate_float)
    jobs = _jobs(simulation, stages)
    total, done = sum(job.training.iterations for job in jobs), 0
    checkpoint = Checkpoint(problem)
    finished, notes = checkpoint.load(simulation)
    for index, job in enumerate(jobs):
        if index >= finished:
            inputs = (floats if job.training.parallel else simulated).get(job.simulation.reads)
            reals = floats.get(job.simulation.reads)
            targets = floats.get(job.simulation.targets)
            if job.training.centered:
                some = slice(max(CENTERED, _images_at_once(inputs, targets)))
                job.simulation.center([x[some] for x in inputs], [x[some] for x in reals])
            generator = torch.Generator().manual_seed(problem.settings.seed * len(jobs) + index)
            progress = partial(_report, problem, done, total)
            first, final = _train(job, inputs, reals, targets, generator, progress, checkpoint)
            for module in job.hardens:
                module.harden()
            notes[f"loss.{index}.{job.unit.name}"] = change = f"{first:.4g} -> {final:.4g}"
            problem.progress(f"{job.unit.name}: loss {change}", 1, 1)
            if measure is not None:
                notes |= measure(Trained(job.unit, job.simulation, inputs, targets))
            checkpoint.save(simulation, index + 1, notes)
        done += job.training.iterations
        later = {name for job in jobs[index + 1 :] for name in job.simulation.reads + job.simulation.targets}
        simulated.forget_all_but(later)
        floats.forget_all_but(later)
    for module in simulation.weights.values():
        while not module.hard:  # of a layer that nobody reads, which no unit trains
            module.harden()
    return simulation.decide(notes)


def _jobs(simulation: Simulation, stages: Sequence[Stage]) -> list[_Job]:
    jobs = []
    for stage in stages:
        units = [UnitSimulation(simulation, unit.nodes, unit.targets) for unit in stage.units]
        for i, (unit, own) in enumerate(zip(stage.units, units, strict=True)):
            kinds = {kind for module in own.trainables for kind, _ in module.grouped()}
            if not own.targets or not kinds & stage.training.rates.keys():
                continue  # what nobody reads, or a product of two activations of 8 bits
            later = {id(module) for follower in units[i + 1 :] for module in follower.trainables}
            hardens = tuple(module for module in own.trainables if id(module) not in later)
            jobs.append(_Job(unit, stage.training, own, hardens))
    return jobs


def _report(problem: Problem, before: int, total: int, iteration: int) -> None:
    problem.progress(problem.settings.method, before + iteration, total)


def _train(
    job: _Job,
    inputs: Sequence[Tensor],
    reals: Sequence[Tensor],
    targets: Sequence[Tensor],
    generator: torch.Generator,
    progress: Callable[[int], None],
    checkpoint: Checkpoint,
) -> tuple[float, float]:
    """Train one unit; the mean loss of the first and of the last tenth of its iterations.

    inputs, reals  what the unit reads, as it arrives and in the float network, which takes the place of a share of it
                   (QDrop), one (N, ...) for each read
    targets        the float network's results, one (N, ...) for each target
    """
    training, unit = job.training, job.simulation
    modules = unit.trainables
    groups: dict[str, list[torch.nn.Parameter]] = {kind: [] for kind in training.rates}
    for module in modules:
        for kind, parameter in module.grouped():
            groups.get(kind, []).append(parameter)
    optimiser = torch.optim.Adam(
        [{"params": own, "lr": training.rates[kind], "initial_lr": training.rates[kind], "decays": kind != "rounding"}
         for kind, own in groups.items() if own], fused=True
    )  # fmt: skip
    norm, drop = (of if isinstance(of, float) else of(job.unit) for of in (training.norm, training.drop))
    mix = random_mix(drop, generator) if drop else None
    losses: list[float] = []
    good = [deepcopy(module.state_dict()) for module in modules]
    size = min(training.batch, _images_at_once(inputs, targets))
    for iteration, rows in zip(range(training.iterations), _batches(len(inputs[0]), size, generator)):  # noqa: B905
        share = iteration / training.iterations
        decayed = _decayed(training.decay, share)
        for group in optimiser.param_groups:
            group["lr"] = group["initial_lr"] * (decayed if group["decays"] else 1) * min(1, (iteration + 1) / WARM_UP)
        if iteration % -(-training.iterations // ADVANCES) == 0:
            for module in modules:
                module.advance(share)
        batch = [x[rows] for x in inputs]
        if mix is not None:
            batch = [mix(x, y[rows]) for x, y in zip(batch, reals, strict=True)]
        results = unit.run(batch, mix)
        loss = sum_of(_distance(y, target[rows], norm) for y, target in zip(results, targets, strict=True))
        losses.append(loss.item())
        ended = iteration + 1 == training.iterations
        patience = min(PATIENCE, -(-len(losses) // 10)) if ended else PATIENCE
        if not math.isfinite(losses[-1]) or min(losses[-patience:]) > DIVERGED * losses[0] > 0:
            for module, state in zip(modules, good, strict=True):
                module.load_state_dict(state)
            raise CalibrationError(
                f"unit '{job.unit.name}': the loss was {losses[0]:.3g} at first and is {losses[-1]:.3g} after "
                f"{iteration} iterations; lower the learning rates{checkpoint.keep(unit.simulation)}"
            )
        if iteration % SNAPSHOT == 0:
            good = [deepcopy(module.state_dict()) for module in modules]  # their loss has just been seen
            progress(iteration)
        penalties = [p for module in modules if (p := module.penalty(share)) is not None]
        optimiser.zero_grad(set_to_none=True)
        sum_of([loss, *penalties]).backward()
        optimiser.step()
    progress(training.iterations)
    some = -(-len(losses) // 10)
    return sum(losses[:some]) / some, sum(losses[-some:]) / some


def sum_of(terms: Iterable[Tensor]) -> Tensor:
    first, *others = terms
    for term in others:
        first = first + term
    return first


def _distance(y: Tensor, target: Tensor, norm: float) -> Tensor:
    """|y - target|**norm, summed over channels and averaged over the rest (methods.md, 0.3)."""
    channels = y.shape[1] if y.dim() > 1 else 1
    return _power(y - target, norm).mean() * channels


def _power(error: Tensor, norm: float) -> Tensor:
    return error.square() if norm == 2 else error.abs().pow(norm)


def _images_at_once(inputs: Iterable[Tensor], targets: Iterable[Tensor]) -> int:
    """Images of a unit with enough positions, and few enough for the memory."""
    return max(FEWEST, POSITIONS // max(x[0, 0].numel() for x in (*inputs, *targets)))


def _batches(images: int, batch: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Rows of one batch after the other, each image once before any comes again."""
    batch = min(batch, images)
    while True:
        order = torch.randperm(images, generator=generator)
        yield from order[: images - images % batch].split(batch)


def random_mix(drop: float, generator: torch.Generator) -> Mix:
    """Float values in the place of a share of the quantized ones, drawn anew each time; a share in steps of 2**-16."""
    last = max(1, round(drop * (1 << 16))) - (1 << 15) - 1

    def mix(quantized: Tensor, real: Tensor) -> Tensor:
        words = torch.empty(-(-quantized.numel() // 4), dtype=torch.int64)
        words.random_(-(1 << 63), None, generator=generator)  # four draws each: 3 times faster than one float each
        draws = words.view(torch.int16)[: quantized.numel()].view(quantized.shape)
        return torch.where(draws <= last, real, quantized)

    return mix


def _decayed(decay: Decay, share: float) -> float:
    match decay:
        case "cosine":
            return (1 + math.cos(math.pi * share)) / 2
        case "linear":
            return 1 - share
        case _:
            return 1.0
