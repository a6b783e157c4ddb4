// What the AVX2 kernels share: loads and stores, bytes out of int32, and rounding.h's formula in vectors.
//
// Included only by files that are compiled for AVX2. Everything has internal linkage: the linker must never take one of
// these functions for a file that runs on other processors.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernel_table.h"

namespace intsim {
namespace {

inline __m256i load(const void* from) { return _mm256_loadu_si256(static_cast<const __m256i*>(from)); }
inline void store(void* to, __m256i value) { _mm256_storeu_si256(static_cast<__m256i*>(to), value); }
inline __m256i widen16(const uint8_t* from) {
    return _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}

inline void store_bytes(uint8_t* to, __m128i bytes, int64_t channels) {
    if (channels == 16) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to), bytes);
        return;
    }
    if (channels & 8) {
        _mm_storel_epi64(reinterpret_cast<__m128i*>(to), bytes);
        bytes = _mm_unpackhi_epi64(bytes, bytes), to += 8;
    }
    uint64_t rest = static_cast<uint64_t>(_mm_cvtsi128_si64(bytes));
    for (int64_t c = 0; c < channels % 8; ++c, rest >>= 8) to[c] = static_cast<uint8_t>(rest);
}

// 4 x 8 int32 in order -> the bytes of two pixels in order, saturating.
inline __m256i two_pixels(__m256i first_low, __m256i first_high, __m256i second_low, __m256i second_high) {
    const __m256i bytes =
        _mm256_packus_epi16(_mm256_packs_epi32(first_low, first_high), _mm256_packs_epi32(second_low, second_high));
    return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}
inline void store_two_pixels(__m256i bytes, uint8_t* first, uint8_t* second, int64_t channels) {
    store_bytes(first, _mm256_castsi256_si128(bytes), channels);
    store_bytes(second, _mm256_extracti128_si256(bytes, 1), channels);
}

// 16 int32 in order -> 16 bytes in order, saturating; then clipping to low..high is exact, as both lie in 0..255.
inline __m128i pack_bytes(__m256i first, __m256i second) {
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(first, second), 0xd8);
    return _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}

template <class T>
inline __m128i clip(__m128i bytes, const RoundingBlock<T>& block) {
    bytes = _mm_max_epu8(bytes, _mm_set1_epi8(static_cast<char>(block.low)));
    return _mm_min_epu8(bytes, _mm_set1_epi8(static_cast<char>(block.high)));
}

// 8 channels, from `at`, of rounding.h's formula in int32 lanes.
template <bool kSimple>
inline __m256i round32(__m256i x, const RoundingBlock<int32_t>& block, int at) {
    const __m256i shift = load(block.shift + at);
    __m256i sum = _mm256_add_epi32(x, load(block.base + at));
    if (!kSimple) {
        const __m256i f = _mm256_add_epi32(_mm256_srav_epi32(x, shift), load(block.zero_before + at));
        const __m256i sign_term = _mm256_and_si256(_mm256_srai_epi32(f, 31), load(block.sign_term + at));
        const __m256i odd_term = _mm256_and_si256(f, load(block.odd_term + at));
        sum = _mm256_add_epi32(sum, _mm256_add_epi32(sign_term, odd_term));
    }
    return _mm256_add_epi32(_mm256_srav_epi32(sum, shift), load(block.zero + at));
}

// 4 channels in int64 lanes; the result is right in its low 32 bits. AVX2 has no arithmetic 64-bit shift: the logical
// one of x + 2^63 differs from it by 2^(63-shift).
template <bool kSimple>
inline __m256i round64(__m256i x, const RoundingBlock<int64_t>& block, int at) {
    const __m256i shift = load(block.shift + at);
    const __m256i top = _mm256_set1_epi64x(INT64_MIN);
    const __m256i shifted_top = _mm256_srlv_epi64(top, shift);
    __m256i sum = _mm256_add_epi64(x, load(block.base + at));
    if (!kSimple) {
        const __m256i floor = _mm256_sub_epi64(_mm256_srlv_epi64(_mm256_xor_si256(x, top), shift), shifted_top);
        const __m256i f = _mm256_add_epi64(floor, load(block.zero_before + at));
        const __m256i negative = _mm256_cmpgt_epi64(_mm256_setzero_si256(), f);
        const __m256i sign_term = _mm256_and_si256(negative, load(block.sign_term + at));
        const __m256i odd_term = _mm256_and_si256(f, load(block.odd_term + at));
        sum = _mm256_add_epi64(sum, _mm256_add_epi64(sign_term, odd_term));
    }
    const __m256i rounded = _mm256_sub_epi64(_mm256_srlv_epi64(_mm256_xor_si256(sum, top), shift), shifted_top);
    return _mm256_add_epi64(rounded, load(block.zero + at));
}

// The low halves of 4 + 4 int64, in order.
inline __m256i narrow64(__m256i first, __m256i second) {
    const __m256 halves = _mm256_shuffle_ps(_mm256_castsi256_ps(first), _mm256_castsi256_ps(second), 0x88);
    return _mm256_permute4x64_epi64(_mm256_castps_si256(halves), 0xd8);
}

}  // namespace

// The rows of each file, gathered in kernels_avx2.cpp.
extern const Rows<TileRow> kAvx2Gemm;
extern const Rows<ByteTileRow> kAvx2ByteTiles;
extern const Rows<TileRow> kAvx2Depthwise;
extern const Rows<StripRow> kAvx2Strips;
extern const Rows<TileRow> kAvx2Roof;
extern const Rows<EpilogueRow> kAvx2Epilogues;
extern const Rows<AddRow> kAvx2Adds;
extern const Rows<OperandRow> kAvx2Operands;
extern const Rows<LookupRow> kAvx2Lookups;
extern const Rows<QuantizeRow> kAvx2Quantizers;
extern const Rows<WinogradRow> kAvx2Winograd;

}  // namespace intsim
