"""What an allocation of widths chooses from: every layer's pairs of widths, with their loss and their real costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal, NamedTuple

from intsim.costing.dataflows import Array
from intsim.costing.estimate import estimate
from intsim.costing.load_target import load_target
from intsim.costing.target import StreamingTarget, Target
from intsim.costing.workload import Layer
from intsim.errors import CostError

Measure = Literal["loss", "cycles", "energy", "size", "bops", "peak"]
MEASURES: dict[Measure, str] = {"loss": "", "cycles": "", "energy": "pJ", "size": "bit", "bops": "", "peak": "bit"}
"""What can be minimised or budgeted, and its unit. The loss, cycles, energy, bits of weights and bit operations (bops:
MACs x weight bits x activation bits) add up over the layers; peak memory, the bits of a layer's inputs and results
together, is that of the worst layer."""

UNIFORM_BITS = 8


class Pair(NamedTuple):
    """Bits of a layer's weights, and of the activations that it reads."""

    weight_bits: int
    act_bits: int


Sensitivities = Mapping[str, Mapping[tuple[int, int], float]]
"""For every layer the loss at each pair (weight bits, activation bits) that it may have; losses of layers add up."""


@dataclass(frozen=True, eq=False)
class Option:
    """One pair of widths for layers that share it, and its amount of every measure, exact."""

    pair: Pair
    amounts: Mapping[Measure, Fraction]


@dataclass(frozen=True)
class Unit:
    """Layers that must have the same widths, and the widths that they may have."""

    layers: tuple[str, ...]
    options: tuple[Option, ...]


@dataclass(frozen=True)
class Ranking:
    """How far losses that add up can be trusted: how well their sums rank whole networks of random widths.

    allocations  that were drawn at random and measured
    tau          Kendall's rank correlation of predicted and measured loss: 1 for the same order, 0 for no relation
    p            probability of a tau as far from 0 by chance
    """

    allocations: int
    tau: float
    p: float


@dataclass(frozen=True)
class Menu:
    """Everything that can be chosen.

    layers     all names, in the network's order
    uniform    amounts when all layers that have a choice are at 8 bits, weights and activations; no loss among them
    ranking    of the losses, where it was measured
    """

    layers: tuple[str, ...]
    units: tuple[Unit, ...]
    uniform: Mapping[Measure, Fraction]
    ranking: Ranking | None = None

    def at(self, pair: Pair) -> dict[Measure, Fraction]:
        """Amounts when all layers that have a choice are at `pair`; CostError where one may not be."""
        chosen = []
        for unit in self.units:
            own = unit.options[0].pair if len(unit.options) == 1 else pair
            option = next((option for option in unit.options if option.pair == own), None)
            if option is None:
                raise CostError(
                    f"layer '{unit.layers[0]}': {pair.weight_bits}/{pair.act_bits} bits are not on the menu"
                )
            chosen.append(option.amounts)
        return total(chosen)


def menu_of(
    layers: Sequence[Layer],
    sensitivities: Sensitivities,
    target: Target | str | Path,
    *,
    array: Array | str | None = None,
    batch: int = 1,
    ties: Iterable[Sequence[str]] = (),
) -> Menu:
    """The pairs of `sensitivities` for every layer, with what `estimate` says that they cost on `target`.

    Layers without an entry keep their widths. Results stay as wide as `layers` states: what a narrower reader saves in
    storage is not counted.

    ties     groups of layers that must share their widths, for one that meet in an addition
    raises   CostError: layers of one name, an entry or a tie for a layer that is not there, a loss that is no number,
             tied layers without a pair in common, a width that the target does not support, a streaming target
    """
    machine = load_target(target) if isinstance(target, (str, Path)) else target
    if isinstance(machine, StreamingTarget):
        raise CostError(
            f"target '{machine.name}': the pace of a streaming network is no sum over its layers; "
            "allocate for a target that has an array"
        )
    names = [layer.name for layer in layers]
    for name in names:
        if names.count(name) > 1:
            raise CostError(f"layer '{name}': stands twice in the network; an allocation needs names that differ")
    ties = [tuple(tie) for tie in ties]
    for name in (*sensitivities, *(name for tie in ties for name in tie)):
        if name not in names:
            raise CostError(f"layer '{name}': has a sensitivity or a tie, but the network has no such layer")
    own = {layer.name: Pair(layer.weight_bits, layer.act_bits) for layer in layers}
    tables = {name: sensitivities.get(name) or {own[name]: 0.0} for name in names}
    by_name = {layer.name: layer for layer in layers}

    def amounts(name: str, pair: Pair) -> dict[Measure, Fraction]:
        costs = layer_costs(by_name[name], pair, machine, array, batch)
        return {"loss": _loss(name, pair, tables[name].get(pair, 0.0)), **costs}

    units = []
    for tied in _components(names, ties):
        pairs = sorted(set.intersection(*({Pair(*pair) for pair in tables[name]} for name in tied)))
        if not pairs:
            raise CostError(f"layers {', '.join(tied)}: must share their widths, but no pair of widths is open to all")
        options = tuple(Option(pair, total(amounts(name, pair) for name in tied)) for pair in pairs)
        units.append(Unit(tied, options))
    eight = Pair(UNIFORM_BITS, UNIFORM_BITS)
    uniform = total(amounts(name, eight if name in sensitivities else own[name]) for name in names)
    del uniform["loss"]
    return Menu(tuple(names), tuple(units), uniform)


def layer_costs(
    layer: Layer, pair: Pair, target: Target, array: Array | str | None = None, batch: int = 1
) -> dict[Measure, Fraction]:
    """What one layer costs at these widths."""
    layer = replace(layer, weight_bits=pair.weight_bits, act_bits=pair.act_bits)
    result = estimate([layer], target, array, batch)
    gemm = layer.gemm(1)
    second = gemm.count * gemm.k * gemm.n * layer.weight_bits
    stored = layer.in_channels * layer.in_height * layer.in_width * layer.act_bits
    stored += layer.out_channels * layer.out_height * layer.out_width * layer.out_bits
    has_weights = layer.kind != "matmul"
    return {
        "cycles": Fraction(result.total_cycles),
        "energy": Fraction(result.energy_pj),
        "size": Fraction(second if has_weights else 0),
        "bops": Fraction(layer.macs * layer.weight_bits * layer.act_bits),
        "peak": Fraction(batch * (stored if has_weights else stored + second)),
    }


def total(parts: Iterable[Mapping[Measure, Fraction]]) -> dict[Measure, Fraction]:
    """The amounts of several layers together."""
    parts = list(parts)
    sums = {name: sum((part[name] for part in parts), Fraction(0)) for name in MEASURES}
    return sums | {"peak": max((part["peak"] for part in parts), default=Fraction(0))}


def _loss(name: str, pair: Pair, loss: float) -> Fraction:
    try:
        return Fraction(loss)
    except (TypeError, ValueError, OverflowError):
        where = f"layer '{name}' at {pair.weight_bits}-bit weights and {pair.act_bits}-bit activations"
        raise CostError(f"{where}: expected a finite number as its loss, got {loss!r}") from None


def _components(names: Sequence[str], ties: Iterable[Sequence[str]]) -> list[tuple[str, ...]]:
    """Layers that hang together through ties, each in the network's order."""
    component = {name: {name} for name in names}
    for tie in ties:
        joined = set().union(*(component[name] for name in tie))
        component |= dict.fromkeys(joined, joined)
    seen: set[str] = set()
    found = []
    for name in names:
        if name not in seen:
            seen |= component[name]
            found.append(tuple(other for other in names if other in component[name]))
    return found
