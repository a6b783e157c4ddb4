"""Energy of the arithmetic: what a target file may state, and picojoules from it.

Energy of data movement is bits times pJ/bit (memory.py); here are the multiply-accumulates, in one of three forms.
"""

from __future__ import annotations

from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from intsim.costing.quantity import Picojoules, PicojoulesPerCycle, Record


class Work(NamedTuple):
    """What the arithmetic of a layer did.

    macs            multiply-accumulates
    unit_steps      cycles that units of the array were busy, summed over units: macs / lanes * cycles per step
    array_cycles    cycles of the array, stalls excluded, times its units
    """

    macs: int
    unit_steps: float
    array_cycles: int


class MacFit(Record):
    """pJ per MAC of a processing element with operands of `a` and `w` bits; idle elements are gated.

    Exact:  E(w, a) = constant + per_bit * (w + a) / 2 + per_bit_product * w * a
    """

    form: Literal["fit"]
    constant: Picojoules
    per_bit: Picojoules
    per_bit_product: Picojoules
    verified_pairs: tuple[tuple[int, int], ...] = Field(description="(weight, activation) bits that were measured")

    def picojoules(self, weight_bits: int, act_bits: int, work: Work) -> float:
        mean, product = (weight_bits + act_bits) / 2, weight_bits * act_bits
        return work.macs * (self.constant.value + self.per_bit.value * mean + self.per_bit_product.value * product)

    def caveat(self, weight_bits: int, act_bits: int) -> str | None:
        if (weight_bits, act_bits) in self.verified_pairs:
            return None
        kind = "interpolation" if weight_bits == act_bits else "extrapolation"
        return f"energy per MAC at {weight_bits}-bit weights and {act_bits}-bit activations is an unverified {kind}"


class UnitStep(Record):
    """pJ per cycle of a busy unit, whatever the widths; idle units are gated."""

    form: Literal["per_step"]
    unit: PicojoulesPerCycle

    def picojoules(self, weight_bits: int, act_bits: int, work: Work) -> float:
        return work.unit_steps * self.unit.value

    def caveat(self, weight_bits: int, act_bits: int) -> str | None:
        return None


class ArrayCycle(Record):
    """pJ per cycle and unit while the array computes, idle units included."""

    form: Literal["per_cycle"]
    unit: PicojoulesPerCycle

    def picojoules(self, weight_bits: int, act_bits: int, work: Work) -> float:
        return work.array_cycles * self.unit.value

    def caveat(self, weight_bits: int, act_bits: int) -> str | None:
        return None


MacEnergy = Annotated[MacFit | UnitStep | ArrayCycle, Field(discriminator="form")]
