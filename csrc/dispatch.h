// Which kernels run: those of the instruction set that suits the processor best, or of the one that INTSIM_ISA names.
#pragma once

#include <string>
#include <vector>

#include "kernel_table.h"

namespace intsim {

// Instruction sets of this build that this processor can run, the one to take first; "portable" is always the last.
std::vector<const KernelTable*> runnable_tables();

// The set in use: INTSIM_ISA if set, else the first. Throws std::invalid_argument if INTSIM_ISA names one that is
// unknown or that the processor lacks. Operators ask when they are prepared, not when they run.
const KernelTable& active_table();

enum class TileOp { kGemm, kDepthwise, kStrip };

// Tile kernels of one kind, by rows: run[r] computes r rows, for 1 <= r <= max_rows; pairs may be missing.
template <class Kernel, class PairKernel>
struct KernelsByRows {
    Kernel run[kMaxTileRows + 1] = {};
    PairKernel pair[kMaxTileRows + 1] = {};
    const KernelInfo* info = nullptr;  // of the tallest
    int max_rows = 0;

    bool in_pairs() const { return pair[max_rows] != nullptr; }
};
using TileKernels = KernelsByRows<TileKernel, TilePairKernel>;
using ByteTileKernels = KernelsByRows<ByteTileKernel, ByteTilePairKernel>;
TileKernels find_tiles(TileOp op, Scheme scheme);
// max_rows is 0 where the instruction set in use has none of the kind.
ByteTileKernels find_byte_tiles(Scheme scheme, EpilogueKind epilogue);
// Of the schemes among which the fastest is chosen, the cheapest quad first.
std::vector<SchemeCost> scheme_costs();

const StripRow& find_strip(Scheme scheme);
// Of strips, the one to take first: each instruction set's before those of the set that it builds on.
std::vector<Scheme> strip_schemes();
const EpilogueRow& find_epilogue(EpilogueKind kind);
const AddRow& find_add(AddKind kind);
const OperandRow& find_operands(Scheme scheme);
const LookupRow& find_lookup();
const QuantizeRow& find_quantizer();
const WinogradRow& find_winograd();

// Every row of every table that this processor can run.
std::vector<KernelInfo> list_kernels();

}  // namespace intsim
