// What the portable kernels share: bytes out of sums, rounding.h's formula, and how rows are counted.
#pragma once

#include "kernel_table.h"

namespace intsim {

template <class T>
inline uint8_t clip_to_byte(T value, int32_t low, int32_t high) {
    return static_cast<uint8_t>(value < low ? low : value > high ? high : value);
}

template <class T>
inline uint8_t round_to_byte(T x, const RoundingBlock<T>& block, int channel) {
    const T f = (x >> block.shift[channel]) + block.zero_before[channel];
    x += block.base[channel] + (f < 0 ? block.sign_term[channel] : 0) + (f & block.odd_term[channel]);
    return clip_to_byte((x >> block.shift[channel]) + block.zero[channel], block.low, block.high);
}

template <class Row, int N>
constexpr Rows<Row> rows_of(const Row (&rows)[N]) {
    return {rows, N};
}

// The rows of each file, gathered in kernels_portable.cpp.
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
