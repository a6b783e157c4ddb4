// What the AVX-512 kernels share: 16 channels are one register of int32, and each epilogue is a struct that holds its
// constants in registers and turns accumulators into codes, on its own (epilogue_avx512.cpp) or at the end of a tile
// (gemm_avx512.cpp).
//
// An epilogue's to_codes(acc) replaces the accumulators of some rows by their codes.
//
// Included only by files that are compiled for AVX-512. Everything has internal linkage: the linker must never take one
// of these functions for a file that runs on other processors.
#pragma once

#if defined(__GNUC__) && !defined(__clang__)  // GCC's bug 105593: its own header leaves undefined what it then reports
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#include <cstdint>

#include "kernel_table.h"

namespace intsim {
namespace {

inline __m512i load(const void* from) { return _mm512_loadu_si512(from); }

inline __m128i low_bytes(__m512i codes) { return _mm512_cvtepi32_epi8(codes); }

// The low bytes of the first `count` of 16 int32. Stores of bytes by a mask take several cycles each.
inline void store_bytes(uint8_t* to, __m512i codes, int64_t count) {
    if (count == 16)
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to), low_bytes(codes));
    else
        _mm_mask_storeu_epi8(to, static_cast<__mmask16>((1u << count) - 1), low_bytes(codes));
}

// Codes within bounds that both lie in 0..255.
struct Range {
    __m512i low, high;

    Range(int32_t low, int32_t high) : low(_mm512_set1_epi32(low)), high(_mm512_set1_epi32(high)) {}
    __m512i clip(__m512i codes) const { return _mm512_min_epi32(_mm512_max_epi32(codes, low), high); }
};

// What turns each register of accumulators into codes by itself.
template <class Epilogue>
struct RowByRow {
    template <int kRows>
    void to_codes(__m512i (&acc)[kRows]) const {
#pragma GCC unroll 16
        for (int row = 0; row < kRows; ++row) acc[row] = static_cast<const Epilogue&>(*this).codes(acc[row]);
    }
};

struct Line : RowByRow<Line> {
    using Block = LineBlock;
    __m512 scale, offset;
    Range range;

    explicit Line(const Block& block)
        : scale(_mm512_loadu_ps(block.scale)), offset(_mm512_loadu_ps(block.offset)), range(block.low, block.high) {}
    __m512i codes(__m512i acc) const {
        return range.clip(_mm512_cvtps_epi32(_mm512_fmadd_ps(_mm512_cvtepi32_ps(acc), scale, offset)));
    }
};

// vpmuldq multiplies the even 32-bit lanes; the odd ones are shifted in place. The high words of the sums are put
// together again by a blend. What is subtracted below zero is the accumulator's own sign bit.
template <bool kSigned>
struct HighWord : RowByRow<HighWord<kSigned>> {
    using Block = HighWordBlock;
    __m512i multiplier[2], base[2], below_zero[2], shift;
    Range range;

    explicit HighWord(const Block& block)
        : multiplier{load(block.multiplier), load(block.multiplier + 1)},
          base{load(block.base[0]), load(block.base[1])},
          below_zero{load(block.below_zero[0]), load(block.below_zero[1])},
          shift(load(block.shift)),
          range(block.low, block.high) {}
    __m512i sum(__m512i acc, int parity) const {
        const __m512i total = _mm512_add_epi64(_mm512_mul_epi32(acc, multiplier[parity]), base[parity]);
        return kSigned ? _mm512_sub_epi64(total, _mm512_and_si512(acc, below_zero[parity])) : total;
    }
    __m512i codes(__m512i acc) const {
        const __m512i even = _mm512_srli_epi64(sum(acc, 0), 32), odd = sum(_mm512_srli_epi64(acc, 32), 1);
        return range.clip(_mm512_srav_epi32(_mm512_mask_blend_epi32(0xaaaa, even, odd), shift));
    }
};

// rounding.h's formula; kSimple has no terms but the base.
template <bool kSimple>
struct Shift : RowByRow<Shift<kSimple>> {
    using Block = ScaleBlock<int32_t>;
    __m512i shift, base, sign_term, odd_term, zero_before, zero;
    Range range;

    explicit Shift(const Block& block)
        : shift(load(block.rounding.shift)),
          base(load(block.rounding.base)),
          sign_term(load(block.rounding.sign_term)),
          odd_term(load(block.rounding.odd_term)),
          zero_before(load(block.rounding.zero_before)),
          zero(load(block.rounding.zero)),
          range(block.rounding.low, block.rounding.high) {}
    __m512i codes(__m512i acc) const {
        __m512i sum = _mm512_add_epi32(acc, base);
        if (!kSimple) {
            const __m512i f = _mm512_add_epi32(_mm512_srav_epi32(acc, shift), zero_before);
            sum = _mm512_add_epi32(sum, _mm512_and_si512(_mm512_srai_epi32(f, 31), sign_term));
            sum = _mm512_add_epi32(sum, _mm512_and_si512(f, odd_term));
        }
        return range.clip(_mm512_add_epi32(_mm512_srav_epi32(sum, shift), zero));
    }
};

struct Float32 : RowByRow<Float32> {
    using Block = FloatBlock<float>;
    __m512 scale, lowest, highest;
    __m512i zero;

    explicit Float32(const Block& block)
        : scale(_mm512_loadu_ps(block.scale)),
          lowest(_mm512_set1_ps(block.lowest)),
          highest(_mm512_set1_ps(block.highest)),
          zero(_mm512_set1_epi32(block.zero)) {}
    __m512i codes(__m512i acc) const {
        const __m512 level = _mm512_mul_ps(_mm512_cvtepi32_ps(acc), scale);
        const __m512 clipped = _mm512_max_ps(_mm512_min_ps(level, highest), lowest);
        return _mm512_add_epi32(_mm512_cvtps_epi32(clipped), zero);
    }
};

// The packer proved that the codes are bytes.
struct Thresholds {
    using Block = ThresholdBlock;
    __m512i base, descending;
    const int32_t* thresholds;
    int64_t count;

    explicit Thresholds(const Block& block)
        : base(load(block.base)),
          descending(load(block.descending)),
          thresholds(block.thresholds),
          count(block.count) {}

    // All rows at once, so that each threshold is loaded for all of them.
    template <int kRows>
    void to_codes(__m512i (&acc)[kRows]) const {
        const __m512i one = _mm512_set1_epi32(1);
        __m512i reached[kRows];
#pragma GCC unroll 16
        for (int row = 0; row < kRows; ++row) reached[row] = _mm512_setzero_si512();
        for (int64_t k = 0; k < count; ++k) {
            const __m512i threshold = load(thresholds + 16 * k);
#pragma GCC unroll 16
            for (int row = 0; row < kRows; ++row)
                reached[row] = _mm512_mask_add_epi32(reached[row], _mm512_cmpgt_epi32_mask(acc[row], threshold),
                                                     reached[row], one);
        }
#pragma GCC unroll 16
        for (int row = 0; row < kRows; ++row)
            acc[row] = _mm512_add_epi32(base, _mm512_sub_epi32(_mm512_xor_si512(reached[row], descending), descending));
    }
};

}  // namespace

// The rows of each file, gathered in kernels_avx512.cpp.
extern const Rows<TileRow> kAvx512Gemm;
extern const Rows<TilePairRow> kAvx512GemmPairs;
extern const Rows<ByteTileRow> kAvx512ByteTiles;
extern const Rows<ByteTilePairRow> kAvx512ByteTilePairs;
extern const Rows<StripRow> kAvx512Strips;
extern const Rows<TileRow> kAvx512Roof;
extern const Rows<EpilogueRow> kAvx512Epilogues;
extern const Rows<AddRow> kAvx512Adds;
extern const Rows<QuantizeRow> kAvx512Quantizers;
extern const Rows<WinogradRow> kAvx512Winograd;

}  // namespace intsim
