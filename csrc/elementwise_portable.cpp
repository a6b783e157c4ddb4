// Residual additions, operands, look-ups and quantized inputs in plain C++.
#include "portable.h"

namespace intsim {
namespace {

template <class A, class T>
void add(const AddArgs& args) {
    const AddBlock<T>& block = *static_cast<const AddBlock<T>*>(args.block);
    const A* a = static_cast<const A*>(args.a);
    for (int64_t pixel = 0; pixel < args.pixels; ++pixel)
        for (int64_t c = 0; c < args.channels; ++c) {
            const T x = block.multiplier_a[c] * a[pixel * args.a_stride + c] +
                        block.multiplier_b[c] * args.b[pixel * args.b_stride + c] + block.offset[c];
            args.out[pixel * args.out_stride + c] = round_to_byte<T>(x, block.rounding, c);
        }
}

template <class A>
void add_high_word(const AddArgs& args) {
    const AddHighWordBlock& block = *static_cast<const AddHighWordBlock*>(args.block);
    const A* a = static_cast<const A*>(args.a);
    for (int64_t pixel = 0; pixel < args.pixels; ++pixel)
        for (int64_t c = 0; c < args.channels; ++c) {
            const int64_t offset = block.offset[c % 2][c / 2];
            const int64_t base = block.base[c % 2][c / 2];
            const int64_t x =
                int64_t{block.multiplier_a[c]} * a[pixel * args.a_stride + c] * (1 << block.left_a[c]) +
                int64_t{block.multiplier_b[c]} * args.b[pixel * args.b_stride + c] * (1 << block.left_b[c]) + offset;
            const int shift = 32 + block.shift[c];
            const int64_t value = (x + base + ((x >> shift) & block.odd_term)) >> shift;
            args.out[pixel * args.out_stride + c] = clip_to_byte(value, block.low, block.high);
        }
}

void widen(const OperandArgs& args) {
    int16_t* words = static_cast<int16_t*>(args.to);
    for (int64_t i = 0; i < args.count; ++i) words[i] = args.from[i];
}

template <bool kSigned>
void build_tables(const OperandArgs& args) {
    uint8_t* table = static_cast<uint8_t*>(args.to);
    for (int64_t i = 0; i < args.count; i += 4, table += 16)
        for (int entry = 0; entry < 16; ++entry) {
            table[entry] = 0;
            for (int k = 0; k < 4; ++k) {
                const uint8_t a = args.from[i + k];
                table[entry] += static_cast<uint8_t>(entry >> k & 1 ? a : kSigned ? -a : 0);
            }
        }
}

void build_sextets(const OperandArgs& args) {
    uint8_t* table = static_cast<uint8_t*>(args.to);
    for (int64_t pixel = 0; pixel < args.count; pixel += args.pixel_stride)
        for (int64_t channel = 0; channel < args.channels; channel += 6, table += 64)
            for (int entry = 0; entry < 64; ++entry) {
                table[entry] = 0;
                for (int k = 0; k < 6 && channel + k < args.channels; ++k)
                    table[entry] += static_cast<uint8_t>(entry >> k & 1 ? args.from[pixel + channel + k] : 0);
            }
}

// Clipping to integers commutes with rounding, and once |v| < 2^22 adding 1.5 * 2^23 rounds to nearest even.
void quantize(const QuantizeArgs& args) {
    constexpr float kRound = 12582912.0f;
    const float* __restrict from = args.from;
    uint8_t* __restrict to = args.to;
    const float scale = args.scale, lowest = args.lowest, highest = args.highest;
    const int32_t offset = static_cast<int32_t>(lowest);
    for (int64_t i = 0; i < args.count; ++i) {
        const float v = from[i] / scale;
        const float raised = v > lowest ? v : lowest, clipped = raised < highest ? raised : highest;
        to[i] = static_cast<uint8_t>(static_cast<int32_t>((clipped + kRound) - kRound) - offset);
    }
}

void lookup(const uint8_t* from, uint8_t* to, int64_t count, const uint8_t* table) {
    for (int64_t i = 0; i < count; ++i) to[i] = table[from[i]];
}

constexpr AddRow kAdds[] = {
    {{"add_u8s8_int32_portable_1x16", "add", "int32", "portable", 1, 16, 8, 8},
     AddKind::kBytes32,
     add<uint8_t, int32_t>},
    {{"add_u8s8_highword_portable_1x16", "add", "highword", "portable", 1, 16, 8, 8},
     AddKind::kBytesHighWord,
     add_high_word<uint8_t>},
    {{"add_u8s8_int64_portable_1x16", "add", "int64", "portable", 1, 16, 8, 8},
     AddKind::kBytes64,
     add<uint8_t, int64_t>},
    {{"add_u8s8_wide_portable_1x16", "add", "wide", "portable", 1, 16, 8, 8},
     AddKind::kBytesWide,
     add<uint8_t, int64_t>},
    {{"add_u8s32_int32_portable_1x16", "add", "int32", "portable", 1, 16, 8, 32},
     AddKind::kAccumulators32,
     add<int32_t, int32_t>},
    {{"add_u8s32_highword_portable_1x16", "add", "highword", "portable", 1, 16, 8, 32},
     AddKind::kAccumulatorsHighWord,
     add_high_word<int32_t>},
    {{"add_u8s32_int64_portable_1x16", "add", "int64", "portable", 1, 16, 8, 32},
     AddKind::kAccumulators64,
     add<int32_t, int64_t>},
    {{"add_u8s32_wide_portable_1x16", "add", "wide", "portable", 1, 16, 8, 32},
     AddKind::kAccumulatorsWide,
     add<int32_t, int64_t>},
};

constexpr OperandRow kOperands[] = {
    {{"operand_u8s16_widen_portable_1x1", "operand", "widen", "portable", 1, 1, 8, 16}, Scheme::kW16, widen},
    {{"operand_u8s2_tables_portable_1x4", "operand", "tables", "portable", 1, 4, 8, 2},
     Scheme::kLut,
     build_tables<false>},
    {{"operand_u8s2_oddtables_portable_1x4", "operand", "tables", "portable", 1, 4, 8, 2},
     Scheme::kLutOdd,
     build_tables<true>},
    {{"operand_u8s1_signtables_portable_1x4", "operand", "tables", "portable", 1, 4, 8, 1},
     Scheme::kLutSign,
     build_tables<true>},
    {{"operand_u8s2_sextets_portable_1x6", "operand", "sextets", "portable", 1, 6, 8, 2}, Scheme::kLut6, build_sextets},
};
constexpr LookupRow kLookup = {{"lookup_u8s8_table_portable_1x1", "lookup", "table", "portable", 1, 1, 8, 8}, lookup};
constexpr QuantizeRow kQuantizer = {
    {"quantize_u8f32_float32_portable_1x1", "quantize", "float32", "portable", 1, 1, 8, 32}, quantize};

}  // namespace

const Rows<AddRow> kPortableAdds = rows_of(kAdds);
const Rows<OperandRow> kPortableOperands = rows_of(kOperands);
const Rows<LookupRow> kPortableLookups = {&kLookup, 1};
const Rows<QuantizeRow> kPortableQuantizers = {&kQuantizer, 1};

}  // namespace intsim
