// For AVX-512, inputs' codes, and residual addition by high words: of a pixel's 16 channels at once, with all constants
// in registers.
#include <cstdint>

#include "avx512.h"

namespace intsim {
namespace {

inline __m512i load16(const uint8_t* from) {
    return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from)));
}
inline __m512i load16(const int32_t* from) { return load(from); }

// Of channels 0, 2, ... and of 1, 3, ...
struct Halves {
    __m512i even, odd;

    static Halves of(const int64_t (&from)[2][8]) { return {load(from[0]), load(from[1])}; }
};
inline Halves add(const Halves& a, const Halves& b) {
    return {_mm512_add_epi64(a.even, b.even), _mm512_add_epi64(a.odd, b.odd)};
}

// An operand's multipliers, before which it is shifted.
struct Factor {
    Halves multiplier;
    __m512i left;

    Factor(const int32_t (&multiplier)[17], const int32_t (&left)[16])
        : multiplier{load(multiplier), load(multiplier + 1)}, left(load(left)) {}
    Halves times(__m512i x) const {
        x = _mm512_sllv_epi32(x, left);
        return {_mm512_mul_epi32(x, multiplier.even), _mm512_mul_epi32(_mm512_srli_epi64(x, 32), multiplier.odd)};
    }
};

template <class A, bool kOdd>
void add_pixels(const AddArgs& args, const AddHighWordBlock& block) {
    const Factor of_a(block.multiplier_a, block.left_a), of_b(block.multiplier_b, block.left_b);
    const Halves base = Halves::of(block.base), offset = Halves::of(block.offset), shift64 = Halves::of(block.shift64);
    const __m512i shift = load(block.shift), one = _mm512_set1_epi64(1);
    const Range range(block.low, block.high);
    const int64_t a_stride = args.a_stride, b_stride = args.b_stride, out_stride = args.out_stride;
    const int64_t channels = args.channels;
    const A* a = static_cast<const A*>(args.a);
    const uint8_t* b = args.b;
    uint8_t* out = args.out;
    for (int64_t left = args.pixels; left > 0; --left, a += a_stride, b += b_stride, out += out_stride) {
        Halves sum = add(of_a.times(load16(a)), of_b.times(load16(b)));
        Halves to_add = base;
        if (kOdd) {
            sum = add(sum, offset);
            to_add = add(to_add, {_mm512_and_si512(_mm512_srlv_epi64(sum.even, shift64.even), one),
                                  _mm512_and_si512(_mm512_srlv_epi64(sum.odd, shift64.odd), one)});
        }
        sum = add(sum, to_add);
        const __m512i high = _mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64(sum.even, 32), sum.odd);
        store_bytes(out, range.clip(_mm512_srav_epi32(high, shift)), channels);
    }
}

template <class A>
void add_high_word(const AddArgs& args) {
    const AddHighWordBlock& block = *static_cast<const AddHighWordBlock*>(args.block);
    block.odd_term ? add_pixels<A, true>(args, block) : add_pixels<A, false>(args, block);
}

// vmaxps takes the second operand where the first one is not a number.
void quantize(const QuantizeArgs& args) {
    const __m512 scale = _mm512_set1_ps(args.scale), lowest = _mm512_set1_ps(args.lowest),
                 highest = _mm512_set1_ps(args.highest);
    const __m512i offset = _mm512_cvtps_epi32(lowest);
    const auto codes = [&](__m512 values) {
        const __m512 clipped = _mm512_min_ps(_mm512_max_ps(_mm512_div_ps(values, scale), lowest), highest);
        return _mm512_sub_epi32(_mm512_cvtps_epi32(clipped), offset);
    };
    const float* from = args.from;
    uint8_t* to = args.to;
    int64_t left = args.count;
    for (; left >= 16; left -= 16, from += 16, to += 16) store_bytes(to, codes(_mm512_loadu_ps(from)), 16);
    if (left == 0) return;
    const __mmask16 rest = static_cast<__mmask16>((1u << left) - 1);
    store_bytes(to, codes(_mm512_maskz_loadu_ps(rest, from)), left);
}

constexpr QuantizeRow kQuantizer = {
    {"quantize_u8f32_float32_avx512_1x16", "quantize", "float32", "avx512", 1, 16, 8, 32}, quantize};

constexpr AddRow kAdds[] = {{{"add_u8s8_highword_avx512_1x16", "add", "highword", "avx512", 1, 16, 8, 8},
                             AddKind::kBytesHighWord,
                             add_high_word<uint8_t>},
                            {{"add_u8s32_highword_avx512_1x16", "add", "highword", "avx512", 1, 16, 8, 32},
                             AddKind::kAccumulatorsHighWord,
                             add_high_word<int32_t>}};

}  // namespace

const Rows<AddRow> kAvx512Adds = {kAdds, 2};
const Rows<QuantizeRow> kAvx512Quantizers = {&kQuantizer, 1};

}  // namespace intsim
