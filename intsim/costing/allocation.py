"""What an allocation of widths found, for people, for programs and for `intsim quantize`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, Context, Decimal
from fractions import Fraction
from typing import Literal

from intsim.costing.menu import MEASURES, Measure, Pair
from intsim.costing.widths_file import format_widths

Limits = Mapping[Measure, Fraction]

JSON_NAMES: dict[Measure, str] = {
    "loss": "loss",
    "cycles": "cycles",
    "energy": "energy_pj",
    "size": "size_bits",
    "bops": "bops",
    "peak": "peak_bits",
}


@dataclass(frozen=True)
class Allocation:
    """Widths of every layer, what they lose and what they cost.

    amounts   of loss and every cost, exact
    uniform   the costs at 8 bits everywhere
    limits    the budgets, absolute
    status    optimal: nothing better keeps the limits; infeasible: nothing keeps them, and this comes nearest, missing
              one limit alone by as small a factor as possible
    proven    whether that is proven exactly, or HiGHS' answer
    """

    bits: Mapping[str, Pair]
    amounts: Mapping[Measure, Fraction]
    uniform: Mapping[Measure, Fraction]
    limits: Limits
    status: Literal["optimal", "infeasible"]
    proven: bool = True

    @property
    def predicted_loss(self) -> float:
        return float(self.amounts["loss"])

    @property
    def cost(self) -> dict[str, int | float]:
        """What the allocation costs: cycles, energy_pj, size_bits, bops and peak_bits."""
        return _in_units({name: self.amounts[name] for name in self.uniform})

    @property
    def uniform_cost(self) -> dict[str, int | float]:
        """The same at 8 bits everywhere."""
        return _in_units(self.uniform)

    @property
    def missed(self) -> list[Measure]:
        """The measures that exceed their limit."""
        return [name for name, limit in self.limits.items() if self.amounts[name] > limit]

    @property
    def message(self) -> str:
        """For a person who asked for too much: what there is instead; empty for an optimum."""
        if self.status == "optimal":
            return ""
        asked = ", ".join(f"{name}={_amount(name, limit, self.uniform)}" for name, limit in self.limits.items())
        nearest = ", ".join(f"{name}={_amount(name, self.amounts[name], self.uniform)}" for name in self.missed)
        return f"no allocation meets {asked}; the nearest feasible budget is {nearest}"

    def to_dict(self) -> dict[str, object]:
        """The JSON document of `intsim allocate`; units stand in the names."""
        document: dict[str, object] = {
            "status": self.status,
            "proven": self.proven,
            "bits": {name: list(pair) for name, pair in self.bits.items()},
            "predicted_loss": self.predicted_loss,
            "cost": self.cost,
            "uniform_cost": self.uniform_cost,
            "limits": _in_units(self.limits),
        }
        if self.missed:
            document["nearest"] = _in_units({name: self.amounts[name] for name in self.missed})
        return document

    def to_toml(self) -> str:
        """A file of widths for `intsim quantize --widths`."""
        return format_widths(self.bits)


def _in_units(costs: Mapping[Measure, Fraction]) -> dict[str, int | float]:
    """Amounts by their names in JSON, which say the unit."""
    return {JSON_NAMES[name]: int(v) if v.denominator == 1 else float(v) for name, v in costs.items()}


def _amount(name: Measure, value: Fraction, uniform: Mapping[Measure, Fraction]) -> str:
    """A cost in a form that a budget may have, rounded up, and what fraction of 8/8 bits it is."""
    digits = Context(prec=7, rounding=ROUND_CEILING)
    text = f"{digits.divide(Decimal(value.numerator), Decimal(value.denominator)).normalize():f}"
    share = f" ({float(value / uniform[name]):.4g} of 8/8 bits)" if uniform.get(name) else ""
    return f"{text}{MEASURES[name]}{share}"
