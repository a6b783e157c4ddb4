// Kernels for AVX2, tuned on Zen 3. Nothing in here may run, and no template may be shared, before the processor is
// known to have it: see setup.py and dispatch.cpp.
//
// The gemm loops are single asm blocks in leaf functions: GCC spills accumulator arrays of intrinsics and lost a factor
// of 2 to 6. ymm0..11 hold 6 rows x 2 registers of accumulators, ymm12 and ymm13 the panel, ymm14 the broadcast
// operand, ymm15 the product. Multiplies run on two of Zen 3's vector pipes and additions on all four, so the pair
// multiply + add is bound at 3.2 instructions per cycle: 51 MAC/cycle for a16 and 25.6 for w16, against 16 for float32.
#include <immintrin.h>

#include <cstdint>

#include "kernel_table.h"

namespace intsim {
namespace {

alignas(32) constexpr int16_t kOnes[16] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

// --- gemm
// -------------------------------------------------------------------------------------------------------------

// EACH_ROW_<MR>(f): f(low accumulator, high accumulator, address of the row's operand), for rows p + {0, 1, 2} * stride
// and q + {0, 1, 2} * stride, where q = p + 3 * stride.
#define EACH_ROW_1(f) f(0, 1, "(%[p])")
#define EACH_ROW_2(f) EACH_ROW_1(f) f(2, 3, "(%[p],%[stride])")
#define EACH_ROW_3(f) EACH_ROW_2(f) f(4, 5, "(%[p],%[stride],2)")
#define EACH_ROW_4(f) EACH_ROW_3(f) f(6, 7, "(%[q])")
#define EACH_ROW_5(f) EACH_ROW_4(f) f(8, 9, "(%[q],%[stride])")
#define EACH_ROW_6(f) EACH_ROW_5(f) f(10, 11, "(%[q],%[stride],2)")

#define ZERO(low, high, address)                   \
    "vpxor %%xmm" #low ",%%xmm" #low ",%%xmm" #low \
    "\n"                                           \
    "vpxor %%xmm" #high ",%%xmm" #high ",%%xmm" #high "\n"

#define LOAD_PANEL(low, high) \
    "vmovdqa " low            \
    "(%[panel]),%%ymm12\n"    \
    "vmovdqa " high "(%[panel]),%%ymm13\n"

#define MULTIPLY_ADD(multiply, add, low, high, address)                                                                \
    "vpbroadcastd " address ",%%ymm14\n" multiply " %%ymm12,%%ymm14,%%ymm15\n" add " %%ymm15,%%ymm" #low ",%%ymm" #low \
    "\n" multiply " %%ymm13,%%ymm14,%%ymm15\n" add " %%ymm15,%%ymm" #high ",%%ymm" #high "\n"

// a16: bytes times bytes, pairs summed into int16 (u8 x s8: no pair saturates, by the packer's proof), wrapping
// addition.
#define A16_ROW(low, high, address) MULTIPLY_ADD("vpmaddubsw", "vpaddw", low, high, address)
#define A16_QUAD(rows) LOAD_PANEL("0", "32") rows(A16_ROW) "add $4,%[p]\n add $4,%[q]\n add $64,%[panel]\n"

// Widen one register of int16 lanes to 8 channels of int32, add them to the tile, and start again from zero.
#define A16_FLUSH_ONE(i)                            \
    "vpmaddwd %[ones],%%ymm" #i ",%%ymm" #i         \
    "\n"                                            \
    "vpaddd 32*" #i "(%[acc]),%%ymm" #i ",%%ymm" #i \
    "\n"                                            \
    "vmovdqa %%ymm" #i ",32*" #i "(%[acc])\n"
#define A16_FLUSH(low, high, address) A16_FLUSH_ONE(low) A16_FLUSH_ONE(high) ZERO(low, high, address)

// w16: int16 times int16, pairs summed into int32. A quad is two pairs of k, 4 bytes apart in the widened operand.
#define W16_ROW_FIRST(low, high, address) MULTIPLY_ADD("vpmaddwd", "vpaddd", low, high, address)
#define W16_ROW_SECOND(low, high, address) MULTIPLY_ADD("vpmaddwd", "vpaddd", low, high, "4" address)
#define W16_QUAD(rows)    \
    LOAD_PANEL("0", "32") \
    rows(W16_ROW_FIRST) LOAD_PANEL("64", "96") rows(W16_ROW_SECOND) "add $8,%[p]\n add $8,%[q]\n sub $-128,%[panel]\n"

#define W16_STORE_ONE(i)                            \
    "vpaddd 32*" #i "(%[acc]),%%ymm" #i ",%%ymm" #i \
    "\n"                                            \
    "vmovdqa %%ymm" #i ",32*" #i "(%[acc])\n"
#define W16_STORE(low, high, address) W16_STORE_ONE(low) W16_STORE_ONE(high)

// for each run { p = operand + offset; do quad while (--n); if (run.flush) after_flush }  at_end
#define GEMM_KERNEL(function, rows, quad, after_flush, at_end)                                                         \
    __attribute__((noinline)) void function(const Tile& tile) {                                                        \
        const Run* run = tile.runs;                                                                                    \
        const void* panel = tile.panel;                                                                                \
        int64_t count = tile.run_count, n;                                                                             \
        const char *p, *q;                                                                                             \
        __asm__ volatile(                                                                                            \
            rows(ZERO)                                                                                               \
            "1: mov (%[run]),%[p]\n"                                                                                 \
            "add %[operand],%[p]\n"                                                                                  \
            "lea (%[p],%[stride],2),%[q]\n"                                                                          \
            "add %[stride],%[q]\n"                                                                                   \
            "mov 8(%[run]),%[n]\n"                                                                                   \
            ".p2align 5\n"                                                                                           \
            "2:\n" quad(rows)                                                                                        \
            "dec %[n]\n jnz 2b\n"                                                                                    \
            "cmpq $0,16(%[run])\n je 3f\n"                                                                           \
            after_flush                                                                                              \
            "3: add $24,%[run]\n dec %[count]\n jnz 1b\n"                                                            \
            at_end                                                                                                   \
            "vzeroupper\n"                                                                                           \
            : [run] "+&r"(run), [panel] "+&r"(panel), [count] "+&r"(count), [n] "=&r"(n), [p] "=&r"(p), [q] "=&r"(q) \
            : [operand] "r"(tile.operand), [stride] "r"(tile.row_stride), [acc] "r"(tile.acc), [ones] "m"(kOnes)     \
            : "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",        \
              "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"); \
    }

static_assert(sizeof(Run) == 24, "the asm blocks step through runs by 24 bytes");

#define GEMM_KERNELS(mr)                                                              \
    GEMM_KERNEL(gemm_a16_##mr, EACH_ROW_##mr, A16_QUAD, EACH_ROW_##mr(A16_FLUSH), "") \
    GEMM_KERNEL(gemm_w16_##mr, EACH_ROW_##mr, W16_QUAD, "", EACH_ROW_##mr(W16_STORE))

GEMM_KERNELS(1)
GEMM_KERNELS(2)
GEMM_KERNELS(3)
GEMM_KERNELS(4)
GEMM_KERNELS(5)
GEMM_KERNELS(6)

// --- depthwise
// --------------------------------------------------------------------------------------------------------

__m256i load(const void* from) { return _mm256_loadu_si256(static_cast<const __m256i*>(from)); }
void store(void* to, __m256i value) { _mm256_storeu_si256(static_cast<__m256i*>(to), value); }
__m256i widen16(const uint8_t* from) {
    return _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}

// Words of two taps interleave, so one vpmaddwd adds both; the interleaving leaves channels in kUnpackOrder.
template <int MR>
void depthwise_w16(const Tile& tile) {
    __m256i low[MR], high[MR];
#pragma GCC unroll 4
    for (int row = 0; row < MR; ++row) low[row] = high[row] = _mm256_setzero_si256();
    const uint8_t* operand = static_cast<const uint8_t*>(tile.operand);
    const int16_t* panel = static_cast<const int16_t*>(tile.panel);
    for (int64_t pair = 0; pair < tile.run_count / 2; ++pair, panel += 32) {
        const uint8_t* first = operand + tile.runs[2 * pair].offset;
        const uint8_t* second = operand + tile.runs[2 * pair + 1].offset;
        const __m256i weights_low = load(panel), weights_high = load(panel + 16);
#pragma GCC unroll 4
        for (int row = 0; row < MR; ++row) {
            const __m256i a = widen16(first + row * tile.row_stride), b = widen16(second + row * tile.row_stride);
            low[row] = _mm256_add_epi32(low[row], _mm256_madd_epi16(_mm256_unpacklo_epi16(a, b), weights_low));
            high[row] = _mm256_add_epi32(high[row], _mm256_madd_epi16(_mm256_unpackhi_epi16(a, b), weights_high));
        }
    }
#pragma GCC unroll 4
    for (int row = 0; row < MR; ++row) {
        int32_t* acc = tile.acc + 16 * row;
        store(acc, _mm256_add_epi32(load(acc), _mm256_permute2x128_si256(low[row], high[row], 0x20)));
        store(acc + 8, _mm256_add_epi32(load(acc + 8), _mm256_permute2x128_si256(low[row], high[row], 0x31)));
    }
}

// --- epilogues
// --------------------------------------------------------------------------------------------------------

void store_bytes(uint8_t* to, __m128i bytes, int64_t channels) {
    if (channels == 16) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(to), bytes);
        return;
    }
    alignas(16) uint8_t all[16];
    _mm_store_si128(reinterpret_cast<__m128i*>(all), bytes);
    for (int64_t c = 0; c < channels; ++c) to[c] = all[c];
}

// 16 int32 in order -> 16 bytes in order, saturating; then clipping to low..high is exact, as both lie in 0..255.
__m128i pack_bytes(__m256i first, __m256i second) {
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(first, second), 0xd8);
    return _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
}

template <class T>
__m128i clip(__m128i bytes, const RoundingBlock<T>& block) {
    bytes = _mm_max_epu8(bytes, _mm_set1_epi8(static_cast<char>(block.low)));
    return _mm_min_epu8(bytes, _mm_set1_epi8(static_cast<char>(block.high)));
}

// 8 channels, from `at`, of rounding.h's formula in int32 lanes.
template <bool kSimple>
__m256i round32(__m256i x, const RoundingBlock<int32_t>& block, int at) {
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
__m256i round64(__m256i x, const RoundingBlock<int64_t>& block, int at) {
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
__m256i narrow64(__m256i first, __m256i second) {
    const __m256 halves = _mm256_shuffle_ps(_mm256_castsi256_ps(first), _mm256_castsi256_ps(second), 0x88);
    return _mm256_permute4x64_epi64(_mm256_castps_si256(halves), 0xd8);
}

template <bool kSimple>
void shift_rows(const EpilogueArgs& args, const RoundingBlock<int32_t>& block) {
    for (int64_t row = 0; row < args.rows; ++row) {
        const int32_t* acc = args.acc + row * args.acc_stride;
        const __m256i first = round32<kSimple>(load(acc), block, 0);
        const __m256i second = round32<kSimple>(load(acc + 8), block, 8);
        store_bytes(args.out + row * args.out_stride, clip(pack_bytes(first, second), block), args.channels);
    }
}

void shift(const EpilogueArgs& args) {
    const RoundingBlock<int32_t>& block = static_cast<const ScaleBlock<int32_t>*>(args.block)->rounding;
    block.simple ? shift_rows<true>(args, block) : shift_rows<false>(args, block);
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

// --- residual addition
// ------------------------------------------------------------------------------------------------

__m256i load8(const uint8_t* from) {
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from)));
}
__m256i load8(const int32_t* from) { return load(from); }

int32_t load_word(const uint8_t* from) {
    int32_t word;
    __builtin_memcpy(&word, from, sizeof word);
    return word;
}
__m256i load4(const uint8_t* from) { return _mm256_cvtepu8_epi64(_mm_cvtsi32_si128(load_word(from))); }
__m256i load4(const int32_t* from) {
    return _mm256_cvtepi32_epi64(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}

template <class A, bool kSimple>
void add32_pixels(const AddArgs& args, const AddBlock<int32_t>& block) {
    const A* a = static_cast<const A*>(args.a);
    for (int64_t pixel = 0; pixel < args.pixels; ++pixel) {
        __m256i sum[2];
#pragma GCC unroll 2
        for (int half = 0; half < 2; ++half) {
            const int at = 8 * half;
            const __m256i x = _mm256_mullo_epi32(load8(a + pixel * args.a_stride + at), load(block.multiplier_a + at));
            const __m256i y =
                _mm256_mullo_epi32(load8(args.b + pixel * args.b_stride + at), load(block.multiplier_b + at));
            const __m256i total = _mm256_add_epi32(_mm256_add_epi32(x, y), load(block.offset + at));
            sum[half] = round32<kSimple>(total, block.rounding, at);
        }
        store_bytes(args.out + pixel * args.out_stride, clip(pack_bytes(sum[0], sum[1]), block.rounding),
                    args.channels);
    }
}

template <class A, bool kSimple>
void add64_pixels(const AddArgs& args, const AddBlock<int64_t>& block) {
    const A* a = static_cast<const A*>(args.a);
    for (int64_t pixel = 0; pixel < args.pixels; ++pixel) {
        __m256i sum[4];
#pragma GCC unroll 4
        for (int quarter = 0; quarter < 4; ++quarter) {
            const int at = 4 * quarter;
            const __m256i x = _mm256_mul_epi32(load4(a + pixel * args.a_stride + at), load(block.multiplier_a + at));
            const __m256i y =
                _mm256_mul_epi32(load4(args.b + pixel * args.b_stride + at), load(block.multiplier_b + at));
            const __m256i total = _mm256_add_epi64(_mm256_add_epi64(x, y), load(block.offset + at));
            sum[quarter] = round64<kSimple>(total, block.rounding, at);
        }
        const __m128i bytes = pack_bytes(narrow64(sum[0], sum[1]), narrow64(sum[2], sum[3]));
        store_bytes(args.out + pixel * args.out_stride, clip(bytes, block.rounding), args.channels);
    }
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

// --- bytes
// ------------------------------------------------------------------------------------------------------------

void widen(const uint8_t* from, int16_t* to, int64_t count) {
    int64_t i = 0;
    for (; i + 16 <= count; i += 16) store(to + i, widen16(from + i));
    for (; i < count; ++i) to[i] = from[i];
}

// 16 tables of 16 entries. In part p, an index of x xor 16p is below 16 exactly where the high nibble of x is p; adding
// 0x70 with saturation sets the top bit of all others, for which vpshufb gives zero.
void lookup(const uint8_t* from, uint8_t* to, int64_t count, const uint8_t* table) {
    int64_t i = 0;
    for (; i + 64 <= count; i += 64) {
        const __m256i x = load(from + i), y = load(from + i + 32), top = _mm256_set1_epi8(0x70);
        __m256i x_result = _mm256_setzero_si256(), y_result = x_result;
#pragma GCC unroll 16
        for (int part = 0; part < 16; ++part) {
            const __m256i high = _mm256_set1_epi8(static_cast<char>(16 * part));
            const __m256i entries =
                _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i*>(table + 16 * part)));
            const __m256i x_index = _mm256_adds_epu8(_mm256_xor_si256(x, high), top);
            const __m256i y_index = _mm256_adds_epu8(_mm256_xor_si256(y, high), top);
            x_result = _mm256_or_si256(x_result, _mm256_shuffle_epi8(entries, x_index));
            y_result = _mm256_or_si256(y_result, _mm256_shuffle_epi8(entries, y_index));
        }
        store(to + i, x_result);
        store(to + i + 32, y_result);
    }
    for (; i < count; ++i) to[i] = table[from[i]];
}

#define GEMM_ROWS(mr)                                                            \
    {{"gemm_u8s8_a16_avx2_" #mr "x16", "gemm", "a16", "avx2", mr, 16, 8, 8},     \
     TileOp::kGemm,                                                              \
     Scheme::kA16,                                                               \
     gemm_a16_##mr},                                                             \
        {{"gemm_u8s8_w16_avx2_" #mr "x16", "gemm", "w16", "avx2", mr, 16, 8, 8}, \
         TileOp::kGemm,                                                          \
         Scheme::kW16,                                                           \
         gemm_w16_##mr},

#define DEPTHWISE_ROW(mr)                                                              \
    {{"depthwise_u8s8_w16_avx2_" #mr "x16", "depthwise", "w16", "avx2", mr, 16, 8, 8}, \
     TileOp::kDepthwise,                                                               \
     Scheme::kW16,                                                                     \
     depthwise_w16<mr>},

constexpr TileRow kTiles[] = {
    GEMM_ROWS(6) GEMM_ROWS(5) GEMM_ROWS(4) GEMM_ROWS(3) GEMM_ROWS(2) GEMM_ROWS(1)  //
    DEPTHWISE_ROW(4) DEPTHWISE_ROW(3) DEPTHWISE_ROW(2) DEPTHWISE_ROW(1)            //
};

constexpr EpilogueRow kEpilogues[] = {
    {{"epilogue_u8s32_shift_avx2_1x16", "epilogue", "shift", "avx2", 1, 16, 8, 32}, EpilogueKind::kShift, shift},
    {{"epilogue_u8s32_multiplier_avx2_1x16", "epilogue", "multiplier", "avx2", 1, 16, 8, 32},
     EpilogueKind::kMultiplier,
     multiplier},
    {{"epilogue_u8s32_threshold16_avx2_3x16", "epilogue", "threshold16", "avx2", 3, 16, 8, 32},
     EpilogueKind::kThreshold16,
     threshold16},
    {{"epilogue_u8s32_threshold32_avx2_2x16", "epilogue", "threshold32", "avx2", 2, 16, 8, 32},
     EpilogueKind::kThreshold32,
     threshold32},
};

constexpr AddRow kAdds[] = {
    {{"add_u8s8_int32_avx2_1x16", "add", "int32", "avx2", 1, 16, 8, 8}, AddKind::kBytes32, add32<uint8_t>},
    {{"add_u8s8_int64_avx2_1x16", "add", "int64", "avx2", 1, 16, 8, 8}, AddKind::kBytes64, add64<uint8_t>},
    {{"add_u8s32_int32_avx2_1x16", "add", "int32", "avx2", 1, 16, 8, 32}, AddKind::kAccumulators32, add32<int32_t>},
    {{"add_u8s32_int64_avx2_1x16", "add", "int64", "avx2", 1, 16, 8, 32}, AddKind::kAccumulators64, add64<int32_t>},
};

constexpr WidenRow kWiden = {{"widen_u8s16_copy_avx2_1x16", "widen", "copy", "avx2", 1, 16, 8, 16}, widen};
constexpr LookupRow kLookup = {{"lookup_u8s8_table_avx2_1x32", "lookup", "table", "avx2", 1, 32, 8, 8}, lookup};

}  // namespace

const KernelTable kAvx2Kernels = {"avx2",
                                  kTiles,
                                  sizeof kTiles / sizeof kTiles[0],
                                  kEpilogues,
                                  sizeof kEpilogues / sizeof kEpilogues[0],
                                  kAdds,
                                  sizeof kAdds / sizeof kAdds[0],
                                  &kWiden,
                                  &kLookup};

}  // namespace intsim
