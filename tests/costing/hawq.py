"""HAWQ-V3's allocations of ResNet-18 at 4 or 8 bits, as menus: what `allocate` has to find, and bench/cost.py times."""

from __future__ import annotations

import json
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from intsim.costing import Menu, Pair
from intsim.costing.budget import Budget
from intsim.costing.menu import Measure, Option, Unit, total

# Latency has no name of its own in a menu.
MEASURES: dict[str, Measure] = {"size": "size", "bops": "bops", "latency": "energy"}


class Problem(NamedTuple):
    """One budget, and what HAWQ-V3's own program finds within it."""

    name: str
    menu: Menu
    budget: Budget
    bits: str
    objective: float


def hawq_problems(path: Path) -> list[Problem]:
    """The solved problems of a file such as shared/reference/hawq_resnet18_ilp.json."""
    data = json.loads(path.read_text(), parse_float=Fraction)
    bits, layers = (4, 8), range(len(data["trace"]))
    tied = [*map(tuple, data["tied_layers"])]
    alone = [(layer,) for layer in layers if not any(layer in tie for tie in tied)]
    units = []
    for unit in sorted([*tied, *alone]):
        options = tuple(Option(Pair(b, b), total(_amounts(data, layer, b) for layer in unit)) for b in bits)
        units.append(Unit(tuple(map(str, unit)), options))
    four, eight = (total(_amounts(data, layer, b) for layer in layers) for b in bits)
    menu = Menu(tuple(map(str, layers)), tuple(units), eight)
    problems = []
    for solved in data["solved"]:
        measure = MEASURES[solved["budget"]]
        limit = four[measure] + solved["f"] * (eight[measure] - four[measure])
        budget = Budget(measure, limit)
        problems.append(Problem(solved["budget"], menu, budget, solved["bits"], float(solved["objective"])))
    return problems


def _amounts(data: Mapping[str, Any], layer: int, bits: int) -> dict[Measure, Fraction]:
    """The loss is relative to 4 bits."""
    return {
        "loss": data["trace"][layer] * (data[f"sq_err_{bits}bit"][layer] - data["sq_err_4bit"][layer]),
        "size": data["mega_params"][layer] * bits / 8,
        "cycles": Fraction(0),
        "bops": data["mega_macs"][layer] / {4: 64, 8: 16}[bits],
        "energy": data[f"latency_ms_{bits}bit"][layer],
        "peak": Fraction(0),
    }
