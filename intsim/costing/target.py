"""The schema of a target file: an accelerator as data, checked on loading.

How a width changes throughput is data as well. Each operand has a table of steps: up to so many bits, a unit takes
`lanes` operands side by side, and a step lasts `cycles`. Lanes of both operands multiply, each along its axis of the
product, and so do cycles:

    fixed 8-bit units      8 bits: 1 lane, 1 cycle
    Bit Fusion             2 bits: 4 lanes, 4 bits: 2, 8 bits: 1, both operands along K
    bit-serial operand     b bits: 1 lane, b cycles
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Literal

from pydantic import Field, field_validator

from intsim.costing.dataflows import Array
from intsim.costing.energy import ArrayCycle, MacEnergy
from intsim.costing.memory import Buffer, ExternalMemory, PortedBuffer
from intsim.costing.quantity import Bits, Cycles, Luts, Megahertz, PicojoulesPerCycle, Ratio, Record, Units
from intsim.costing.workload import Gemm, Layer, ceil_div
from intsim.errors import CostError


class ArraySize(Record):
    """Units of the array."""

    rows: Units
    columns: Units


class WidthStep(Record):
    """Operands of at most `up_to_bits` bits: lanes of them per unit, cycles per step."""

    up_to_bits: int = Field(gt=0, strict=True)
    lanes: int = Field(gt=0, strict=True)
    cycles: int = Field(gt=0, strict=True)


class OperandWidths(Record):
    """Throughput of one operand by its width; lanes lie along one axis of the product."""

    axis: Literal["M", "K", "N"]
    steps: tuple[WidthStep, ...] = Field(min_length=1)
    source: str = Field(min_length=1)

    @field_validator("steps")
    @classmethod
    def _ascending(cls, steps: tuple[WidthStep, ...]) -> tuple[WidthStep, ...]:
        widths = [step.up_to_bits for step in steps]
        if widths != sorted(set(widths)):
            raise ValueError(f"widths must ascend, got {widths}")
        return steps

    @property
    def widest_bits(self) -> int:
        return self.steps[-1].up_to_bits

    def at(self, bits: int) -> WidthStep | None:
        return next((step for step in self.steps if bits <= step.up_to_bits), None)


class Widths(Record):
    """Throughput of both operands by their widths."""

    weights: OperandWidths
    activations: OperandWidths


@dataclass(frozen=True)
class Throughput:
    """What the units do with a layer's widths: MACs side by side along each axis, and cycles per step.

    trimmed   the share of those cycles that steps take on average, where the hardware skips leading zeros
    """

    m: int = 1
    k: int = 1
    n: int = 1
    cycles: int = 1
    trimmed: Fraction = Fraction(1)

    @property
    def lanes(self) -> int:
        return self.m * self.k * self.n

    @property
    def mean_cycles(self) -> Fraction:
        """Cycles of a step on average."""
        return self.cycles * self.trimmed

    def steps(self, gemm: Gemm) -> Gemm:
        """The product counted in whole lanes."""
        return Gemm(ceil_div(gemm.m, self.m), ceil_div(gemm.k, self.k), ceil_div(gemm.n, self.n), gemm.count)


class _Target(Record):
    """What every target states."""

    name: str = Field(min_length=1)
    summary: str = Field(min_length=1)
    notes: tuple[str, ...] = Field(description="caveats that every estimate repeats")
    array: ArraySize
    clock: Megahertz
    widths: Widths
    accumulator: Bits
    mac_energy: MacEnergy
    leakage: PicojoulesPerCycle = Field(description="per unit of the array, every cycle")

    # Targets are kept once per file and compared by identity, so that results can be memoized by target. Pydantic puts
    # a slow hash of all fields in the place of object.__hash__.
    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    @property
    def size(self) -> Array:
        return Array(self.array.rows.value, self.array.columns.value)

    def throughput(self, layer: Layer) -> Throughput:
        """Lanes and cycles for the layer's widths; CostError where the target has no such width."""
        return _throughput(self, layer)

    def trimmed(self, layer: Layer) -> Fraction:
        """The share of a step's cycles that the layer's activations need."""
        return Fraction(1)


@lru_cache(maxsize=256)  # every part of a layer's cost asks for it
def _throughput(target: _Target, layer: Layer) -> Throughput:
    factors = {"m": 1, "k": 1, "n": 1, "cycles": 1}
    asked = (
        ("weights", target.widths.weights, layer.weight_bits),
        ("activations", target.widths.activations, layer.act_bits),
    )
    for name, widths, bits in asked:
        step = widths.at(bits)
        if step is None:
            raise CostError(
                f"layer '{layer.name}': {name} have {bits} bits, but target '{target.name}' supports 1 to "
                f"{widths.widest_bits}; use fewer bits or another target"
            )
        factors[widths.axis.lower()] *= step.lanes
        factors["cycles"] *= step.cycles
    return Throughput(**factors, trimmed=target.trimmed(layer))


class SystolicMemory(Record):
    """Memories of a systolic array; `accumulators` holds partial sums at the accumulator's width."""

    weights: PortedBuffer
    activations: PortedBuffer
    accumulators: PortedBuffer
    dram: ExternalMemory


class Dataflow(Record):
    """Which axis streams, and how the cycles of a fold are counted (dataflows.py)."""

    kind: Literal["output_stationary", "weight_stationary", "input_stationary"]
    count: Literal["full", "tight"]
    source: str = Field(min_length=1)


class SystolicTarget(_Target):
    """A physical systolic array: its walk of the product, three buffers, and a channel to memory.

    keeps_activations   from layer to layer in half of their buffer, where they fit (residency.py)
    """

    model: Literal["systolic"]
    keeps_activations: bool
    dataflow: Dataflow
    memory: SystolicMemory


class FreeMemory(Record):
    """Memories of simulators whose on-chip buffers always keep up with the array."""

    weights: Buffer
    activations: Buffer
    accumulators: Buffer
    dram: ExternalMemory


class ScaleSimTarget(_Target):
    """SCALE-Sim 3.0.0 in its CALC mode, which never stalls; cycles as it reports them (scalesim.py)."""

    model: Literal["scalesim3"]
    dataflow: Literal["output_stationary", "weight_stationary", "input_stationary"]
    memory: FreeMemory


class FusionTarget(_Target):
    """A Bit Fusion array: tile sizes and loop order are searched for the fewest cycles, then the least energy."""

    model: Literal["fusion"]
    mac_energy: ArrayCycle
    memory: FreeMemory

    @field_validator("widths")
    @classmethod
    def _fused_along_k(cls, widths: Widths) -> Widths:
        if (widths.weights.axis, widths.activations.axis) != ("K", "K"):
            raise ValueError('a fusion unit adds its products, so both operands must have axis = "K"')
        return widths


class SerialTarget(_Target):
    """Units that take operands bit by bit: rows of filters, columns of windows, lanes along the input channels.

    trims_activations   a step lasts as long as the widest activation in it: leading zeros are skipped
    keeps_activations   from layer to layer in half of their buffer, where they fit (residency.py)
    """

    model: Literal["serial"]
    trims_activations: bool
    keeps_activations: bool
    memory: FreeMemory

    def trimmed(self, layer: Layer) -> Fraction:
        widths = self.widths.activations
        whole = widths.at(layer.act_bits)
        if not (self.trims_activations and layer.act_groups and whole):
            return Fraction(1)
        taken = sum(
            groups * step.cycles for bits, groups in enumerate(layer.act_groups, 1) if (step := widths.at(bits))
        )
        return Fraction(taken, sum(layer.act_groups) * whole.cycles)


class StreamingMemory(Record):
    """Weights are on the chip; the network's input and output pass through the external memory."""

    dram: ExternalMemory


class LutModel(Record):
    """LUTs of a matrix unit: constant + factor * (units' logic)."""

    constant: Luts
    factor: Ratio


class StreamingTarget(Record):
    """FINN: hardware of its own for every layer, all at work at once, each folded to the same pace (streaming.py).

    frame              cycles per image that every layer shall stay below
    weight_stream      widest stream of weights into one processing element before more of them are made
    multipliers        lut or dsp
    weight_memory      block or distributed RAM
    threshold_memory   auto (no LUTs counted) or distributed
    """

    model: Literal["streaming"]
    name: str = Field(min_length=1)
    summary: str = Field(min_length=1)
    notes: tuple[str, ...]
    clock: Megahertz
    widest_weight: Bits
    widest_activation: Bits
    frame: Cycles
    weight_stream: Bits
    accumulator: Bits
    multipliers: Literal["lut", "dsp"]
    weight_memory: Literal["block", "distributed"]
    threshold_memory: Literal["auto", "distributed"]
    lut_model: LutModel
    memory: StreamingMemory

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other

    @property
    def size(self) -> None:
        """It has no array."""
        return None


ArrayTarget = SystolicTarget | ScaleSimTarget | FusionTarget | SerialTarget
"""Targets whose layers take turns on one array of units."""
Target = ArrayTarget | StreamingTarget
