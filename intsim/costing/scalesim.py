"""SCALE-Sim 3.0.0 to the cycle: what it reports, its two counting defects included.

Its widths are words of one byte, so the width of a layer changes no figure of its own; energy and the bits in DRAM are
not SCALE-Sim's (it states no energy, and its DRAM counts have no closed form): DRAM moves every operand once.
"""

from __future__ import annotations

from intsim.costing.cost import Cost, priced
from intsim.costing.dataflows import DATAFLOWS, full_cycles
from intsim.costing.memory import Stalls, Traffic
from intsim.costing.target import ScaleSimTarget
from intsim.costing.workload import Layer

WORD_BITS = 8


def scalesim_cost(layer: Layer, target: ScaleSimTarget, batch: int) -> Cost:
    """CALC mode: no stalls. Each group is a layer of its own to SCALE-Sim, and so is each product of activations.

    Exact:   cycles = folds * (2R + C + T - 2) - 1, or folds * (R + C + T - 2) - 1 output stationary (the drain of R
             cycles is forgotten); 1 less because the index of the last cycle is reported. SRAM words: cost.md 2.1.
    Source:  SCALE-Sim 3.0.0, compute/systolic_compute_{os,ws,is}.py; scale-sim-v3 issue 4, SCALE-Sim issue 125.
    """
    gemm, array = layer.gemm(batch), target.size
    walk = DATAFLOWS[target.dataflow](gemm, array, gemm.m * gemm.n, 1)
    folds = walk.row_folds * walk.column_folds
    cycles, sums = full_cycles(walk, array) - 1, walk.k_tiles * gemm.m * gemm.n
    if target.dataflow == "output_stationary":
        cycles -= folds * array.rows
        sums += folds * (array.rows + array.columns)
    words = gemm.count * WORD_BITS
    traffic = {
        "weights": Traffic(words * walk.m_tiles * gemm.k * gemm.n, 0),
        "activations": Traffic(words * walk.n_tiles * gemm.m * gemm.k, 0),
        "accumulators": Traffic(0, words * sums),
        "dram": Traffic(
            words * gemm.k * gemm.n + gemm.count * layer.input_bits(gemm, gemm.m) // layer.act_bits * WORD_BITS,
            words * gemm.m * gemm.n,
        ),
    }
    return priced(layer, target, batch, gemm.count * cycles, Stalls(0, "compute"), traffic)
