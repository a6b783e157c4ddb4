"""The cost of one layer on one target, as every model of an accelerator returns it."""

from __future__ import annotations

from dataclasses import dataclass, field

from intsim.costing.energy import Work
from intsim.costing.memory import AccessEnergy, Stalls, Traffic
from intsim.costing.target import ArrayTarget
from intsim.costing.workload import Layer


@dataclass(frozen=True)
class Cost:
    """One layer, whatever its name.

    traffic               per memory, "dram" among them
    energy_by_component_pj    "mac", "leakage" and each memory
    peak_macs_per_cycle   of the whole array at the layer's widths
    bound                 "compute", or the memory that the array waits for
    caveats               figures in it that nobody has measured
    resources             what a layer with hardware of its own is made of: pe, simd, lut, bram18, dsp
    """

    macs: int
    compute_cycles: int
    stall_cycles: int
    traffic: dict[str, Traffic]
    energy_by_component_pj: dict[str, float]
    peak_macs_per_cycle: float
    bound: str
    caveats: tuple[str, ...]
    resources: dict[str, int] = field(default_factory=dict)

    @property
    def cycles(self) -> int:
        return self.compute_cycles + self.stall_cycles

    @property
    def dram_bits(self) -> int:
        return self.traffic["dram"].bits

    @property
    def traffic_bits(self) -> dict[str, int]:
        return {name: traffic.bits for name, traffic in self.traffic.items()}

    @property
    def energy_pj(self) -> float:
        return sum(self.energy_by_component_pj.values())

    @property
    def utilisation(self) -> float:
        """MACs over those that the array could do in the same cycles; 0 where no cycle is counted."""
        possible = self.cycles * self.peak_macs_per_cycle
        return self.macs / possible if possible else 0.0

    def to_dict(self) -> dict[str, object]:
        return {
            "macs": self.macs,
            "cycles": self.cycles,
            "compute_cycles": self.compute_cycles,
            "stall_cycles": self.stall_cycles,
            "dram_bits": self.dram_bits,
            "traffic_bits": self.traffic_bits,
            "energy_pj": self.energy_pj,
            "energy_by_component_pj": dict(self.energy_by_component_pj),
            "utilisation": self.utilisation,
            "bound": self.bound,
        } | ({"resources": self.resources} if self.resources else {})


def priced(
    layer: Layer, target: ArrayTarget, batch: int, compute_cycles: int, waiting: Stalls, traffic: dict[str, Traffic]
) -> Cost:
    """Cycles and traffic of a layer with their energy, from the target's figures.

    traffic   per memory, in the order and by the names of `target.memory`
    """
    throughput = target.throughput(layer)
    units = target.size.units
    macs = layer.gemm(batch).macs
    step_cycles = float(throughput.mean_cycles)
    work = Work(macs, macs / throughput.lanes * step_cycles, compute_cycles * units)
    memories: dict[str, AccessEnergy] = {name: getattr(target.memory, name) for name in traffic}
    energy = {
        "mac": target.mac_energy.picojoules(layer.weight_bits, layer.act_bits, work),
        "leakage": target.leakage.value * units * (compute_cycles + waiting.cycles),
    } | {name: moved.picojoules(memories[name]) for name, moved in traffic.items()}
    caveat = target.mac_energy.caveat(layer.weight_bits, layer.act_bits)
    return Cost(
        macs,
        compute_cycles,
        waiting.cycles,
        traffic,
        energy,
        units * throughput.lanes / step_cycles,
        waiting.bound,
        () if caveat is None else (caveat,),
    )
