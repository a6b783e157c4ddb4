// What the portable kernels share: how rows are counted, and the rows of each file.
#pragma once

#include "kernel_table.h"
#include "rounding_block.h"

namespace intsim {

template <class Row, int N>
constexpr Rows<Row> rows_of(const Row (&rows)[N]) {
    return {rows, N};
}

// Gathered in kernels_portable.cpp.
extern const Rows<TileRow> kPortableGemm;
extern const Rows<TileRow> kPortableDepthwise;
extern const Rows<StripRow> kPortableStrips;
extern const Rows<TileRow> kPortableRoof;
extern const Rows<EpilogueRow> kPortableEpilogues;
extern const Rows<AddRow> kPortableAdds;
extern const Rows<OperandRow> kPortableOperands;
extern const Rows<LookupRow> kPortableLookups;
extern const Rows<QuantizeRow> kPortableQuantizers;
extern const Rows<WinogradRow> kPortableWinograd;

}  // namespace intsim
