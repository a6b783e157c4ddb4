// Residual addition, operands of tile kernels and look-up for NEON.
#include <cstdint>

#include "neon.h"

namespace intsim {
namespace {

// Adds up every pixel by sum(4 values of a, 4 of b, first channel), which has rounded them too.
template <class A, class Sum>
inline void each_pixel(const AddArgs& args, int32_t low, int32_t high, const Sum& sum) {
    const A* a = static_cast<const A*>(args.a);
    for (int64_t pixel = 0; pixel < args.pixels; ++pixel) {
        Sixteen x = load16(a + pixel * args.a_stride);
        const Sixteen y = load16(args.b + pixel * args.b_stride);
#pragma GCC unroll 4
        for (int part = 0; part < 4; ++part) x.part[part] = sum(x.part[part], y.part[part], 4 * part);
        store_bytes(args.out + pixel * args.out_stride, clip(pack_bytes(x), low, high), args.channels);
    }
}

template <class A, bool kSimple>
void add32_pixels(const AddArgs& args, const AddBlock<int32_t>& block) {
    each_pixel<A>(args, block.rounding.low, block.rounding.high, [&](int32x4_t a, int32x4_t b, int at) {
        int32x4_t total = vmlaq_s32(vld1q_s32(block.offset + at), a, vld1q_s32(block.multiplier_a + at));
        total = vmlaq_s32(total, b, vld1q_s32(block.multiplier_b + at));
        return round32<kSimple>(total, block.rounding, at);
    });
}

template <class A, bool kSimple>
void add64_pixels(const AddArgs& args, const AddBlock<int64_t>& block) {
    each_pixel<A>(args, block.rounding.low, block.rounding.high, [&](int32x4_t a, int32x4_t b, int at) {
        const Products offset{vld1q_s64(block.offset + at), vld1q_s64(block.offset + at + 2)};
        const Products total = add(add(multiply(a, load_multipliers(block.multiplier_a + at)),
                                       multiply(b, load_multipliers(block.multiplier_b + at))),
                                   offset);
        return narrow64(round64<kSimple>(total.low, block.rounding, at),
                        round64<kSimple>(total.high, block.rounding, at + 2));
    });
}

inline Products parity(const Products& x, const Products& shift) {
    const int64x2_t one = vdupq_n_s64(1);
    return {vandq_s64(shift_right(x.low, shift.low), one), vandq_s64(shift_right(x.high, shift.high), one)};
}

template <class A, bool kOdd>
void add_high_word_pixels(const AddArgs& args, const AddHighWordBlock& block) {
    each_pixel<A>(args, block.low, block.high, [&](int32x4_t a, int32x4_t b, int at) {
        a = vshlq_s32(a, vld1q_s32(block.left_a + at)), b = vshlq_s32(b, vld1q_s32(block.left_b + at));
        Products total =
            add(multiply(a, vld1q_s32(block.multiplier_a + at)), multiply(b, vld1q_s32(block.multiplier_b + at)));
        if (kOdd) {
            total = add(total, load_dealt(block.offset, at));
            total = add(total, parity(total, load_dealt(block.shift64, at)));
        }
        return shift_right(high_words(add(total, load_dealt(block.base, at))), vld1q_s32(block.shift + at));
    });
}

template <class A>
void add32(const AddArgs& args) {
    const AddBlock<int32_t>& block = *static_cast<const AddBlock<int32_t>*>(args.block);
    block.rounding.simple ? add32_pixels<A, true>(args, block) : add32_pixels<A, false>(args, block);
}

template <class A>
void add64(const AddArgs& args) {
    const AddBlock<int64_t>& block = *static_cast<const AddBlock<int64_t>*>(args.block);
    block.rounding.simple ? add64_pixels<A, true>(args, block) : add64_pixels<A, false>(args, block);
}

template <class A>
void add_high_word(const AddArgs& args) {
    const AddHighWordBlock& block = *static_cast<const AddHighWordBlock*>(args.block);
    block.odd_term ? add_high_word_pixels<A, true>(args, block) : add_high_word_pixels<A, false>(args, block);
}

// The signed tables of two quads at a time: activation k of its quad goes to the entries whose index has bit k. Twice
// the sum of those whose bit is set, less the sum of all, is the sum with the signs of the bits.
void build_sign_tables(const OperandArgs& args) {
    uint8_t* to = static_cast<uint8_t*>(args.to);
    uint8x16_t places[4];
    for (uint8_t k = 0; k < 4; ++k) {
        uint8_t place[16];
        for (int entry = 0; entry < 16; ++entry) place[entry] = entry >> k & 1 ? k : 0xff;  // which looks up zero
        places[k] = vld1q_u8(place);
    }
    for (int64_t i = 0; i < args.count; i += 4, to += 16) {
        uint32_t quad;
        __builtin_memcpy(&quad, args.from + i, sizeof quad);
        const uint8x16_t a = vreinterpretq_u8_u32(vdupq_n_u32(quad));
        const uint8x16_t first = vaddq_u8(vqtbl1q_u8(a, places[0]), vqtbl1q_u8(a, places[1]));
        const uint8x16_t second = vaddq_u8(vqtbl1q_u8(a, places[2]), vqtbl1q_u8(a, places[3]));
        const uint8x16_t sum = vaddq_u8(first, second);
        vst1q_u8(to, vsubq_u8(vaddq_u8(sum, sum), vdupq_laneq_u8(sum, 15)));
    }
}

// 4 tables of 64 entries; an index beyond one leaves what is there.
void lookup(const uint8_t* from, uint8_t* to, int64_t count, const uint8_t* table) {
    const uint8x16x4_t first = vld1q_u8_x4(table), second = vld1q_u8_x4(table + 64), third = vld1q_u8_x4(table + 128),
                       fourth = vld1q_u8_x4(table + 192);
    const uint8x16_t size = vdupq_n_u8(64);
    int64_t i = 0;
    for (; i + 16 <= count; i += 16) {
        uint8x16_t index = vld1q_u8(from + i), result = vqtbl4q_u8(first, index);
        result = vqtbx4q_u8(result, second, index = vsubq_u8(index, size));
        result = vqtbx4q_u8(result, third, index = vsubq_u8(index, size));
        result = vqtbx4q_u8(result, fourth, vsubq_u8(index, size));
        vst1q_u8(to + i, result);
    }
    for (; i < count; ++i) to[i] = table[from[i]];
}

constexpr AddRow kAdds[] = {
    {{"add_u8s8_int32_neon_1x16", "add", "int32", "neon", 1, 16, 8, 8}, AddKind::kBytes32, add32<uint8_t>},
    {{"add_u8s8_highword_neon_1x16", "add", "highword", "neon", 1, 16, 8, 8},
     AddKind::kBytesHighWord,
     add_high_word<uint8_t>},
    {{"add_u8s8_int64_neon_1x16", "add", "int64", "neon", 1, 16, 8, 8}, AddKind::kBytes64, add64<uint8_t>},
    {{"add_u8s32_int32_neon_1x16", "add", "int32", "neon", 1, 16, 8, 32}, AddKind::kAccumulators32, add32<int32_t>},
    {{"add_u8s32_highword_neon_1x16", "add", "highword", "neon", 1, 16, 8, 32},
     AddKind::kAccumulatorsHighWord,
     add_high_word<int32_t>},
    {{"add_u8s32_int64_neon_1x16", "add", "int64", "neon", 1, 16, 8, 32}, AddKind::kAccumulators64, add64<int32_t>},
};

constexpr OperandRow kOperand = {
    {"operand_u8s1_signtables_neon_1x4", "operand", "tables", "neon", 1, 4, 8, 1}, Scheme::kLutSign, build_sign_tables};
constexpr LookupRow kLookup = {{"lookup_u8s8_table_neon_1x16", "lookup", "table", "neon", 1, 16, 8, 8}, lookup};

}  // namespace

const Rows<AddRow> kNeonAdds = {kAdds, 6};
const Rows<OperandRow> kNeonOperands = {&kOperand, 1};
const Rows<LookupRow> kNeonLookups = {&kLookup, 1};

}  // namespace intsim
