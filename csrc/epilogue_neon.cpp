// The epilogues for NEON: shift and multiplier with any rounding, and thresholds by counting comparisons.
#include <cstdint>

#include "neon.h"

namespace intsim {
namespace {

// Rounds every pixel by round(4 accumulators, first channel).
template <class Round>
inline void each_row(const EpilogueArgs& args, int32_t low, int32_t high, const Round& round) {
    for (int64_t row = 0; row < args.rows; ++row) {
        Sixteen x = load16(args.acc + row * args.acc_stride);
#pragma GCC unroll 4
        for (int part = 0; part < 4; ++part) x.part[part] = round(x.part[part], 4 * part);
        store_bytes(args.out + row * args.out_stride, clip(pack_bytes(x), low, high), args.channels);
    }
}

template <bool kSimple>
void shift_rows(const EpilogueArgs& args, const RoundingBlock<int32_t>& block) {
    each_row(args, block.low, block.high, [&](int32x4_t acc, int at) { return round32<kSimple>(acc, block, at); });
}

void shift(const EpilogueArgs& args) {
    const RoundingBlock<int32_t>& block = static_cast<const ScaleBlock<int32_t>*>(args.block)->rounding;
    block.simple ? shift_rows<true>(args, block) : shift_rows<false>(args, block);
}

// What is subtracted below zero is an accumulator's sign, spread over 64 bits.
template <bool kSigned>
void high_word(const EpilogueArgs& args) {
    const HighWordBlock& block = *static_cast<const HighWordBlock*>(args.block);
    each_row(args, block.low, block.high, [&](int32x4_t acc, int at) {
        Products sum = add(multiply(acc, vld1q_s32(block.multiplier + at)), load_dealt(block.base, at));
        if (kSigned) {
            const Products below_zero = load_dealt(block.below_zero, at);
            const int32x4_t sign = vshrq_n_s32(acc, 31);
            sum.low = vsubq_s64(sum.low, vandq_s64(vmovl_s32(vget_low_s32(sign)), below_zero.low));
            sum.high = vsubq_s64(sum.high, vandq_s64(vmovl_high_s32(sign), below_zero.high));
        }
        return shift_right(high_words(sum), vld1q_s32(block.shift + at));
    });
}

template <bool kSimple>
void multiplier_rows(const EpilogueArgs& args, const ScaleBlock<int64_t>& block) {
    each_row(args, block.rounding.low, block.rounding.high, [&](int32x4_t acc, int at) {
        const Products product = multiply(acc, load_multipliers(block.multiplier + at));
        return narrow64(round64<kSimple>(product.low, block.rounding, at),
                        round64<kSimple>(product.high, block.rounding, at + 2));
    });
}

void multiplier(const EpilogueArgs& args) {
    const ScaleBlock<int64_t>& block = *static_cast<const ScaleBlock<int64_t>*>(args.block);
    block.rounding.simple ? multiplier_rows<true>(args, block) : multiplier_rows<false>(args, block);
}

void float32(const EpilogueArgs& args) {
    const FloatBlock<float>& block = *static_cast<const FloatBlock<float>*>(args.block);
    const float32x4_t lowest = vdupq_n_f32(block.lowest), highest = vdupq_n_f32(block.highest);
    each_row(args, 0, 255, [&](int32x4_t acc, int at) {
        const float32x4_t level = vmulq_f32(vcvtq_f32_s32(acc), vld1q_f32(block.scale + at));
        return vaddq_s32(vcvtnq_s32_f32(vmaxq_f32(vminq_f32(level, highest), lowest)), vdupq_n_s32(block.zero));
    });
}

void float64(const EpilogueArgs& args) {
    const FloatBlock<double>& block = *static_cast<const FloatBlock<double>*>(args.block);
    const float64x2_t before = vdupq_n_f64(block.before);
    const float64x2_t lowest = vdupq_n_f64(block.lowest), highest = vdupq_n_f64(block.highest);
    const auto two = [&](int64x2_t acc, int at) {
        const float64x2_t level = vaddq_f64(vmulq_f64(vcvtq_f64_s64(acc), vld1q_f64(block.scale + at)), before);
        return vcvtnq_s64_f64(vmaxq_f64(vminq_f64(level, highest), lowest));
    };
    each_row(args, 0, 255, [&](int32x4_t acc, int at) {
        const int64x2_t low = two(vmovl_s32(vget_low_s32(acc)), at), high = two(vmovl_high_s32(acc), at + 2);
        return vaddq_s32(narrow64(low, high), vdupq_n_s32(block.zero));
    });
}

void line(const EpilogueArgs& args) {
    const LineBlock& block = *static_cast<const LineBlock*>(args.block);
    each_row(args, block.low, block.high, [&](int32x4_t acc, int at) {
        const float32x4_t scale = vld1q_f32(block.scale + at), offset = vld1q_f32(block.offset + at);
        return vcvtnq_s32_f32(vfmaq_f32(offset, vcvtq_f32_s32(acc), scale));
    });
}

// Counts of 16 channels as bytes, in order, to base +- count modulo 256; the packer proved that they lie in 0..255.
inline void store_counts(uint8x16_t counts, const ThresholdBlock& block, uint8_t* out, int64_t channels) {
    const uint8x16_t flip = vreinterpretq_u8_s8(vqmovn_high_s16(
        vqmovn_s16(vqmovn_high_s32(vqmovn_s32(vld1q_s32(block.descending)), vld1q_s32(block.descending + 4))),
        vqmovn_high_s32(vqmovn_s32(vld1q_s32(block.descending + 8)), vld1q_s32(block.descending + 12))));
    const uint8x16_t base = pack_bytes(load16(block.base));
    store_bytes(out, vaddq_u8(vsubq_u8(veorq_u8(counts, flip), flip), base), channels);
}

// Accumulators as saturated words in kUnpackOrder, which changes no comparison with a threshold in -32768..32766.
void threshold16(const EpilogueArgs& args) {
    const ThresholdBlock& block = *static_cast<const ThresholdBlock*>(args.block);
    for (int64_t row = 0; row < args.rows; ++row) {
        const Sixteen acc = load16(args.acc + row * args.acc_stride);
        const int16x8_t outer = vqmovn_high_s32(vqmovn_s32(acc.part[0]), acc.part[2]);
        const int16x8_t inner = vqmovn_high_s32(vqmovn_s32(acc.part[1]), acc.part[3]);
        uint16x8_t outer_count = vdupq_n_u16(0), inner_count = outer_count;  // a comparison that holds is -1
        for (int64_t k = 0; k < block.count; ++k) {
            outer_count = vsubq_u16(outer_count, vcgtq_s16(outer, vld1q_s16(block.thresholds16 + 16 * k)));
            inner_count = vsubq_u16(inner_count, vcgtq_s16(inner, vld1q_s16(block.thresholds16 + 16 * k + 8)));
        }
        // 4 channels' bytes are a 32-bit lane.
        const uint32x2_t outer_bytes = vreinterpret_u32_u8(vmovn_u16(outer_count));
        const uint32x2_t inner_bytes = vreinterpret_u32_u8(vmovn_u16(inner_count));
        const uint32x2x2_t dealt = vzip_u32(outer_bytes, inner_bytes);
        store_counts(vreinterpretq_u8_u32(vcombine_u32(dealt.val[0], dealt.val[1])), block,
                     args.out + row * args.out_stride, args.channels);
    }
}

void threshold32(const EpilogueArgs& args) {
    const ThresholdBlock& block = *static_cast<const ThresholdBlock*>(args.block);
    for (int64_t row = 0; row < args.rows; ++row) {
        const Sixteen acc = load16(args.acc + row * args.acc_stride);
        uint32x4_t count[4] = {};
        for (int64_t k = 0; k < block.count; ++k)
#pragma GCC unroll 4
            for (int part = 0; part < 4; ++part)
                count[part] =
                    vsubq_u32(count[part], vcgtq_s32(acc.part[part], vld1q_s32(block.thresholds + 16 * k + 4 * part)));
        const uint8x8_t low = vmovn_u16(vmovn_high_u32(vmovn_u32(count[0]), count[1]));
        const uint8x16_t bytes = vmovn_high_u16(low, vmovn_high_u32(vmovn_u32(count[2]), count[3]));
        store_counts(bytes, block, args.out + row * args.out_stride, args.channels);
    }
}

constexpr EpilogueRow kRows[] = {
    {{"epilogue_u8s32_shift_neon_1x16", "epilogue", "shift", "neon", 1, 16, 8, 32}, EpilogueKind::kShift, shift},
    {{"epilogue_u8s32_highword_neon_1x16", "epilogue", "highword", "neon", 1, 16, 8, 32},
     EpilogueKind::kHighWord,
     high_word<false>},
    {{"epilogue_u8s32_highwordsigned_neon_1x16", "epilogue", "highwordsigned", "neon", 1, 16, 8, 32},
     EpilogueKind::kHighWordSigned,
     high_word<true>},
    {{"epilogue_u8s32_multiplier_neon_1x16", "epilogue", "multiplier", "neon", 1, 16, 8, 32},
     EpilogueKind::kMultiplier,
     multiplier},
    {{"epilogue_u8s32_float32_neon_1x16", "epilogue", "float32", "neon", 1, 16, 8, 32},
     EpilogueKind::kFloat32,
     float32},
    {{"epilogue_u8s32_float64_neon_1x16", "epilogue", "float64", "neon", 1, 16, 8, 32},
     EpilogueKind::kFloat64,
     float64},
    {{"epilogue_u8s32_threshold16_neon_1x16", "epilogue", "threshold16", "neon", 1, 16, 8, 32},
     EpilogueKind::kThreshold16,
     threshold16},
    {{"epilogue_u8s32_threshold32_neon_1x16", "epilogue", "threshold32", "neon", 1, 16, 8, 32},
     EpilogueKind::kThreshold32,
     threshold32},
    {{"epilogue_u8s32_line_neon_1x16", "epilogue", "line", "neon", 1, 16, 8, 32}, EpilogueKind::kLine, line},
};

}  // namespace

const Rows<EpilogueRow> kNeonEpilogues = {kRows, sizeof kRows / sizeof *kRows};

}  // namespace intsim
