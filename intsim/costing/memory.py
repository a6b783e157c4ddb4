"""Traffic between memories: reuse by capacity, stalls by bandwidth.

Every on-chip memory is double-buffered: one half feeds the array while the other is filled, so what is kept for reuse
must fit half of it, and transfers hide behind computation except for the first load and the last store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from intsim.costing.dataflows import Array
from intsim.costing.quantity import Bits, BitsPerCycle, BitsPerCyclePerPort, PicojoulesPerBit, Record
from intsim.costing.workload import Gemm, Layer, ceil_div


class AccessEnergy(Record):
    """Energy of moving one bit."""

    read: PicojoulesPerBit
    write: PicojoulesPerBit


class ExternalMemory(AccessEnergy):
    """A memory that holds everything, behind a channel that reads and writes share."""

    bandwidth: BitsPerCycle


class Buffer(AccessEnergy):
    """A double-buffered memory beside the array, whose ports always keep up with it."""

    capacity: Bits

    @property
    def half_bits(self) -> int:
        return self.capacity.value // 2


class PortedBuffer(Buffer):
    """A double-buffered memory with one port per row or column of the array; reads and writes share it."""

    ports_along: Literal["rows", "columns"]
    bandwidth: BitsPerCyclePerPort

    def bits_per_cycle(self, array: Array) -> int:
        return self.bandwidth.value * getattr(array, self.ports_along)


@dataclass(frozen=True)
class Traffic:
    """Bits read from and written to one memory."""

    read_bits: int
    write_bits: int

    @property
    def bits(self) -> int:
        return self.read_bits + self.write_bits

    def picojoules(self, memory: AccessEnergy) -> float:
        return self.read_bits * memory.read.value + self.write_bits * memory.write.value


def fetched_bits(total_bits: int, kept_bits: int, buffer: Buffer, passes: int) -> int:
    """Bits that cross from external memory when an operand is passed over `passes` times.

    Exact:  total if the part that a pass comes back to (`kept_bits`) fits half the buffer, else total * passes.
    """
    return total_bits if kept_bits <= buffer.half_bits else total_bits * passes


def fetched_operands(
    layer: Layer, gemm: Gemm, m_tiles: int, n_tiles: int, weights: Buffer, activations: Buffer
) -> tuple[int, int]:
    """Bits of weights and of activations of one product that enter from DRAM, in the better of the two loop orders.

    Activations that are on the chip already do not enter.

    M outside N keeps one tile of input rows while all weights pass by; N outside M keeps one strip of weights while
    all input rows pass by. K is innermost in both, so that results never leave before they are complete.
    """
    weight_bits = gemm.k * gemm.n * layer.weight_bits
    strip_bits = gemm.k * ceil_div(gemm.n, n_tiles) * layer.weight_bits
    act_bits = 0 if layer.input_on_chip else layer.input_bits(gemm, gemm.m)
    rows_bits = layer.input_bits(gemm, ceil_div(gemm.m, m_tiles))

    def fetched(kept_weight_bits: int, kept_act_bits: int) -> tuple[int, int]:
        return (
            fetched_bits(weight_bits, kept_weight_bits, weights, m_tiles),
            fetched_bits(act_bits, kept_act_bits, activations, n_tiles),
        )

    return min(fetched(weight_bits, rows_bits), fetched(strip_bits, act_bits), key=sum)


@dataclass(frozen=True)
class Stalls:
    """Cycles that the array waits, and what it waits for."""

    cycles: int
    bound: str


def stalls(
    compute_cycles: int,
    hidden_bits: Mapping[str, int],
    bandwidths: Mapping[str, int],
    first_load_bits: int,
    last_store_bits: int,
) -> Stalls:
    """Waiting of a double-buffered array, in closed form.

    hidden_bits      per memory, what moves while the array computes
    bandwidths       per memory, bits per cycle; "dram" carries the first load and the last store too
    returns          Exact:  ceil(first / bw) + ceil(last / bw) + max(0, max over memories of ceil(bits / bw) - compute)
                     and as bound the memory that needs the most cycles if that is more than the array's, or "compute"
    Source:          Sharma et al., Bit Fusion (ISCA 2018), simulator, optimizer.py, extended to several memories.
    """
    exposed = ceil_div(first_load_bits, bandwidths["dram"]) + ceil_div(last_store_bits, bandwidths["dram"])
    needed = {name: ceil_div(bits, bandwidths[name]) for name, bits in hidden_bits.items()}
    slowest = max(needed, key=needed.__getitem__)
    waiting = needed[slowest] - compute_cycles
    return Stalls(exposed + max(0, waiting), slowest if waiting > 0 else "compute")
