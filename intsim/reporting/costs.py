"""What networks cost on accelerators: every figure of the page of `intsim report`, from the estimates alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from intsim.costing import Estimate, Layer, Target
from intsim.costing.cost import Cost
from intsim.reporting.figures import Frame, Part, Point, Roofline, number_ranges, roofline, shared_frame, stack


@dataclass(frozen=True)
class Scale:
    """Stacked bars of layers, or of networks, that compare with each other: the longest fills its room."""

    cycles: int
    energy_pj: float

    @classmethod
    def of(cls, costs: Iterable[Cost | Estimate]) -> Scale:
        pairs = [(cost.compute_cycles + cost.stall_cycles, cost.energy_pj) for cost in costs]
        return cls(max(cycles for cycles, _ in pairs), max(energy_pj for _, energy_pj in pairs))

    def cycle_bar(self, cost: Cost | Estimate) -> tuple[Part, ...]:
        return stack({"compute": cost.compute_cycles, "stall": cost.stall_cycles}, self.cycles)

    def energy_bar(self, cost: Cost | Estimate) -> tuple[Part, ...]:
        """In pJ."""
        return stack(cost.energy_by_component_pj, self.energy_pj)


@dataclass(frozen=True)
class Case:
    """One assignment of widths, which is a file, on one target.

    layers   those that `estimate` was made of
    """

    file: str
    target: Target
    layers: tuple[Layer, ...]
    estimate: Estimate

    @cached_property
    def widths(self) -> tuple[str, ...]:
        """Bits of weights / activations of every layer."""
        return tuple(f"{layer.weight_bits}/{layer.act_bits}" for layer in self.layers)

    @property
    def widths_summary(self) -> str:
        """ "4/4 in 20 layers, 8/8 in 2": weights / activations, most frequent first."""
        counts = Counter(self.widths).most_common()
        texts = [f"{widths} in {count} layer{'s' * (count > 1)}" for widths, count in counts]
        return f"{counts[0][0]} everywhere" if len(counts) == 1 else ", ".join(texts)

    @property
    def points(self) -> list[Point]:
        """The layers that a roofline can show: those that move bits of DRAM and take cycles."""
        return [
            Point(number, layer.name, layer.cost.macs / layer.cost.dram_bits, layer.cost.macs / layer.cost.cycles)
            for number, layer in enumerate(self.estimate.layers, start=1)
            if layer.cost.dram_bits and layer.cost.cycles
        ]

    @property
    def peaks(self) -> dict[float, str]:
        """Peak MACs per cycle -> what says so in the plot, with the first two of the widths that have it."""
        found: dict[float, dict[str, None]] = {}
        for widths, layer in zip(self.widths, self.estimate.layers, strict=True):
            found.setdefault(layer.cost.peak_macs_per_cycle, {})[widths] = None
        return {
            peak: f"{peak:,.10g} at {', '.join([*widths][:2])}{', ..' * (len(widths) > 2)} bits"
            for peak, widths in sorted(found.items())
        }

    @property
    def bounds(self) -> list[str]:
        """What the layers wait for, by the cycles that they take: "dram in 3 of 21 layers, 40.0 % of the cycles"."""
        layers: Counter[str] = Counter()
        cycles: Counter[str] = Counter()
        for layer in self.estimate.layers:
            layers[layer.cost.bound] += 1
            cycles[layer.cost.bound] += layer.cost.cycles
        total = self.estimate.total_cycles or 1
        return [
            f"{bound} in {layers[bound]} of {len(self.layers)} layers, {100 * count / total:.1f} % of the cycles"
            for bound, count in cycles.most_common()
        ]


@dataclass(frozen=True)
class Section:
    """All files on one target, drawn to one scale."""

    target: Target
    cases: tuple[Case, ...]

    @property
    def first(self) -> Estimate:
        """Array, clock and batch are those of every case."""
        return self.cases[0].estimate

    @cached_property
    def scale(self) -> Scale:
        return Scale.of(layer.cost for case in self.cases for layer in case.estimate.layers)

    @cached_property
    def _frame(self) -> Frame:
        points = [point for case in self.cases for point in case.points]
        peaks = [peak for case in self.cases for peak in case.peaks]
        return shared_frame(points, peaks, self.target.memory.dram.bandwidth.value)

    def roofline(self, case: Case) -> Roofline:
        return roofline(case.points, case.peaks, self._frame)

    def above_the_slope(self, case: Case) -> str:
        """Layers faster than DRAM could feed them, where a target does not count its bandwidth."""
        bandwidth = self.target.memory.dram.bandwidth.value
        return number_ranges(p.number for p in case.points if p.macs_per_cycle > bandwidth * p.macs_per_bit)

    @property
    def notes(self) -> Iterator[tuple[str, str]]:
        """Every note of the estimates, and the files that it is about where that is not all of them."""
        for note in dict.fromkeys(note for case in self.cases for note in case.estimate.notes):
            files = [case.file for case in self.cases if note in case.estimate.notes]
            yield note, "" if len(files) == len(self.cases) else ", ".join(files)


@dataclass(frozen=True)
class Costs:
    """The page: a section for each target."""

    sections: tuple[Section, ...]

    @property
    def cases(self) -> list[Case]:
        return [case for section in self.sections for case in section.cases]

    @property
    def files(self) -> list[str]:
        return list(dict.fromkeys(case.file for case in self.cases))

    @cached_property
    def scale(self) -> Scale:
        return Scale.of(case.estimate for case in self.cases)

    @property
    def components(self) -> list[str]:
        """The parts of the energy, on any target."""
        return list(dict.fromkeys(name for case in self.cases for name in case.estimate.energy_by_component_pj))
