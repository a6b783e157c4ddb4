// The epilogues in plain C++.
#include <cmath>

#include "portable.h"

namespace intsim {
namespace {

template <class T>
void scale(const EpilogueArgs& args) {
    const ScaleBlock<T>& block = *static_cast<const ScaleBlock<T>*>(args.block);
    for (int64_t row = 0; row < args.rows; ++row)
        for (int64_t c = 0; c < args.channels; ++c)
            args.out[row * args.out_stride + c] =
                round_to_byte<T>(block.multiplier[c] * args.acc[row * args.acc_stride + c], block.rounding, c);
}

void high_word(const EpilogueArgs& args) {
    const HighWordBlock& block = *static_cast<const HighWordBlock*>(args.block);
    for (int64_t row = 0; row < args.rows; ++row)
        for (int64_t c = 0; c < args.channels; ++c) {
            const int32_t acc = args.acc[row * args.acc_stride + c];
            const int64_t base = block.base[c % 2][c / 2] - (acc < 0 ? block.below_zero[c % 2][c / 2] : 0);
            const int64_t sum = int64_t{block.multiplier[c]} * acc + base;
            args.out[row * args.out_stride + c] = clip_to_byte(sum >> (32 + block.shift[c]), block.low, block.high);
        }
}

// Clipping to integers commutes with rounding, and once |v| < 2^22 adding 1.5 * 2^(mantissa bits) rounds to nearest
// even.
template <class T>
void scale_float(const EpilogueArgs& args) {
    constexpr T kRound = static_cast<T>(sizeof(T) == 4 ? 12582912.0 : 6755399441055744.0);
    const FloatBlock<T>& block = *static_cast<const FloatBlock<T>*>(args.block);
    for (int64_t row = 0; row < args.rows; ++row)
        for (int64_t c = 0; c < args.channels; ++c) {
            const T v = static_cast<T>(args.acc[row * args.acc_stride + c]) * block.scale[c] + block.before;
            const T clipped = v > block.lowest ? (v < block.highest ? v : block.highest) : block.lowest;
            const T rounded = (clipped + kRound) - kRound;
            args.out[row * args.out_stride + c] = static_cast<uint8_t>(static_cast<int32_t>(rounded) + block.zero);
        }
}

void line(const EpilogueArgs& args) {
    constexpr float kRound = 12582912.0f;
    const LineBlock& block = *static_cast<const LineBlock*>(args.block);
    const float low = static_cast<float>(block.low), high = static_cast<float>(block.high);
    for (int64_t row = 0; row < args.rows; ++row)
        for (int64_t c = 0; c < args.channels; ++c) {
            const float v =
                std::fma(static_cast<float>(args.acc[row * args.acc_stride + c]), block.scale[c], block.offset[c]);
            const float clipped = v > low ? (v < high ? v : high) : low;
            args.out[row * args.out_stride + c] = static_cast<uint8_t>((clipped + kRound) - kRound);
        }
}

void threshold(const EpilogueArgs& args) {
    const ThresholdBlock& block = *static_cast<const ThresholdBlock*>(args.block);
    for (int64_t row = 0; row < args.rows; ++row) {
        const int32_t* acc = args.acc + row * args.acc_stride;
        int32_t reached[16] = {};
        for (int64_t k = 0; k < block.count; ++k)
            for (int c = 0; c < 16; ++c) reached[c] += acc[c] > block.thresholds[16 * k + c];
        for (int64_t c = 0; c < args.channels; ++c)
            args.out[row * args.out_stride + c] =
                static_cast<uint8_t>(block.base[c] + (block.descending[c] ? -reached[c] : reached[c]));
    }
}

void buckets(const EpilogueArgs& args) {
    const BucketBlock& block = *static_cast<const BucketBlock*>(args.block);
    for (int64_t row = 0; row < args.rows; ++row)
        for (int64_t c = 0; c < args.channels; ++c) {
            const int32_t acc = args.acc[row * args.acc_stride + c];
            const int32_t clipped = acc < block.first[c] ? block.first[c] : acc > block.last[c] ? block.last[c] : acc;
            const int32_t x = clipped - block.first[c];
            const int32_t* entry = block.entries + block.start[c] + (x >> block.shift[c]);
            int32_t reached = 0;
            for (int64_t k = 0; k < block.depth; ++k, entry += block.plane) {
                const uint32_t bits = static_cast<uint32_t>(*entry);
                reached +=
                    static_cast<int32_t>(bits >> 24) + ((x & block.place[c]) > static_cast<int32_t>(bits & 0xffffff));
            }
            args.out[row * args.out_stride + c] =
                static_cast<uint8_t>(block.base[c] + (block.descending[c] ? -reached : reached));
        }
}

constexpr EpilogueRow kEpilogues[] = {
    {{"epilogue_u8s32_shift_portable_1x16", "epilogue", "shift", "portable", 1, 16, 8, 32},
     EpilogueKind::kShift,
     scale<int32_t>},
    {{"epilogue_u8s32_highword_portable_1x16", "epilogue", "highword", "portable", 1, 16, 8, 32},
     EpilogueKind::kHighWord,
     high_word},
    {{"epilogue_u8s32_highwordsigned_portable_1x16", "epilogue", "highwordsigned", "portable", 1, 16, 8, 32},
     EpilogueKind::kHighWordSigned,
     high_word},
    {{"epilogue_u8s32_multiplier_portable_1x16", "epilogue", "multiplier", "portable", 1, 16, 8, 32},
     EpilogueKind::kMultiplier,
     scale<int64_t>},
    {{"epilogue_u8s32_wide_portable_1x16", "epilogue", "wide", "portable", 1, 16, 8, 32},
     EpilogueKind::kWide,
     scale<int64_t>},
    {{"epilogue_u8s32_float32_portable_1x16", "epilogue", "float32", "portable", 1, 16, 8, 32},
     EpilogueKind::kFloat32,
     scale_float<float>},
    {{"epilogue_u8s32_float64_portable_1x16", "epilogue", "float64", "portable", 1, 16, 8, 32},
     EpilogueKind::kFloat64,
     scale_float<double>},
    {{"epilogue_u8s32_threshold16_portable_1x16", "epilogue", "threshold16", "portable", 1, 16, 8, 32},
     EpilogueKind::kThreshold16,
     threshold},
    {{"epilogue_u8s32_threshold32_portable_1x16", "epilogue", "threshold32", "portable", 1, 16, 8, 32},
     EpilogueKind::kThreshold32,
     threshold},
    {{"epilogue_u8s32_buckets_portable_1x16", "epilogue", "buckets", "portable", 1, 16, 8, 32},
     EpilogueKind::kBuckets,
     buckets},
    {{"epilogue_u8s32_line_portable_1x16", "epilogue", "line", "portable", 1, 16, 8, 32}, EpilogueKind::kLine, line},
};

}  // namespace

const Rows<EpilogueRow> kPortableEpilogues = rows_of(kEpilogues);

}  // namespace intsim
