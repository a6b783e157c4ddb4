"""Allocations of widths: equal to HAWQ-V3's, to brute force, and to what the estimate says of the network they make."""

from __future__ import annotations

import itertools
import json
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from math import prod

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intsim.costing import Layer, Menu, Pair, allocate, estimate, menu_of, noise_sensitivities, pareto
from intsim.costing.budget import Budget
from intsim.costing.menu import MEASURES, Measure, Option, Unit, total
from intsim.errors import CostError
from tests.conftest import shared
from tests.costing.hawq import hawq_problems
from tests.costing.layers import conv, resnet20

pytestmark = pytest.mark.torchless

COSTS: tuple[Measure, ...] = ("cycles", "energy", "size", "bops", "peak")
Choice = tuple[Option, ...]


def budget(measure: Measure, amount: Fraction | int) -> Budget:
    return Budget(measure, Fraction(amount))


# --- against a published allocation ---------------------------------------------------------------------------------


@pytest.mark.parametrize("solved", [0, 1, 2])
def test_hawq_v3(solved: int) -> None:
    problem = hawq_problems(shared("reference/hawq_resnet18_ilp.json"))[solved]
    result = allocate(problem.menu, [problem.budget])
    assert "".join(str(pair.weight_bits) for pair in result.bits.values()) == problem.bits
    assert round(result.predicted_loss, 6) == problem.objective
    assert result.amounts[problem.budget.measure] <= problem.budget.amount


# --- against brute force ----------------------------------------------------------------------------------------------

MACS = st.builds(int.__mul__, st.sampled_from([9, 144, 2304, 36864, 1281280]), st.sampled_from([1, 49, 784, 12544]))
AMOUNTS = st.one_of(
    st.integers(0, 12).map(Fraction),
    st.integers(0, 10**9).map(lambda i: Fraction(i / 1000)),
    st.builds(lambda macs, bits: Fraction(macs * bits), MACS, st.integers(2, 64)),
)


@st.composite
def menus(draw: st.DrawFn) -> Menu:
    units = []
    for number in range(draw(st.integers(1, 5))):
        options = tuple(
            Option(Pair(bits, bits), {name: draw(AMOUNTS) for name in MEASURES})
            for bits in range(2, 2 + draw(st.integers(1, 3)))
        )
        units.append(Unit((f"layer{number}",), options))
    names = tuple(unit.layers[0] for unit in units)
    return Menu(names, tuple(units), total(unit.options[-1].amounts for unit in units))


def choices(menu: Menu) -> list[dict[Measure, Fraction]]:
    """The amounts of every choice there is."""
    everything: itertools.product[Choice] = itertools.product(*(unit.options for unit in menu.units))
    return [total(option.amounts for option in choice) for choice in everything]


def near(menu: Menu, data: st.DataObject, measure: Measure) -> Fraction:
    """A limit at, or just beside, what some choice takes."""
    at = data.draw(st.sampled_from(choices(menu)))[measure]
    return at + data.draw(st.sampled_from([Fraction(0), Fraction(-1, 10**6), Fraction(1, 3)]))


@given(menus(), st.data())
def test_the_best_within_budgets_is_that_of_brute_force(menu: Menu, data: st.DataObject) -> None:
    measures = data.draw(st.lists(st.sampled_from(["loss", *COSTS]), unique=True, max_size=3))
    minimise = data.draw(st.sampled_from(["loss", *COSTS]))
    limits = {name: near(menu, data, name) for name in measures}
    feasible = [amounts for amounts in choices(menu) if all(amounts[name] <= limits[name] for name in limits)]

    result = allocate(menu, [budget(name, limit) for name, limit in limits.items()], minimise)
    if feasible:
        assert result.status == "optimal"
        assert all(result.amounts[name] <= limit for name, limit in limits.items())
        assert result.amounts[minimise] == min(amounts[minimise] for amounts in feasible)
    else:
        assert result.status == "infeasible"
        assert result.missed


@settings(max_examples=50)
@given(menus(), st.sampled_from(COSTS), st.data())
def test_the_nearest_feasible_budget_is_the_least_that_there_is(
    menu: Menu, measure: Measure, data: st.DataObject
) -> None:
    least = min(amounts[measure] for amounts in choices(menu))
    if least == 0:
        return
    result = allocate(menu, [budget(measure, least * Fraction(9, 10))])
    assert result.status == "infeasible"
    assert result.missed == [measure]
    assert result.amounts[measure] == least
    assert allocate(menu, [budget(measure, least)]).status == "optimal"


def test_other_budgets_are_kept_by_the_nearest_one() -> None:
    def option(bits: int, cycles: int, energy: int) -> Option:
        amounts = {"loss": 8 - bits, "cycles": cycles, "energy": energy, "size": 1, "bops": 1, "peak": 1}
        return Option(Pair(bits, bits), {name: Fraction(amounts[name]) for name in MEASURES})

    unit = Unit(("x",), (option(2, 10, 90), option(4, 50, 50), option(8, 90, 10)))
    menu = Menu(("x",), (unit,), unit.options[-1].amounts)
    result = allocate(menu, [budget("cycles", 50), budget("energy", 40)])
    assert (result.bits["x"], result.missed) == (Pair(4, 4), ["energy"])
    assert result.message == (
        "no allocation meets cycles=50 (0.5556 of 8/8 bits), energy=40pJ (4 of 8/8 bits); "
        "the nearest feasible budget is energy=50pJ (5 of 8/8 bits)"
    )
    assert result.to_dict()["nearest"] == {"energy_pj": 50}


def test_uniform_widths_are_those_of_every_layer_that_has_a_choice() -> None:
    def option(bits: int) -> Option:
        return Option(Pair(bits, bits), {name: Fraction(bits) for name in MEASURES})

    free, fixed = Unit(("free",), (option(3), option(8))), Unit(("fixed",), (option(8),))
    menu = Menu(("free", "fixed"), (free, fixed), {})
    assert menu.at(Pair(3, 3)) == {name: 8 if name == "peak" else 11 for name in MEASURES}
    with pytest.raises(CostError, match="layer 'free': 5/5 bits are not on the menu"):
        menu.at(Pair(5, 5))


@given(menus(), st.sampled_from(COSTS), st.integers(2, 20))
def test_the_front_is_that_of_brute_force(menu: Menu, cost: Measure, points: int) -> None:
    found = [(a.amounts[cost], a.amounts["loss"]) for a in pareto(menu, cost, points)]
    everything = [(amounts[cost], amounts["loss"]) for amounts in choices(menu)]
    scale = 1e-9 * float(max(max(point) for point in everything))
    assert found == sorted(found)
    assert len(found) <= points
    for at, loss in found:
        better = [(c, lost) for c, lost in everything if c <= at and lost <= loss and (c, lost) != (at, loss)]
        assert all(float(at - c) <= scale and float(loss - lost) <= scale for c, lost in better)
    cheapest, best = min(everything), min((lost, c) for c, lost in everything)
    assert found[0] == cheapest
    assert float(found[-1][1] - best[0]) <= scale


@settings(max_examples=4)
@given(st.integers(0, 2**31))
def test_the_front_and_the_integer_program_agree(seed: int) -> None:
    """On a network too large for brute force."""
    rng = np.random.default_rng(seed)
    losses = {layer.name: rng.uniform(0.1, 10) * layer.macs**0.5 for layer in resnet20()}
    sensitivities = {
        name: {(w, a): loss * (4.0**-w + 0.7 * 4.0**-a) for w in (2, 4, 8) for a in (2, 4, 8)}
        for name, loss in losses.items()
    }
    menu = menu_of(resnet20(), sensitivities, "systolic_ws_fused")
    for point in pareto(menu, "cycles", 7)[1::2]:
        program = allocate(menu, [budget("cycles", point.amounts["cycles"])])
        assert program.predicted_loss == pytest.approx(point.predicted_loss, rel=1e-12)


# --- the network that it makes ----------------------------------------------------------------------------------------

PAIRS = [(w, a) for w in (2, 4, 8) for a in (3, 8)]


def sensitivities(layers: Sequence[Layer]) -> dict[str, dict[tuple[int, int], float]]:
    rng = np.random.default_rng(3)
    weights = {layer.name: rng.normal(size=100).astype(np.float32) for layer in layers if layer.name != "conv1"}
    return noise_sensitivities(layers, PAIRS, weights, {})


@pytest.mark.parametrize("target", ["systolic_ws", "bitfusion", "scalesim3_os"])
def test_costs_are_those_of_the_estimate(target: str) -> None:
    layers = resnet20()
    result = allocate(menu_of(layers, sensitivities(layers), target, array="16x8", batch=2), ["size=0.5", "energy=0.9"])
    made = [replace(x, weight_bits=result.bits[x.name][0], act_bits=result.bits[x.name][1]) for x in layers]
    cost = estimate(made, target, "16x8", batch=2)
    assert result.status == "optimal"
    assert result.amounts["cycles"] == cost.total_cycles
    assert float(result.amounts["energy"]) == pytest.approx(cost.energy_pj, rel=1e-12)
    assert result.amounts["size"] == sum(x.weight_bits * x.macs // (x.out_height * x.out_width) for x in made)
    stored = [
        x.act_bits * x.in_channels * x.in_height * x.in_width + x.out_bits * x.out_channels * x.out_height * x.out_width
        for x in made
    ]
    assert result.amounts["peak"] == 2 * max(stored)
    assert result.amounts["size"] <= result.uniform["size"] / 2
    assert result.bits["conv1"] == (8, 8)  # no entry, so it keeps its widths
    assert result.uniform["cycles"] == estimate(layers, target, "16x8", batch=2).total_cycles


def test_tied_layers_share_their_widths() -> None:
    layers = resnet20()
    ties = [("layer1.0.conv2", "layer1.1.conv2"), ("layer1.1.conv2", "layer1.2.conv2"), ("layer2.0.conv2", "fc")]
    free, tied = (
        allocate(menu_of(layers, sensitivities(layers), "bitfusion", ties=t), ["cycles=0.6"]) for t in ((), ties)
    )
    for tie in ties:
        assert len({tied.bits[name] for name in tie}) == 1
    assert free.predicted_loss <= tied.predicted_loss


def test_a_file_of_widths_for_quantize() -> None:
    layers = [conv('odd "name".\u00e9', 4, 8, 6, 3), conv("b", 8, 8, 6, 3)]
    table = {layer.name: {(2, 4): 0.0} for layer in layers}
    result = allocate(menu_of(layers, table, "systolic_ws"))
    read = tomllib.loads(result.to_toml())
    assert read == {"layer": {layer.name: {"weight_bits": 2, "act_bits": 4} for layer in layers}}
    document = json.loads(json.dumps(result.to_dict()))
    assert document.keys() >= {"bits", "predicted_loss", "cost", "status"}
    assert document["cost"].keys() == {"cycles", "energy_pj", "size_bits", "bops", "peak_bits"}


def test_noise_falls_with_every_bit_and_counts_products() -> None:
    layers = resnet20()
    weights = {layer.name: np.random.default_rng(0).normal(size=1000) for layer in layers}
    table = noise_sensitivities(layers, [(w, a) for w in range(2, 9) for a in range(2, 9)], weights, {})
    for w, a in itertools.product(range(2, 8), repeat=2):
        assert table["fc"][w, a] > max(table["fc"][w + 1, a], table["fc"][w, a + 1])
    assert table["conv1"][4, 4] / table["fc"][4, 4] == pytest.approx(layers[0].macs / layers[-1].macs)
    signs = {"fc": np.array([-1.0, 1.0] * 5)}
    assert noise_sensitivities(layers, [(2, 8)], signs, signs)["fc"][2, 8] == pytest.approx(0, abs=1e-20)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"nowhere": {(4, 4): 1.0}}, "layer 'nowhere': has a sensitivity or a tie, but the network has no such layer"),
        ({"b": {(4, 4): float("nan")}}, "layer 'b' at 4-bit weights and 4-bit activations: expected a finite number"),
        ({"b": {(4, 9): 1.0}}, "layer 'b': activations have 9 bits, but target 'bitfusion' supports 1 to 8"),
        ({"b": {(2, 2): 1.0}}, "layers a, b: must share their widths, but no pair of widths is open to all"),
    ],
)
def test_a_table_that_does_not_fit(change: dict[str, dict[tuple[int, int], float]], complaint: str) -> None:
    layers = [conv("a", 4, 8, 6, 3), conv("b", 8, 8, 6, 3)]
    table = {"a": {(4, 4): 1.0}, "b": {(4, 4): 1.0}} | change
    ties = [("a", "b")] if "share" in complaint else []
    with pytest.raises(CostError, match=complaint):
        menu_of(layers, table, "bitfusion", ties=ties)


def test_two_layers_of_one_name() -> None:
    with pytest.raises(CostError, match="layer 'a': stands twice in the network"):
        menu_of([conv("a", 4, 8, 6, 3), conv("a", 8, 8, 6, 3)], {}, "bitfusion")


def test_many_choices() -> None:
    """More than any walk over all of them could see, in several budgets at once."""
    layers = resnet20()
    table = {x.name: {(w, a): x.macs * (4.0**-w + 4.0**-a) for w in range(2, 9) for a in range(2, 9)} for x in layers}
    menu = menu_of(layers, table, "systolic_ws")
    assert prod(len(unit.options) for unit in menu.units) == 49**20
    result = allocate(menu, ["energy=0.7", "size=100kB", "peak=0.8"])
    assert result.status == "optimal"
    assert not result.missed
