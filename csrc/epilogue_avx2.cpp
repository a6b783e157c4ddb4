// The epilogues for AVX2: shift and multiplier with any rounding, and thresholds by counting comparisons.
#include <cstdint>

#include "avx2.h"

namespace intsim {
namespace {

// Rounds all pixels, two at a time, by round(accumulators, half), 8 int32 of a pixel. An odd last one stands for both.
// Everything is held in locals: a store of bytes could change any argument, as far as the compiler knows.
template <class Round>
void each_two_rows(const EpilogueArgs& args, int32_t low, int32_t high, const Round& round) {
    const int64_t acc_stride = args.acc_stride, out_stride = args.out_stride, channels = args.channels;
    const int32_t* acc = args.acc;
    uint8_t* out = args.out;
    const __m256i lowest = _mm256_set1_epi8(static_cast<char>(low)),
                  highest = _mm256_set1_epi8(static_cast<char>(high));
    for (int64_t left = args.rows; left > 0; left -= 2, acc += 2 * acc_stride, out += 2 * out_stride) {
        const bool last = left == 1;
        const int32_t* next = last ? acc : acc + acc_stride;
        const __m256i bytes = two_pixels(round(acc, 0), round(acc, 1), round(next, 0), round(next, 1));
        store_two_pixels(_mm256_min_epu8(_mm256_max_epu8(bytes, lowest), highest), out, last ? out : out + out_stride,
                         channels);
    }
}

// Only the terms that the block's rounding has: kNone, whose base holds the zero point, kOdd (half to even) or kAll.
enum class Terms { kNone, kOdd, kAll };

template <Terms kTerms>
void shift_rows(const EpilogueArgs& args, const RoundingBlock<int32_t>& block) {
    const __m256i shift[2] = {load(block.shift), load(block.shift + 8)};
    const __m256i base[2] = {load(block.base), load(block.base + 8)};
    const __m256i odd[2] = {load(block.odd_term), load(block.odd_term + 8)};
    const __m256i zero[2] = {load(block.zero), load(block.zero + 8)};
    const auto round = [&](const int32_t* acc, int half) {
        const __m256i x = load(acc + 8 * half);
        if (kTerms == Terms::kNone) return _mm256_srav_epi32(_mm256_add_epi32(x, base[half]), shift[half]);
        if (kTerms == Terms::kAll) return round32<false>(x, block, 8 * half);
        const __m256i odd_term = _mm256_and_si256(_mm256_srav_epi32(x, shift[half]), odd[half]);
        const __m256i sum = _mm256_add_epi32(_mm256_add_epi32(x, base[half]), odd_term);
        return _mm256_add_epi32(_mm256_srav_epi32(sum, shift[half]), zero[half]);
    };
    each_two_rows(args, block.low, block.high, round);
}

void shift(const EpilogueArgs& args) {
    const RoundingBlock<int32_t>& block = static_cast<const ScaleBlock<int32_t>*>(args.block)->rounding;
    if (block.simple)
        shift_rows<Terms::kNone>(args, block);
    else if (block.even)
        shift_rows<Terms::kOdd>(args, block);
    else
        shift_rows<Terms::kAll>(args, block);
}

// vpmuldq multiplies the even 32-bit lanes. The odd ones come in place by loading from the next address; this reads one
// element past a pixel's 16. The high words of the sums are put together again by a blend. What is subtracted below
// zero is the accumulator's own sign bit, which stands in the low word of its 64-bit lane.
template <bool kSigned>
void high_word(const EpilogueArgs& args) {
    const HighWordBlock& block = *static_cast<const HighWordBlock*>(args.block);
    const int32_t* multiplier = block.multiplier;
    const __m256i even[2] = {load(multiplier), load(multiplier + 8)},
                  odd[2] = {load(multiplier + 1), load(multiplier + 9)};
    const __m256i base_even[2] = {load(block.base[0]), load(block.base[0] + 4)};
    const __m256i base_odd[2] = {load(block.base[1]), load(block.base[1] + 4)};
    const __m256i shift[2] = {load(block.shift), load(block.shift + 8)};
    const auto sum = [&](__m256i acc, __m256i factor, __m256i base, const int64_t* below_zero) {
        const __m256i total = _mm256_add_epi64(_mm256_mul_epi32(acc, factor), base);
        return kSigned ? _mm256_sub_epi64(total, _mm256_and_si256(acc, load(below_zero))) : total;
    };
    const auto scale = [&](const int32_t* acc, int half) {
        const __m256i at_even = sum(load(acc + 8 * half), even[half], base_even[half], block.below_zero[0] + 4 * half);
        const __m256i at_odd = sum(load(acc + 8 * half + 1), odd[half], base_odd[half], block.below_zero[1] + 4 * half);
        return _mm256_srav_epi32(_mm256_blend_epi32(_mm256_srli_epi64(at_even, 32), at_odd, 0xaa), shift[half]);
    };
    each_two_rows(args, block.low, block.high, scale);
}

template <bool kSimple>
__m256i multiply_round(const int32_t* acc, const ScaleBlock<int64_t>& block, int at) {
    const __m256i wide = _mm256_cvtepi32_epi64(_mm_loadu_si128(reinterpret_cast<const __m128i*>(acc + at)));
    return round64<kSimple>(_mm256_mul_epi32(wide, load(block.multiplier + at)), block.rounding, at);
}

template <bool kSimple>
void multiplier_rows(const EpilogueArgs& args, const ScaleBlock<int64_t>& block) {
    for (int64_t row = 0; row < args.rows; ++row) {
        const int32_t* acc = args.acc + row * args.acc_stride;
        const __m256i first = narrow64(multiply_round<kSimple>(acc, block, 0), multiply_round<kSimple>(acc, block, 4));
        const __m256i second =
            narrow64(multiply_round<kSimple>(acc, block, 8), multiply_round<kSimple>(acc, block, 12));
        store_bytes(args.out + row * args.out_stride, clip(pack_bytes(first, second), block.rounding), args.channels);
    }
}

void multiplier(const EpilogueArgs& args) {
    const ScaleBlock<int64_t>& block = *static_cast<const ScaleBlock<int64_t>*>(args.block);
    block.rounding.simple ? multiplier_rows<true>(args, block) : multiplier_rows<false>(args, block);
}

void float32(const EpilogueArgs& args) {
    const FloatBlock<float>& block = *static_cast<const FloatBlock<float>*>(args.block);
    const __m256 scale[2] = {_mm256_load_ps(block.scale), _mm256_load_ps(block.scale + 8)};
    const __m256 lowest = _mm256_set1_ps(block.lowest), highest = _mm256_set1_ps(block.highest);
    const __m256i zero = _mm256_set1_epi32(block.zero);
    const auto round = [&](const int32_t* acc, int half) {
        const __m256 level = _mm256_mul_ps(_mm256_cvtepi32_ps(load(acc + 8 * half)), scale[half]);
        const __m256 clipped = _mm256_max_ps(_mm256_min_ps(level, highest), lowest);
        return _mm256_add_epi32(_mm256_cvtps_epi32(clipped), zero);
    };
    each_two_rows(args, 0, 255, round);
}

void float64(const EpilogueArgs& args) {
    const FloatBlock<double>& block = *static_cast<const FloatBlock<double>*>(args.block);
    const __m256d before = _mm256_set1_pd(block.before);
    const __m256d lowest = _mm256_set1_pd(block.lowest), highest = _mm256_set1_pd(block.highest);
    const __m256i zero = _mm256_set1_epi32(block.zero);
    const auto four = [&](const int32_t* acc, int at) {
        const __m256d value = _mm256_cvtepi32_pd(_mm_loadu_si128(reinterpret_cast<const __m128i*>(acc + at)));
        const __m256d level = _mm256_add_pd(_mm256_mul_pd(value, _mm256_load_pd(block.scale + at)), before);
        return _mm256_cvtpd_epi32(_mm256_max_pd(_mm256_min_pd(level, highest), lowest));
    };
    const auto round = [&](const int32_t* acc, int half) {
        return _mm256_add_epi32(_mm256_set_m128i(four(acc, 8 * half + 4), four(acc, 8 * half)), zero);
    };
    each_two_rows(args, 0, 255, round);
}

void line(const EpilogueArgs& args) {
    const LineBlock& block = *static_cast<const LineBlock*>(args.block);
    const __m256 scale[2] = {_mm256_load_ps(block.scale), _mm256_load_ps(block.scale + 8)};
    const __m256 offset[2] = {_mm256_load_ps(block.offset), _mm256_load_ps(block.offset + 8)};
    const auto round = [&](const int32_t* acc, int half) {
        return _mm256_cvtps_epi32(_mm256_fmadd_ps(_mm256_cvtepi32_ps(load(acc + 8 * half)), scale[half], offset[half]));
    };
    each_two_rows(args, block.low, block.high, round);
}

// Counts of 16 channels as words, in order, to bytes base +- count; the packer proved that they lie in 0..255.
void store_counts(__m256i counts, const ThresholdBlock& block, uint8_t* out, int64_t channels) {
    const __m256i flip =
        _mm256_permute4x64_epi64(_mm256_packs_epi32(load(block.descending), load(block.descending + 8)), 0xd8);
    const __m256i base = _mm256_permute4x64_epi64(_mm256_packs_epi32(load(block.base), load(block.base + 8)), 0xd8);
    const __m256i words = _mm256_add_epi16(_mm256_sub_epi16(_mm256_xor_si256(counts, flip), flip), base);
    const __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    store_bytes(out, bytes, channels);
}

// vpackssdw saturates, which changes no comparison with a threshold in -32768..32766.
template <int kRows>
void threshold16_rows(const EpilogueArgs& args, const ThresholdBlock& block, int64_t row) {
    __m256i acc[kRows], count[kRows];
#pragma GCC unroll 4
    for (int i = 0; i < kRows; ++i) {
        const int32_t* from = args.acc + (row + i) * args.acc_stride;
        acc[i] = _mm256_packs_epi32(load(from), load(from + 8));
        count[i] = _mm256_setzero_si256();
    }
    for (int64_t k = 0; k < block.count; ++k) {
        const __m256i threshold = load(block.thresholds16 + 16 * k);
#pragma GCC unroll 4
        for (int i = 0; i < kRows; ++i) count[i] = _mm256_sub_epi16(count[i], _mm256_cmpgt_epi16(acc[i], threshold));
    }
#pragma GCC unroll 4
    for (int i = 0; i < kRows; ++i)
        store_counts(_mm256_permute4x64_epi64(count[i], 0xd8), block, args.out + (row + i) * args.out_stride,
                     args.channels);
}

template <int kRows>
void threshold32_rows(const EpilogueArgs& args, const ThresholdBlock& block, int64_t row) {
    __m256i acc[2 * kRows], count[2 * kRows];
#pragma GCC unroll 4
    for (int i = 0; i < 2 * kRows; ++i) {
        acc[i] = load(args.acc + (row + i / 2) * args.acc_stride + i % 2 * 8);
        count[i] = _mm256_setzero_si256();
    }
    for (int64_t k = 0; k < block.count; ++k) {
        const __m256i first = load(block.thresholds + 16 * k), second = load(block.thresholds + 16 * k + 8);
#pragma GCC unroll 4
        for (int i = 0; i < 2 * kRows; ++i)
            count[i] = _mm256_sub_epi32(count[i], _mm256_cmpgt_epi32(acc[i], i % 2 ? second : first));
    }
#pragma GCC unroll 4
    for (int i = 0; i < kRows; ++i)
        store_counts(_mm256_permute4x64_epi64(_mm256_packs_epi32(count[2 * i], count[2 * i + 1]), 0xd8), block,
                     args.out + (row + i) * args.out_stride, args.channels);
}

void threshold16(const EpilogueArgs& args) {
    const ThresholdBlock& block = *static_cast<const ThresholdBlock*>(args.block);
    int64_t row = 0;
    for (; row + 3 <= args.rows; row += 3) threshold16_rows<3>(args, block, row);
    for (; row < args.rows; ++row) threshold16_rows<1>(args, block, row);
}

void threshold32(const EpilogueArgs& args) {
    const ThresholdBlock& block = *static_cast<const ThresholdBlock*>(args.block);
    int64_t row = 0;
    for (; row + 2 <= args.rows; row += 2) threshold32_rows<2>(args, block, row);
    for (; row < args.rows; ++row) threshold32_rows<1>(args, block, row);
}

void buckets(const EpilogueArgs& args) {
    const BucketBlock& block = *static_cast<const BucketBlock*>(args.block);
    const __m256i places = _mm256_set1_epi32(0xffffff);
    const auto count = [&](const int32_t* acc, int half) {
        const int at = 8 * half;
        const __m256i first = load(block.first + at);
        const __m256i clipped = _mm256_min_epi32(_mm256_max_epi32(load(acc + at), first), load(block.last + at));
        const __m256i x = _mm256_sub_epi32(clipped, first), place = _mm256_and_si256(x, load(block.place + at));
        const __m256i bucket = _mm256_add_epi32(_mm256_srlv_epi32(x, load(block.shift + at)), load(block.start + at));
        __m256i reached = _mm256_setzero_si256();
        for (int64_t k = 0; k < block.depth; ++k) {
            const __m256i entry = _mm256_i32gather_epi32(block.entries + k * block.plane, bucket, 4);
            const __m256i above = _mm256_cmpgt_epi32(place, _mm256_and_si256(entry, places));
            reached = _mm256_add_epi32(reached, _mm256_sub_epi32(_mm256_srli_epi32(entry, 24), above));
        }
        const __m256i flip = load(block.descending + at);
        return _mm256_add_epi32(_mm256_sub_epi32(_mm256_xor_si256(reached, flip), flip), load(block.base + at));
    };
    each_two_rows(args, 0, 255, count);
}

constexpr EpilogueRow kRows[] = {
    {{"epilogue_u8s32_shift_avx2_2x16", "epilogue", "shift", "avx2", 2, 16, 8, 32}, EpilogueKind::kShift, shift},
    {{"epilogue_u8s32_highword_avx2_2x16", "epilogue", "highword", "avx2", 2, 16, 8, 32},
     EpilogueKind::kHighWord,
     high_word<false>},
    {{"epilogue_u8s32_highwordsigned_avx2_2x16", "epilogue", "highwordsigned", "avx2", 2, 16, 8, 32},
     EpilogueKind::kHighWordSigned,
     high_word<true>},
    {{"epilogue_u8s32_multiplier_avx2_1x16", "epilogue", "multiplier", "avx2", 1, 16, 8, 32},
     EpilogueKind::kMultiplier,
     multiplier},
    {{"epilogue_u8s32_float32_avx2_2x16", "epilogue", "float32", "avx2", 2, 16, 8, 32},
     EpilogueKind::kFloat32,
     float32},
    {{"epilogue_u8s32_float64_avx2_2x16", "epilogue", "float64", "avx2", 2, 16, 8, 32},
     EpilogueKind::kFloat64,
     float64},
    {{"epilogue_u8s32_threshold16_avx2_3x16", "epilogue", "threshold16", "avx2", 3, 16, 8, 32},
     EpilogueKind::kThreshold16,
     threshold16},
    {{"epilogue_u8s32_threshold32_avx2_2x16", "epilogue", "threshold32", "avx2", 2, 16, 8, 32},
     EpilogueKind::kThreshold32,
     threshold32},
    {{"epilogue_u8s32_buckets_avx2_2x16", "epilogue", "buckets", "avx2", 2, 16, 8, 32},
     EpilogueKind::kBuckets,
     buckets},
    {{"epilogue_u8s32_line_avx2_2x16", "epilogue", "line", "avx2", 2, 16, 8, 32}, EpilogueKind::kLine, line},
};

}  // namespace

const Rows<EpilogueRow> kAvx2Epilogues = {kRows, sizeof kRows / sizeof *kRows};

}  // namespace intsim
