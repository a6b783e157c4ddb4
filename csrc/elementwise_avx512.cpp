// Residual addition by high words for AVX-512: of a pixel's 16 channels at once, with all constants in registers.
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
    const __mmask16 channels = first_channels(args.channels);
    const int64_t a_stride = args.a_stride, b_stride = args.b_stride, out_stride = args.out_stride;
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
        _mm_mask_storeu_epi8(out, channels, low_bytes(range.clip(_mm512_srav_epi32(high, shift))));
    }
}

template <class A>
void add_high_word(const AddArgs& args) {
    const AddHighWordBlock& block = *static_cast<const AddHighWordBlock*>(args.block);
    block.odd_term ? add_pixels<A, true>(args, block) : add_pixels<A, false>(args, block);
}

constexpr AddRow kAdds[] = {{{"add_u8s8_highword_avx512_1x16", "add", "highword", "avx512", 1, 16, 8, 8},
                             AddKind::kBytesHighWord,
                             add_high_word<uint8_t>},
                            {{"add_u8s32_highword_avx512_1x16", "add", "highword", "avx512", 1, 16, 8, 32},
                             AddKind::kAccumulatorsHighWord,
                             add_high_word<int32_t>}};

}  // namespace

const Rows<AddRow> kAvx512Adds = {kAdds, 2};

}  // namespace intsim
