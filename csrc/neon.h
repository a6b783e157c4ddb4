// What the NEON kernels share: loads and stores, bytes out of int32, and rounding.h's formula in vectors.
//
// Included only by files that are compiled for NEON with dot product. Everything has internal linkage: the linker must
// never take one of these functions for a file that runs on other processors.
#pragma once

#include <arm_neon.h>

#include <cstdint>

#include "kernel_table.h"

namespace intsim {
namespace {

inline int16x8_t widen(uint8x8_t bytes) { return vreinterpretq_s16_u16(vmovl_u8(bytes)); }

inline void store_bytes(uint8_t* to, uint8x16_t bytes, int64_t channels) {
    if (channels == 16) {
        vst1q_u8(to, bytes);
        return;
    }
    uint8_t all[16];
    vst1q_u8(all, bytes);
    for (int64_t c = 0; c < channels; ++c) to[c] = all[c];
}

// 16 int32 in order.
struct Sixteen {
    int32x4_t part[4];
};
inline Sixteen load16(const int32_t* from) {
    return {{vld1q_s32(from), vld1q_s32(from + 4), vld1q_s32(from + 8), vld1q_s32(from + 12)}};
}
inline Sixteen load16(const uint8_t* from) {
    const uint8x16_t bytes = vld1q_u8(from);
    const int16x8_t low = widen(vget_low_u8(bytes)), high = widen(vget_high_u8(bytes));
    return {{vmovl_s16(vget_low_s16(low)), vmovl_high_s16(low), vmovl_s16(vget_low_s16(high)), vmovl_high_s16(high)}};
}

// -> 16 bytes in order, saturating; then clipping to low..high is exact, as both lie in 0..255.
inline uint8x16_t pack_bytes(const Sixteen& x) {
    const int16x8_t low = vqmovn_high_s32(vqmovn_s32(x.part[0]), x.part[1]);
    const int16x8_t high = vqmovn_high_s32(vqmovn_s32(x.part[2]), x.part[3]);
    return vqmovun_high_s16(vqmovun_s16(low), high);
}
inline uint8x16_t clip(uint8x16_t bytes, int32_t low, int32_t high) {
    return vminq_u8(vmaxq_u8(bytes, vdupq_n_u8(static_cast<uint8_t>(low))), vdupq_n_u8(static_cast<uint8_t>(high)));
}

// x >> shift, rounding down; a shift to the left by a negative amount is one to the right.
inline int32x4_t shift_right(int32x4_t x, int32x4_t shift) { return vshlq_s32(x, vnegq_s32(shift)); }
inline int64x2_t shift_right(int64x2_t x, int64x2_t shift) { return vshlq_s64(x, vnegq_s64(shift)); }

// 4 channels, from `at`, of rounding.h's formula in int32 lanes.
template <bool kSimple>
inline int32x4_t round32(int32x4_t x, const RoundingBlock<int32_t>& block, int at) {
    const int32x4_t shift = vld1q_s32(block.shift + at);
    int32x4_t sum = vaddq_s32(x, vld1q_s32(block.base + at));
    if (!kSimple) {
        const int32x4_t f = vaddq_s32(shift_right(x, shift), vld1q_s32(block.zero_before + at));
        const int32x4_t sign_term = vandq_s32(vshrq_n_s32(f, 31), vld1q_s32(block.sign_term + at));
        sum = vaddq_s32(sum, vaddq_s32(sign_term, vandq_s32(f, vld1q_s32(block.odd_term + at))));
    }
    return vaddq_s32(shift_right(sum, shift), vld1q_s32(block.zero + at));
}

// 2 channels in int64 lanes.
template <bool kSimple>
inline int64x2_t round64(int64x2_t x, const RoundingBlock<int64_t>& block, int at) {
    const int64x2_t shift = vld1q_s64(block.shift + at);
    int64x2_t sum = vaddq_s64(x, vld1q_s64(block.base + at));
    if (!kSimple) {
        const int64x2_t f = vaddq_s64(shift_right(x, shift), vld1q_s64(block.zero_before + at));
        const int64x2_t sign_term = vandq_s64(vshrq_n_s64(f, 63), vld1q_s64(block.sign_term + at));
        sum = vaddq_s64(sum, vaddq_s64(sign_term, vandq_s64(f, vld1q_s64(block.odd_term + at))));
    }
    return vaddq_s64(shift_right(sum, shift), vld1q_s64(block.zero + at));
}

// Saturating; then a later saturation to bytes is still exact.
inline int32x4_t narrow64(int64x2_t first, int64x2_t second) { return vqmovn_high_s64(vqmovn_s64(first), second); }

// 4 channels' 32-bit products in int64 lanes; multipliers are int32 or int64 that fit it.
struct Products {
    int64x2_t low, high;
};
inline Products multiply(int32x4_t x, int32x4_t multiplier) {
    return {vmull_s32(vget_low_s32(x), vget_low_s32(multiplier)), vmull_high_s32(x, multiplier)};
}
inline int32x4_t load_multipliers(const int32_t* from) { return vld1q_s32(from); }
inline int32x4_t load_multipliers(const int64_t* from) {
    return vmovn_high_s64(vmovn_s64(vld1q_s64(from)), vld1q_s64(from + 2));
}
inline Products add(Products x, Products y) { return {vaddq_s64(x.low, y.low), vaddq_s64(x.high, y.high)}; }

inline int32x4_t high_words(Products x) { return vshrn_high_n_s64(vshrn_n_s64(x.low, 32), x.high, 32); }

// Channels at, at + 1, .. of what a block keeps for even and odd channels apart.
inline Products load_dealt(const int64_t (&dealt)[2][8], int at) {
    const int64x2_t even = vld1q_s64(dealt[0] + at / 2), odd = vld1q_s64(dealt[1] + at / 2);
    return {vzip1q_s64(even, odd), vzip2q_s64(even, odd)};
}

}  // namespace

// The rows of each file, gathered in kernels_neon.cpp.
extern const Rows<TileRow> kNeonGemm;
extern const Rows<TileRow> kNeonDepthwise;
extern const Rows<StripRow> kNeonStrips;
extern const Rows<TileRow> kNeonRoof;
extern const Rows<EpilogueRow> kNeonEpilogues;
extern const Rows<AddRow> kNeonAdds;
extern const Rows<OperandRow> kNeonOperands;
extern const Rows<LookupRow> kNeonLookups;
extern const Rows<WinogradRow> kNeonWinograd;

}  // namespace intsim
