// Residual addition, operands of tile kernels and look-up for AVX2.
#include <cstdint>

#include "avx2.h"

namespace intsim {
namespace {

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

// Even 32-bit lanes, which vpmuldq multiplies, and the odd ones moved in their place.
struct Lanes {
    __m256i even, odd;
};
template <class T>
Lanes lanes(const T* from, const int32_t* left) {
    const __m256i all = _mm256_sllv_epi32(load8(from), load(left));
    return {all, _mm256_srli_epi64(all, 32)};
}

template <class A, bool kOdd>
void add_high_word_pixels(const AddArgs& args, const AddHighWordBlock& block) {
    const A* a = static_cast<const A*>(args.a);
    for (int64_t pixel = 0; pixel < args.pixels; ++pixel) {
        __m256i sum[2];
#pragma GCC unroll 2
        for (int half = 0; half < 2; ++half) {
            const int at = 8 * half, place = 4 * half;
            const Lanes x = lanes(a + pixel * args.a_stride + at, block.left_a + at),
                        y = lanes(args.b + pixel * args.b_stride + at, block.left_b + at);
            __m256i even = _mm256_add_epi64(_mm256_mul_epi32(x.even, load(block.multiplier_a + at)),
                                            _mm256_mul_epi32(y.even, load(block.multiplier_b + at)));
            __m256i odd = _mm256_add_epi64(_mm256_mul_epi32(x.odd, load(block.multiplier_a + at + 1)),
                                           _mm256_mul_epi32(y.odd, load(block.multiplier_b + at + 1)));
            __m256i base_even = load(block.base[0] + place), base_odd = load(block.base[1] + place);
            if (kOdd) {
                even = _mm256_add_epi64(even, load(block.offset[0] + place));
                odd = _mm256_add_epi64(odd, load(block.offset[1] + place));
                const __m256i one = _mm256_set1_epi64x(1);
                const __m256i parity_even = _mm256_srlv_epi64(even, load(block.shift64[0] + place));
                const __m256i parity_odd = _mm256_srlv_epi64(odd, load(block.shift64[1] + place));
                base_even = _mm256_add_epi64(base_even, _mm256_and_si256(parity_even, one));
                base_odd = _mm256_add_epi64(base_odd, _mm256_and_si256(parity_odd, one));
            }
            const __m256i high = _mm256_blend_epi32(_mm256_srli_epi64(_mm256_add_epi64(even, base_even), 32),
                                                    _mm256_add_epi64(odd, base_odd), 0xaa);
            sum[half] = _mm256_srav_epi32(high, load(block.shift + at));
        }
        const __m128i bytes = _mm_max_epu8(pack_bytes(sum[0], sum[1]), _mm_set1_epi8(static_cast<char>(block.low)));
        store_bytes(args.out + pixel * args.out_stride,
                    _mm_min_epu8(bytes, _mm_set1_epi8(static_cast<char>(block.high))), args.channels);
    }
}

template <class A>
void add_high_word(const AddArgs& args) {
    const AddHighWordBlock& block = *static_cast<const AddHighWordBlock*>(args.block);
    block.odd_term ? add_high_word_pixels<A, true>(args, block) : add_high_word_pixels<A, false>(args, block);
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

void widen(const OperandArgs& args) {
    int16_t* to = static_cast<int16_t*>(args.to);
    int64_t i = 0;
    for (; i + 16 <= args.count; i += 16) store(to + i, widen16(args.from + i));
    for (; i < args.count; ++i) to[i] = args.from[i];
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

// 8 codes as int32. vmaxps takes the second operand where the first one is not a number.
__m256i quantized(const float* from, __m256 scale, __m256 lowest, __m256 highest, __m256i offset) {
    const __m256 v = _mm256_div_ps(_mm256_loadu_ps(from), scale);
    return _mm256_sub_epi32(_mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(v, lowest), highest)), offset);
}

void quantize(const QuantizeArgs& args) {
    const __m256 scale = _mm256_set1_ps(args.scale), lowest = _mm256_set1_ps(args.lowest),
                 highest = _mm256_set1_ps(args.highest);
    const __m256i offset = _mm256_cvtps_epi32(lowest);
    const float* from = args.from;
    uint8_t* to = args.to;
    int64_t left = args.count;
    const auto eight = [&](int64_t at) { return quantized(from + at, scale, lowest, highest, offset); };
    for (; left >= 32; left -= 32, from += 32, to += 32)
        store(to, two_pixels(eight(0), eight(8), eight(16), eight(24)));
    for (; left > 0; --left, ++from, ++to) {
        const float v = *from / args.scale, raised = v > args.lowest ? v : args.lowest;
        const float clipped = raised < args.highest ? raised : args.highest;
        *to = static_cast<uint8_t>(_mm_cvtss_si32(_mm_set_ss(clipped)) - static_cast<int32_t>(args.lowest));
    }
}

// The tables of two quads at a time: activation k of its quad goes to the entries whose index has bit k.
template <bool kSigned>
void build_tables(const OperandArgs& args) {
    uint8_t* to = static_cast<uint8_t*>(args.to);
    __m256i places[4];
#pragma GCC unroll 4
    for (int k = 0; k < 4; ++k) {
        alignas(32) uint8_t place[32];
        for (int lane = 0; lane < 32; ++lane)
            place[lane] = static_cast<uint8_t>(lane >> k & 1 ? lane / 16 * 4 + k : 0x80);  // 0x80 gives zero
        places[k] = load(place);
    }
    for (int64_t i = 0; i < args.count; i += 8, to += 32) {
        int64_t eight;
        __builtin_memcpy(&eight, args.from + i, sizeof eight);
        const __m256i a = _mm256_set1_epi64x(eight);
        const __m256i first = _mm256_add_epi8(_mm256_shuffle_epi8(a, places[0]), _mm256_shuffle_epi8(a, places[1]));
        const __m256i second = _mm256_add_epi8(_mm256_shuffle_epi8(a, places[2]), _mm256_shuffle_epi8(a, places[3]));
        __m256i table = _mm256_add_epi8(first, second);
        if (kSigned)  // twice the sum of those whose bit is set, less the sum of all
            table = _mm256_sub_epi8(_mm256_add_epi8(table, table), _mm256_shuffle_epi8(table, _mm256_set1_epi8(15)));
        store(to, table);
    }
}

constexpr AddRow kAdds[] = {
    {{"add_u8s8_int32_avx2_1x16", "add", "int32", "avx2", 1, 16, 8, 8}, AddKind::kBytes32, add32<uint8_t>},
    {{"add_u8s8_highword_avx2_1x16", "add", "highword", "avx2", 1, 16, 8, 8},
     AddKind::kBytesHighWord,
     add_high_word<uint8_t>},
    {{"add_u8s8_int64_avx2_1x16", "add", "int64", "avx2", 1, 16, 8, 8}, AddKind::kBytes64, add64<uint8_t>},
    {{"add_u8s32_int32_avx2_1x16", "add", "int32", "avx2", 1, 16, 8, 32}, AddKind::kAccumulators32, add32<int32_t>},
    {{"add_u8s32_highword_avx2_1x16", "add", "highword", "avx2", 1, 16, 8, 32},
     AddKind::kAccumulatorsHighWord,
     add_high_word<int32_t>},
    {{"add_u8s32_int64_avx2_1x16", "add", "int64", "avx2", 1, 16, 8, 32}, AddKind::kAccumulators64, add64<int32_t>},
};

constexpr OperandRow kOperands[] = {
    {{"operand_u8s16_widen_avx2_1x16", "operand", "widen", "avx2", 1, 16, 8, 16}, Scheme::kW16, widen},
    {{"operand_u8s2_tables_avx2_1x8", "operand", "tables", "avx2", 1, 8, 8, 2}, Scheme::kLut, build_tables<false>},
    {{"operand_u8s2_oddtables_avx2_1x8", "operand", "tables", "avx2", 1, 8, 8, 2}, Scheme::kLutOdd, build_tables<true>},
    {{"operand_u8s1_signtables_avx2_1x8", "operand", "tables", "avx2", 1, 8, 8, 1},
     Scheme::kLutSign,
     build_tables<true>},
};
constexpr LookupRow kLookup = {{"lookup_u8s8_table_avx2_1x32", "lookup", "table", "avx2", 1, 32, 8, 8}, lookup};
constexpr QuantizeRow kQuantizer = {{"quantize_u8f32_float32_avx2_1x32", "quantize", "float32", "avx2", 1, 32, 8, 32},
                                    quantize};

}  // namespace

const Rows<AddRow> kAvx2Adds = {kAdds, 6};
const Rows<OperandRow> kAvx2Operands = {kOperands, sizeof kOperands / sizeof *kOperands};
const Rows<LookupRow> kAvx2Lookups = {&kLookup, 1};
const Rows<QuantizeRow> kAvx2Quantizers = {&kQuantizer, 1};

}  // namespace intsim
