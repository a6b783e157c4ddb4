"""What a network costs on a target: cycles, traffic, energy, utilisation and the bound, per layer and in total."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from intsim.costing.cost import Cost
from intsim.costing.dataflows import Array
from intsim.costing.fusion import fusion_cost
from intsim.costing.load_target import load_target, with_array
from intsim.costing.scalesim import scalesim_cost
from intsim.costing.serial import serial_cost
from intsim.costing.streaming import streaming_costs
from intsim.costing.systolic import systolic_cost
from intsim.costing.target import ArrayTarget, FusionTarget, ScaleSimTarget, SerialTarget, StreamingTarget, Target
from intsim.costing.workload import Layer
from intsim.errors import CostError

V = TypeVar("V", int, float)


@dataclass(frozen=True)
class LayerCost:
    """The cost of one layer of a network, for `batch` samples."""

    layer: Layer
    batch: int
    cost: Cost

    @property
    def name(self) -> str:
        return self.layer.name

    @property
    def live_bits(self) -> int:
        """Bits of all activations that are kept until the next layer begins; 0 where the layer does not say."""
        return self.batch * self.layer.live_bits

    def to_dict(self) -> dict[str, object]:
        layer = self.layer
        document = {"name": layer.name, "weight_bits": layer.weight_bits, "act_bits": layer.act_bits}
        kept = {"live_activation_bits": self.live_bits, "output_on_chip": layer.output_on_chip}
        return document | self.cost.to_dict() | (kept if layer.live_bits else {})


@dataclass(frozen=True)
class Estimate:
    """The cost of a network.

    array       its rows and columns; None where every layer has hardware of its own
    pipelined   layers work on successive samples at once; otherwise they take turns on the array
    """

    target: str
    array: Array | None
    clock_mhz: int
    batch: int
    layers: tuple[LayerCost, ...]
    notes: tuple[str, ...]
    pipelined: bool = False

    def _sum(self, field: str) -> int:
        return sum(getattr(layer.cost, field) for layer in self.layers)

    @property
    def macs(self) -> int:
        return self._sum("macs")

    @property
    def hardware(self) -> str:
        """What it runs on, in words."""
        return "a unit for every layer" if self.array is None else f"{self.array.rows}x{self.array.columns} units"

    @property
    def total_cycles(self) -> int:
        """Until the last sample is done; of a pipeline, the time of one sample and the pace of the others."""
        if not self.pipelined:
            return self._sum("cycles")
        return self._sum("cycles") // self.batch + (self.batch - 1) * self.interval_cycles

    @property
    def compute_cycles(self) -> int:
        return self.total_cycles - self.stall_cycles

    @property
    def interval_cycles(self) -> int:
        """From one sample to the next when it runs on and on."""
        cycles = [layer.cost.cycles for layer in self.layers]
        return (max(cycles, default=0) if self.pipelined else sum(cycles)) // self.batch

    @property
    def stall_cycles(self) -> int:
        return self._sum("stall_cycles")

    @property
    def dram_bits(self) -> int:
        return self._sum("dram_bits")

    @property
    def traffic_bits(self) -> dict[str, int]:
        """Bits read and written, per memory."""
        return _sum_by_key(layer.cost.traffic_bits for layer in self.layers)

    @property
    def peak_activation_bits(self) -> int | None:
        """The most that is alive at once; None where layers do not say, as those of a topology."""
        live = [layer.live_bits for layer in self.layers]
        return max(live) if live and min(live) > 0 else None

    @property
    def energy_by_component_pj(self) -> dict[str, float]:
        return _sum_by_key(layer.cost.energy_by_component_pj for layer in self.layers)

    @property
    def energy_pj(self) -> float:
        return sum(layer.cost.energy_pj for layer in self.layers)

    @property
    def resources(self) -> dict[str, int]:
        """LUTs, BRAMs and DSPs of all layers together, where each has its own."""
        total = _sum_by_key(layer.cost.resources for layer in self.layers)
        return {name: count for name, count in total.items() if name not in ("pe", "simd")}

    @property
    def utilisation(self) -> float:
        """MACs over those that the array could do in the same cycles at each layer's widths."""
        possible = sum(layer.cost.cycles * layer.cost.peak_macs_per_cycle for layer in self.layers)
        return self.macs / possible if possible else 0.0

    @property
    def latency_ms(self) -> float:
        return self.total_cycles / (self.clock_mhz * 1e3)

    def to_dict(self) -> dict[str, object]:
        """The JSON document of `intsim cost`; units stand in the names."""
        return {
            "target": self.target,
            "array": None if self.array is None else list(self.array),
            "batch": self.batch,
            "macs": self.macs,
            "total_cycles": self.total_cycles,
            "compute_cycles": self.compute_cycles,
            "stall_cycles": self.stall_cycles,
            "interval_cycles": self.interval_cycles,
            "latency_ms": self.latency_ms,
            "dram_bits": self.dram_bits,
            "traffic_bits": self.traffic_bits,
            "energy_pj": self.energy_pj,
            "energy_by_component_pj": self.energy_by_component_pj,
            "utilisation": self.utilisation,
            "peak_activation_bits": self.peak_activation_bits,
            "resources": self.resources,
            "notes": list(self.notes),
            "layers": [layer.to_dict() for layer in self.layers],
        }


def estimate(
    layers: Sequence[Layer], target: Target | str | Path, array: Array | str | None = None, batch: int = 1
) -> Estimate:
    """What `layers` cost on `target`, run one after the other on `batch` samples.

    target   a loaded target, a name of `list_targets()`, or the path of a .toml file
    array    rows and columns instead of the target's own, as a pair or as text such as "16x8"
    raises   CostError: no such target, a bad array or batch, a width that the target does not support
    """
    if batch < 1:
        raise CostError(f"batch must be at least 1, got {batch}")
    machine = load_target(target) if isinstance(target, (str, Path)) else target
    if array is not None:
        machine = with_array(machine, parse_array(array) if isinstance(array, str) else Array(*array))
    if isinstance(machine, StreamingTarget):
        found = streaming_costs(layers, machine, batch)
    else:
        found = [layer_cost(layer, machine, batch) for layer in layers]
    costs = tuple(LayerCost(layer, batch, cost) for layer, cost in zip(layers, found, strict=True))
    caveats = (note for layer in costs for note in layer.cost.caveats)
    notes = tuple(dict.fromkeys([*machine.notes, *caveats]))
    return Estimate(machine.name, machine.size, machine.clock.value, batch, costs, notes, machine.size is None)


def parse_array(text: str) -> Array:
    """Rows and columns out of text such as "16x8"; CostError for anything else."""
    match = re.fullmatch(r"([1-9]\d{0,5})x([1-9]\d{0,5})", text.strip())
    if match is None:
        raise CostError(f"array '{text}': expected rows x columns such as 16x8")
    return Array(int(match[1]), int(match[2]))


@lru_cache(maxsize=1 << 16)
def layer_cost(layer: Layer, target: ArrayTarget, batch: int) -> Cost:
    """The cost of one layer, worked out once: layers of one shape and widths are equal whatever their names."""
    if isinstance(target, FusionTarget):
        return fusion_cost(layer, target, batch)
    if isinstance(target, ScaleSimTarget):
        return scalesim_cost(layer, target, batch)
    if isinstance(target, SerialTarget):
        return serial_cost(layer, target, batch)
    return systolic_cost(layer, target, batch)


def _sum_by_key(parts: Iterable[dict[str, V]]) -> dict[str, V]:
    total: dict[str, V] = {}
    for part in parts:
        for key, value in part.items():
            total[key] = total[key] + value if key in total else value
    return total
