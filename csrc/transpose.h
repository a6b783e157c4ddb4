// Bytes of a matrix the other way round, 16 by 16 where there is room: between planes of channels and pixels. Of three
// planes, as colours are, a block of 16 would be mostly empty.
#pragma once

#include <cstdint>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace intsim {

#if defined(__SSE2__)
inline void transpose_block(const uint8_t* from, int64_t from_stride, uint8_t* to, int64_t to_stride) {
    __m128i rows[16], next[16];
    for (int i = 0; i < 16; ++i) rows[i] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(from + i * from_stride));
    // Interleaving row i with row i + 8, four times, sends the bits of the column to the row: a perfect shuffle.
    for (int round = 0; round < 4; ++round) {
        for (int i = 0; i < 8; ++i) {
            next[2 * i] = _mm_unpacklo_epi8(rows[i], rows[i + 8]);
            next[2 * i + 1] = _mm_unpackhi_epi8(rows[i], rows[i + 8]);
        }
        for (int i = 0; i < 16; ++i) rows[i] = next[i];
    }
    for (int i = 0; i < 16; ++i) _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i * to_stride), rows[i]);
}
#else
inline void transpose_block(const uint8_t* from, int64_t from_stride, uint8_t* to, int64_t to_stride) {
    for (int i = 0; i < 16; ++i)
        for (int j = 0; j < 16; ++j) to[j * to_stride + i] = from[i * from_stride + j];
}
#endif

// to[column][row] = from[row][column]; strides in bytes.
inline void transpose(const uint8_t* from, int64_t from_stride, uint8_t* to, int64_t to_stride, int64_t rows,
                      int64_t columns) {
    for (int64_t i = 0; i < rows; i += 16)
        for (int64_t j = 0; j < columns; j += 16) {
            const uint8_t* corner = from + i * from_stride + j;
            uint8_t* target = to + j * to_stride + i;
            if (i + 16 <= rows && j + 16 <= columns) {
                transpose_block(corner, from_stride, target, to_stride);
                continue;
            }
            for (int64_t row = 0; row < rows - i && row < 16; ++row)
                for (int64_t column = 0; column < columns - j && column < 16; ++column)
                    target[column * to_stride + row] = corner[row * from_stride + column];
        }
}

// Three planes of `count` bytes, one behind the other, to dense pixels.
inline void interleave_three(const uint8_t* __restrict planes, uint8_t* __restrict pixels, int64_t count) {
    int64_t i = 0;
#if defined(__SSE2__)
    const __m128i low = _mm_set1_epi64x(0xffffff), high = _mm_set1_epi64x(0xffffff000000), none = _mm_setzero_si128();
    for (; i + 16 < count; i += 16) {  // what is stored beyond the 16th pixel is of the next one
        __m128i plane[3], pairs[2], single[2], fours[4];
        for (int c = 0; c < 3; ++c)
            plane[c] = _mm_loadu_si128(reinterpret_cast<const __m128i*>(planes + c * count + i));
        pairs[0] = _mm_unpacklo_epi8(plane[0], plane[1]), pairs[1] = _mm_unpackhi_epi8(plane[0], plane[1]);
        single[0] = _mm_unpacklo_epi8(plane[2], none), single[1] = _mm_unpackhi_epi8(plane[2], none);
        for (int half = 0; half < 2; ++half) {
            fours[2 * half] = _mm_unpacklo_epi16(pairs[half], single[half]);
            fours[2 * half + 1] = _mm_unpackhi_epi16(pairs[half], single[half]);
        }
        for (int quarter = 0; quarter < 4; ++quarter) {  // 4 pixels of 4 bytes, the last of them 0
            const __m128i x = fours[quarter];
            const __m128i sixes = _mm_or_si128(_mm_and_si128(x, low), _mm_and_si128(_mm_srli_epi64(x, 8), high));
            uint8_t* const to = pixels + 3 * (i + 4 * quarter);
            _mm_storel_epi64(reinterpret_cast<__m128i*>(to), sixes);
            _mm_storel_epi64(reinterpret_cast<__m128i*>(to + 6), _mm_unpackhi_epi64(sixes, none));
        }
    }
#endif
    for (; i < count; ++i)
        for (int c = 0; c < 3; ++c) pixels[3 * i + c] = planes[c * count + i];
}

}  // namespace intsim
